// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// captured is one NHRP packet of a capture.
type captured struct {
	name     string // capture#frame
	src, dst netip.Addr
	nhrp     []byte // with the link padding, if there is any
}

// captures reads every NHRP packet under testdata, in the order of INDEX.txt.
func captures(t testing.TB) []captured {
	t.Helper()
	var all []captured
	for _, pattern := range []string{"testdata/nhrp/*.pcap", "testdata/dmvpn/*.pcap"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no captures (%v)", pattern, err)
		}
		for _, file := range files {
			all = append(all, readCapture(t, file)...)
		}
	}
	return all
}

// readCapture reads a classic pcap of Ethernet frames.
func readCapture(t testing.TB, file string) []captured {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xA1B2C3D4 || binary.LittleEndian.Uint32(b[20:]) != 1 {
		t.Fatalf("%s is no little-endian pcap of Ethernet frames", file)
	}
	keys := espKeys(t, strings.TrimSuffix(file, ".pcap")+".json")
	name := strings.TrimPrefix(strings.TrimSuffix(file, ".pcap"), "testdata/")
	var packets []captured
	b = b[24:]
	for frame := 1; len(b) > 0; frame++ {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if c, ok := unwrap(t, b[16:16+n], keys); ok {
			c.name = name + "#" + strconv.Itoa(frame)
			packets = append(packets, c)
		}
		b = b[16+n:]
	}
	return packets
}

// unwrap takes Ethernet, IPv4, UDP and ESP, and GRE off an NHRP packet; false
// for every other frame.
func unwrap(t testing.TB, b []byte, keys map[uint32][]byte) (captured, bool) {
	if len(b) < 34 || binary.BigEndian.Uint16(b[12:]) != 0x0800 {
		return captured{}, false
	}
	b = b[14:]
	b = b[:binary.BigEndian.Uint16(b[2:])]
	c := captured{src: address(b[12:16]), dst: address(b[16:20])}
	protocol := b[9]
	b = b[int(b[0]&15)*4:]
	if protocol == 17 && binary.BigEndian.Uint16(b) == 4500 && len(b) > 12 && binary.BigEndian.Uint32(b[8:]) != 0 {
		protocol, b = 50, b[8:]
	}
	if protocol == 50 {
		protocol, b = decrypt(t, b, keys)
	}
	if protocol != 47 || binary.BigEndian.Uint16(b[2:]) != GREProtocol {
		return captured{}, false
	}
	header := 4
	for _, flag := range []byte{0x80, 0x20, 0x10} { // checksum, key, sequence number
		if b[0]&flag != 0 {
			header += 4
		}
	}
	c.nhrp = b[header:]
	return c, true
}

// decrypt opens ESP with AES-GCM (RFC 4106); the key ends with the salt.
func decrypt(t testing.TB, b []byte, keys map[uint32][]byte) (byte, []byte) {
	t.Helper()
	key := keys[binary.BigEndian.Uint32(b)]
	if key == nil {
		t.Fatalf("no key for SPI %08x", binary.BigEndian.Uint32(b))
	}
	block, err := aes.NewCipher(key[:len(key)-4])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := append(key[len(key)-4:len(key):len(key)], b[8:16]...)
	plain, err := gcm.Open(nil, nonce, b[16:], b[:8])
	if err != nil {
		t.Fatal(err)
	}
	padding, next := int(plain[len(plain)-2]), plain[len(plain)-1]
	return next, plain[:len(plain)-2-padding]
}

func espKeys(t testing.TB, file string) map[uint32][]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	var all struct {
		SAs []struct {
			SPI string `json:"spi"`
			Key string `json:"aead_key"`
		} `json:"esp_sas"`
	}
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys := map[uint32][]byte{}
	for _, sa := range all.SAs {
		spi, err := strconv.ParseUint(sa.SPI, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if keys[uint32(spi)], err = hex.DecodeString(sa.Key); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}
