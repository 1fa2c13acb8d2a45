// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// captures are those of strongSwan over Linux's ESP, which the tests of IKE have.
const captures = "../../ikev2/iketest/captures"

type goldenSA struct {
	SPI          string `json:"spi"`
	Encryption   string `json:"encr"`
	Key          string `json:"encr_key"`
	Integrity    string `json:"integ"`
	IntegrityKey string `json:"integ_key"`
	AEAD         string `json:"aead"`
	AEADKey      string `json:"aead_key"`
}

func (g goldenSA) transform(t *testing.T) Transform {
	t.Helper()
	octets := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	switch {
	case g.AEAD == "rfc4106(gcm(aes))":
		return Transform{Algorithm: AESGCM16, Key: octets(g.AEADKey)}
	case g.AEAD == "rfc7539esp(chacha20,poly1305)":
		return Transform{Algorithm: ChaCha20Poly1305, Key: octets(g.AEADKey)}
	case g.Encryption == "cbc(aes)" && g.Integrity == "hmac(sha256)":
		return Transform{Algorithm: AESCBC, Integrity: HMACSHA256, Key: octets(g.Key), IntegrityKey: octets(g.IntegrityKey)}
	}
	t.Fatalf("no transform for %+v", g)
	return Transform{}
}

// espPackets reads the ESP packets of a file, raw and in UDP.
func espPackets(t *testing.T, file string) (all [][]byte) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, _, err := r.ReadPacketData()
		if err != nil {
			return all
		}
		p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
		ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if !ok {
			continue
		}
		switch ip.Protocol {
		case layers.IPProtocolESP:
			all = append(all, bytes.Clone(ip.Payload))
		case layers.IPProtocolUDP:
			if b := ip.Payload; len(b) > 16 && (binary.BigEndian.Uint16(b) == 4500 || binary.BigEndian.Uint16(b[2:]) == 4500) && SPI(b[8:]) != 0 {
				all = append(all, bytes.Clone(b[8:]))
			}
		}
	}
}

// Every ESP packet of every capture opens, holds GRE with the key 42, and is sealed again
// to the same octets where the vector is ours to choose.
func TestPacketsOfLinux(t *testing.T) {
	files, err := filepath.Glob(captures + "/*.pcap")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	total := map[Algorithm]int{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".pcap")
		text, err := os.ReadFile(filepath.Join(captures, strings.TrimSuffix(name, "-inside")+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var keys struct {
			SAs []goldenSA `json:"esp_sas"`
		}
		if err := json.Unmarshal(text, &keys); err != nil {
			t.Fatal(err)
		}
		in, out := map[uint32]*Inbound{}, map[uint32]Transform{}
		for _, g := range keys.SAs {
			spi, err := hex.DecodeString(g.SPI)
			if err != nil {
				t.Fatal(err)
			}
			x := g.transform(t)
			i, err := NewInbound(InboundConfig{SPI: SPI(spi), Transform: x})
			if err != nil {
				t.Fatal(err)
			}
			in[i.SPI], out[i.SPI] = i, x
		}
		var s Scratch
		for n, p := range espPackets(t, file) {
			i := in[SPI(p)]
			if i == nil {
				t.Errorf("%s: packet %d: no key for SPI %08x", name, n, SPI(p))
				continue
			}
			original := slices.Clone(p)
			payload, next, err := i.Open(&s, p)
			if err != nil {
				t.Errorf("%s: packet %d: %v", name, n, err)
				continue
			}
			if next != 47 || len(payload) < 8 || binary.BigEndian.Uint16(payload) != 0x2000 || binary.BigEndian.Uint32(payload[4:]) != 42 {
				t.Errorf("%s: packet %d: next header %d, % x", name, n, next, payload[:min(8, len(payload))])
			}
			total[out[i.SPI].Algorithm]++
			sealAgain(t, original, payload, next, out[i.SPI])
			if _, _, err := i.Open(&s, slices.Clone(original)); err != ErrReplayed {
				t.Errorf("%s: packet %d again: %v", name, n, err)
			}
		}
	}
	t.Log(total)
	for _, a := range []Algorithm{AESGCM16, AESCBC} {
		if total[a] == 0 {
			t.Errorf("no packet with %s", a)
		}
	}
}

// sealAgain compares with Linux: the same octets but for the vector, and what follows
// from it.
func sealAgain(t *testing.T, original, payload []byte, next uint8, x Transform) {
	t.Helper()
	number := uint64(binary.BigEndian.Uint32(original[4:]))
	o, err := NewOutbound(OutboundConfig{SPI: SPI(original), Transform: x, After: number - 1})
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, Front, Front+len(payload)+Back+16)
	b = append(b, payload...)
	var s Scratch
	sealed, err := o.Seal(&s, b, Front, next)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != len(original) || !bytes.Equal(sealed[:8], original[:8]) {
		t.Errorf("sealed % x (%d octets), Linux has % x (%d)", sealed[:8], len(sealed), original[:8], len(original))
	}
	i, err := NewInbound(InboundConfig{SPI: o.SPI, Transform: x})
	if err != nil {
		t.Fatal(err)
	}
	again, n, err := i.Open(&s, sealed)
	if err != nil || n != next || !bytes.Equal(again, payload) {
		t.Errorf("what was sealed opens to %x, %d, %v", again, n, err)
	}
}
