// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"

	"dmvpn/ikev2/wire"
)

// everySuite has each encryption with each integrity algorithm.
func everySuite() []Suite {
	var all []Suite
	for _, bits := range []uint16{128, 192, 256} {
		for _, integrity := range []uint16{wire.IntegrityHMACSHA256128, wire.IntegrityHMACSHA384192, wire.IntegrityHMACSHA512256} {
			all = append(all, Suite{wire.EncryptionAESCBC, bits, integrity, wire.PRFHMACSHA256})
		}
		all = append(all, Suite{wire.EncryptionAESGCM16, bits, wire.IntegrityNone, wire.PRFHMACSHA384})
	}
	return append(all, Suite{wire.EncryptionChaCha20Poly1305, 0, wire.IntegrityNone, wire.PRFHMACSHA512})
}

func (s Suite) name() string { return fmt.Sprintf("%d-%d-%d", s.Encryption, s.KeyLength, s.Integrity) }

func keysOf(t testing.TB, s Suite) *Keys {
	t.Helper()
	k, err := s.Derive(make([]byte, 32), []byte("Ni"), []byte("Nr"), wire.SPI{1}, wire.SPI{2})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var informational = wire.Header{SPIi: wire.SPI{1}, SPIr: wire.SPI{2}, Exchange: wire.Informational, Initiator: true, MessageID: 5}

// vendor has one payload of n octets inside.
func vendor(n int) []wire.Payload {
	return []wire.Payload{wire.VendorID(bytes.Repeat([]byte{0xAB}, n))}
}

func TestWhatIsSealedOpens(t *testing.T) {
	for _, s := range everySuite() {
		t.Run(s.name(), func(t *testing.T) {
			keys := keysOf(t, s)
			sender, receiver := keys.Protection(true), keys.Protection(true)
			seen := map[string]bool{}
			for n := range 40 {
				var inner []wire.Payload
				if n > 0 {
					inner = vendor(n)
				}
				b, err := sender.Seal(informational, inner, rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				m, err := wire.Parse(b)
				if err != nil {
					t.Fatal(err)
				}
				before := bytes.Clone(b)
				text, err := receiver.Open(b, m)
				if err != nil {
					t.Fatal(err)
				}
				first, body, _ := m.Protected()
				got, err := wire.ParseInner(first, text)
				if err != nil || wire.Describe(got) != wire.Describe(inner) || m.Header != informational {
					t.Errorf("%d octets: %s, %v", n, wire.Describe(got), err)
				}
				if !bytes.Equal(b, before) {
					t.Error("Open changed the message")
				}
				vector := string(body[:8])
				if seen[vector] {
					t.Errorf("vector %x occurs twice", vector)
				}
				seen[vector] = true
			}
		})
	}
}

// TestNoBentOctetIsTaken bends each octet of a message once: header, payload
// header, vector, text, check value.
func TestNoBentOctetIsTaken(t *testing.T) {
	for _, s := range everySuite() {
		keys := keysOf(t, s)
		whole, err := keys.Protection(true).SealFragments(informational, vendor(100), 150, rand.Reader)
		if err != nil || len(whole) < 2 {
			t.Fatalf("%d fragments, %v", len(whole), err)
		}
		single, err := keys.Protection(true).Seal(informational, vendor(10), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{single, whole[0]} {
			for at := range b {
				bent := bytes.Clone(b)
				bent[at] ^= 0x01
				m, err := wire.Parse(bent)
				if err != nil {
					continue // the codec was faster
				}
				if text, err := keys.Protection(true).Open(bent, m); err == nil {
					t.Fatalf("%s: octet %d bent: opened %x", s.name(), at, text)
				}
			}
		}
	}
}

func TestMessagesThatAreTooShortToBeTrue(t *testing.T) {
	for _, s := range everySuite() {
		keys := keysOf(t, s)
		for n := range 80 {
			m := &wire.Message{Header: informational, Payloads: []wire.Payload{&wire.Encrypted{Body: make([]byte, n)}}}
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := keys.Protection(true).Open(b, m); !errors.Is(err, ErrIntegrity) {
				t.Errorf("%s: %d octets of zeros: %v", s.name(), n, err)
			}
		}
		clear := &wire.Message{Header: informational, Payloads: vendor(3)}
		b, err := clear.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Protection(true).Open(b, clear); !errors.Is(err, ErrIntegrity) {
			t.Errorf("%s: a message in the clear: %v", s.name(), err)
		}
	}
}

// TestPaddingOfAPeer: any content and any length that fits is taken
// (section 3.14); a length that does not fit is the authentic peer's fault.
func TestPaddingOfAPeer(t *testing.T) {
	for _, s := range everySuite() {
		keys := keysOf(t, s)
		text, err := wire.AppendInner(nil, vendor(11)) // 15 octets
		if err != nil {
			t.Fatal(err)
		}
		e, err := keys.Protection(true).envelope()
		if err != nil {
			t.Fatal(err)
		}
		vector, _, check := e.sizes()
		for _, padding := range []int{0, 16, 240} {
			b, err := assemble(e, informational, &wire.Encrypted{Inner: wire.PayloadVendorID}, make([]byte, vector), text, bytes.Repeat([]byte{7}, padding), check)
			if err != nil {
				t.Fatal(err)
			}
			m, err := wire.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := keys.Protection(true).Open(b, m); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: padding of %d: %x, %v", s.name(), padding, got, err)
			}
		}
		body := slices.Concat(make([]byte, vector), make([]byte, 15), []byte{16}, make([]byte, check))
		b, err := (&wire.Message{Header: informational, Payloads: []wire.Payload{&wire.Encrypted{Body: body}}}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		e.seal(b, len(b)-len(body))
		m, err := wire.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Protection(true).Open(b, m); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s: padding of 16 in 15 octets: %v", s.name(), err)
		}
	}
}

func TestFragmentsFitAndComeTogether(t *testing.T) {
	for _, s := range everySuite() {
		keys := keysOf(t, s)
		for _, size := range []int{1, 100, 400, 500, 501, 1000, 2000} {
			const limit = 548
			all, err := keys.Protection(true).SealFragments(informational, vendor(size), limit, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if whole, err := keys.Protection(true).Seal(informational, vendor(size), rand.Reader); err != nil || (len(whole) <= limit) != (len(all) == 1) {
				t.Errorf("%s: %d octets whole became %d datagrams, %v", s.name(), len(whole), len(all), err)
			}
			var r wire.Reassembly
			for i, b := range all {
				m, err := wire.Parse(b)
				if err != nil || len(b) > limit {
					t.Fatalf("%s: %d octets, %v", s.name(), len(b), err)
				}
				text, err := keys.Protection(true).Open(b, m)
				if err != nil {
					t.Fatal(err)
				}
				if f, ok := m.Payloads[0].(*wire.Fragment); ok {
					complete, err := r.Add(f, text)
					if err != nil || complete != (i == len(all)-1) {
						t.Fatalf("%s: %s: complete %v, %v", s.name(), f, complete, err)
					}
				}
			}
			if len(all) == 1 {
				continue
			}
			first, text := r.Message()
			if got, err := wire.ParseInner(first, text); err != nil || wire.Describe(got) != wire.Describe(vendor(size)) {
				t.Errorf("%s: %v", s.name(), err)
			}
		}
		if _, err := keys.Protection(true).SealFragments(informational, vendor(60000), 548, rand.Reader); err == nil {
			t.Error("more fragments than a receiver keeps")
		}
		if _, err := keys.Protection(true).SealFragments(informational, vendor(100), 60, rand.Reader); err == nil {
			t.Error("fragments of nothing")
		}
	}
}

func TestAnAEADNeverUsesAVectorTwice(t *testing.T) {
	keys := keysOf(t, everySuite()[3])
	p := keys.Protection(true)
	p.Next = ^uint64(0) - 1
	if _, err := p.Seal(informational, nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := p.Seal(informational, nil, nil); err == nil {
		t.Error("the counter wrapped")
	}
}

// FuzzOpen: what comes in with a good check value may still be anything.
func FuzzOpen(f *testing.F) {
	f.Add(uint8(0), []byte{0})
	f.Add(uint8(1), []byte{43, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7})
	f.Fuzz(func(t *testing.T, which uint8, padded []byte) {
		all := everySuite()
		s := all[int(which)%len(all)]
		p := keysOf(t, s).Protection(false)
		e, err := p.envelope()
		if err != nil {
			t.Fatal(err)
		}
		vector, block, check := e.sizes()
		padded = padded[:len(padded)/block*block]
		if len(padded) > 4096 {
			return
		}
		body := slices.Concat(make([]byte, vector), padded, make([]byte, check))
		m := &wire.Message{Header: informational, Payloads: []wire.Payload{&wire.Encrypted{Inner: wire.PayloadType(which), Body: body}}}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		e.seal(b, len(b)-len(body))
		if m, err = wire.Parse(b); err != nil {
			t.Fatal(err)
		}
		text, err := p.Open(b, m)
		switch {
		case len(padded) == 0:
			if !errors.Is(err, ErrIntegrity) {
				t.Fatalf("nothing inside: %v", err)
			}
		case err != nil:
			if !errors.Is(err, wire.ErrSyntax) {
				t.Fatal(err)
			}
		case !bytes.HasPrefix(padded, text):
			t.Fatalf("opened %x of %x", text, padded)
		default:
			_, _ = wire.ParseInner(wire.PayloadType(which), text)
		}
	})
}
