// SPDX-License-Identifier: Apache-2.0

package iketest

import (
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

//go:embed captures
var files embed.FS

// Capture is one case: the datagrams on UDP ports 500 and 4500 in their order,
// and the keys.
type Capture struct {
	Name      string
	Datagrams []Datagram
	Swanctl   map[string]string `json:"swanctl"` // swanctl.conf of hub, spoke1 and so on
	IKESAs    []IKESA           `json:"ike_sas"`
	ESPSAs    []ESPSA           `json:"esp_sas"`
}

// Hex is a field of octets that the key files have in hexadecimal.
type Hex []byte

// UnmarshalText makes Hex out of its text.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// IKESA is what charon knew of one IKE SA. AEAD has no SKai and SKar, and its
// SKei and SKer end with the four octets of salt.
type IKESA struct {
	SPIi      Hex    `json:"spi_i"`
	SPIr      Hex    `json:"spi_r"`
	Initiator string `json:"initiator"`
	Responder string `json:"responder"`
	Messages  int    `json:"messages"`
	Proposal  string `json:"proposal"` // as in AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048
	Gir       Hex    `json:"g_ir"`
	SKEYSEED  Hex    `json:"skeyseed"`
	SKd       Hex    `json:"sk_d"`
	SKai      Hex    `json:"sk_ai"`
	SKar      Hex    `json:"sk_ar"`
	SKei      Hex    `json:"sk_ei"`
	SKer      Hex    `json:"sk_er"`
	SKpi      Hex    `json:"sk_pi"`
	SKpr      Hex    `json:"sk_pr"`
}

// ESPSA is one direction of a child, as the initiator's kernel was given it.
type ESPSA struct {
	Source        string `json:"src"`
	Destination   string `json:"dst"`
	SPI           Hex    `json:"spi"`
	Encryption    string `json:"encr"`
	EncryptionKey Hex    `json:"encr_key"`
	Integrity     string `json:"integ"`
	IntegrityKey  Hex    `json:"integ_key"`
	AEAD          string `json:"aead"`
	AEADKey       Hex    `json:"aead_key"`
}

// Captures reads all cases, in the order of their names. A file "NAME-inside" is
// a case of its own with NAME's keys. An error means that the files are broken.
func Captures() ([]Capture, error) {
	entries, err := files.ReadDir("captures")
	if err != nil {
		return nil, err
	}
	var all []Capture
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".pcap")
		if !ok {
			continue
		}
		c := Capture{}
		keys, err := files.ReadFile(path.Join("captures", strings.TrimSuffix(name, "-inside")+".json"))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(keys, &c); err != nil {
			return nil, fmt.Errorf("iketest: keys of %s: %w", name, err)
		}
		packets, err := files.ReadFile(path.Join("captures", e.Name()))
		if err != nil {
			return nil, err
		}
		c.Name = name
		if c.Datagrams, err = parsePcap(packets); err != nil {
			return nil, fmt.Errorf("iketest: %s: %w", e.Name(), err)
		}
		all = append(all, c)
	}
	return all, nil
}

// Certificate is the PEM file of ca, hub, spoke1 or spoke2.
func Certificate(name string) ([]byte, error) {
	return files.ReadFile(path.Join("captures", name+".pem"))
}
