// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/iketest/wycheproof"
)

// unhex decodes parts one behind the other.
func unhex(t *testing.T, parts ...string) (all []byte) {
	t.Helper()
	for _, p := range parts {
		b, err := hex.DecodeString(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// sealWith is seal with a vector that is not the sequence number, which ours always is.
func (a *aead) sealWith(s *Scratch, b []byte, number uint64, extended bool) []byte {
	text := b[headerSize+ivSize:]
	return a.Seal(b[:headerSize+ivSize], a.nonce(s, b), text, s.associate(b, number, extended))
}

func TestPacketsThatSpecificationsPrint(t *testing.T) {
	var s Scratch
	for n, p := range printedPackets {
		x := Transform{Algorithm: p.algorithm, Key: unhex(t, p.key)}
		associated, text := unhex(t, p.associated), unhex(t, p.text)
		extended := len(associated) == 12
		number := uint64(binary.BigEndian.Uint32(associated[4:]))
		if extended {
			number = binary.BigEndian.Uint64(associated[4:])
		}
		low := p.associated[len(p.associated)-8:]
		packet := unhex(t, p.associated[:8], low, p.vector, p.sealed)

		protect, err := newProtection(x)
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		plain := unhex(t, p.associated[:8], low, p.vector, p.text)
		if got := protect.(*aead).sealWith(&s, plain, number, extended); !bytes.Equal(got, packet) {
			t.Errorf("%d: sealed\n%x, it is\n%x", n, got, packet)
		}
		inbound := func() *Inbound {
			i, err := NewInbound(InboundConfig{SPI: SPI(packet), Extended: extended, Transform: x, Top: number - 1})
			if err != nil {
				t.Fatalf("%d: %v", n, err)
			}
			return i
		}
		for k := range packet {
			bad := slices.Clone(packet)
			bad[k] ^= 0x40
			if payload, _, err := inbound().Open(&s, bad); err == nil {
				t.Errorf("%d: with a bit of octet %d turned it opens to %x", n, k, payload)
			}
		}
		payload, next, err := inbound().Open(&s, packet)
		end := len(text) - 2
		if want := text[:end-int(text[end])]; err != nil || next != text[end+1] || !bytes.Equal(payload, want) {
			t.Errorf("%d: opens to %x, next header %d, %v; it is\n%x, %d", n, payload, next, err, want, text[end+1])
		}
	}
}

// TestWycheproof: the associated data of these have any length; those of 8 and 12 octets
// pass as SPI and sequence number by the way of ESP packets, the others by the AEAD alone.
func TestWycheproof(t *testing.T) {
	for name, algorithm := range map[string]Algorithm{"aes_gcm": AESGCM16, "chacha20_poly1305": ChaCha20Poly1305} {
		t.Run(name, func(t *testing.T) {
			var set struct {
				TestGroups []struct {
					IVSize, TagSize int
					Tests           []struct {
						ID                         int `json:"tcId"`
						Comment, Result            string
						Key, IV, AAD, Msg, CT, Tag iketest.Hex
					}
				}
			}
			if err := wycheproof.Read(name, &set); err != nil {
				t.Fatal(err)
			}
			run, packets := 0, 0
			var s Scratch
			for _, g := range set.TestGroups {
				if g.IVSize != 8*(saltSize+ivSize) || g.TagSize != 8*tagSize {
					continue // ESP has no others
				}
				for _, v := range g.Tests {
					run++
					valid := v.Result == "valid"
					protect, err := newProtection(Transform{Algorithm: algorithm, Key: slices.Concat(v.Key, v.IV[:saltSize])})
					if err != nil {
						t.Fatalf("%d (%s): %v", v.ID, v.Comment, err)
					}
					a := protect.(*aead)
					header := make([]byte, headerSize)
					b := slices.Concat(header, v.IV[saltSize:], v.CT, v.Tag)
					text, err := a.Open(nil, a.nonce(&s, b), b[headerSize+ivSize:], v.AAD)
					if (err == nil) != valid || valid && !bytes.Equal(text, v.Msg) {
						t.Errorf("%d (%s): opened %x, %v; it is %s", v.ID, v.Comment, text, err, v.Result)
					}
					if sealed := a.Seal(nil, a.nonce(&s, b), v.Msg, v.AAD); bytes.Equal(sealed, b[headerSize+ivSize:]) != valid {
						t.Errorf("%d (%s): sealed %x; it is %s", v.ID, v.Comment, sealed, v.Result)
					}
					if len(v.AAD) != headerSize && len(v.AAD) != headerSize+4 {
						continue
					}
					packets++
					extended := len(v.AAD) != headerSize
					number := uint64(binary.BigEndian.Uint32(v.AAD[4:]))
					if extended {
						number = binary.BigEndian.Uint64(v.AAD[4:])
					}
					copy(b, v.AAD[:4])
					binary.BigEndian.PutUint32(b[4:], uint32(number))
					if err := a.open(&s, b, number, extended); (err == nil) != valid || valid && !bytes.Equal(b[headerSize+ivSize:len(b)-tagSize], v.Msg) {
						t.Errorf("%d (%s) as a packet: %v; it is %s", v.ID, v.Comment, err, v.Result)
					}
				}
			}
			if run < 100 || packets < 5 {
				t.Errorf("only %d fit ESP, and %d of these an ESP packet", run, packets)
			}
			t.Logf("%d, %d as packets", run, packets)
		})
	}
}
