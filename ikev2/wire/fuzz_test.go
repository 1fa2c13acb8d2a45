// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/wire"
)

// FuzzMessage: no datagram crashes the decoder; what is read can be printed and
// written, and read again it is the same.
func FuzzMessage(f *testing.F) {
	for _, c := range captures(f) {
		for _, b := range ikeMessages(c) {
			f.Add(b)
		}
	}
	for _, c := range refused {
		f.Add(message(f, c.first, c.in))
	}
	for _, c := range accepted {
		f.Add(message(f, c.first, c.in))
	}
	for _, liar := range liars(f) {
		f.Add(liar.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.Parse(b)
		if err != nil {
			return
		}
		again, err := m.Append(nil)
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		back, err := wire.Parse(again)
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		if diff := cmp.Diff(m, back, alike); diff != "" {
			t.Error(diff)
		}
	})
}

// liars are messages with a length or a count that is not so.
func liars(t testing.TB) []iketest.Liar {
	aes := wire.Transform{Type: wire.Encryption, ID: wire.EncryptionAESGCM16, KeyLength: 128}
	request := &wire.Message{Header: wire.Header{SPIi: wire.SPI{1}, Exchange: wire.IKESAInit, Initiator: true}, Payloads: []wire.Payload{
		&wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtocolIKE, Transforms: []wire.Transform{aes, {Type: wire.KeyExchangeMethod, ID: wire.Curve25519}}}}},
		&wire.KeyExchange{Method: wire.Curve25519, Data: make([]byte, 32)}, wire.Nonce(make([]byte, 32)),
	}}
	b, err := request.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return iketest.Liars(b)
}

func TestLengthLiarsAreRefused(t *testing.T) {
	for _, liar := range liars(t) {
		if m, err := wire.Parse(liar.Data); err == nil {
			t.Errorf("%s: %s", liar.Name, m)
		}
	}
}

// FuzzInner is the same for what stands inside of an SK payload.
func FuzzInner(f *testing.F) {
	b, err := wire.AppendInner(nil, everything().Payloads[:18])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(wire.PayloadSA), b)
	for _, c := range accepted {
		f.Add(uint8(c.first), unhex(f, c.in))
	}
	for _, c := range refused {
		f.Add(uint8(c.first), unhex(f, c.in))
	}
	f.Fuzz(func(t *testing.T, first uint8, b []byte) {
		payloads, err := wire.ParseInner(wire.PayloadType(first), b)
		if err != nil {
			return
		}
		_ = wire.Describe(payloads)
		again, err := wire.AppendInner(nil, payloads)
		if err != nil {
			t.Fatal(err)
		}
		back, err := wire.ParseInner(wire.First(payloads), again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(payloads, back, alike); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzReassembly: fragments in any order, of any total, stay within the bounds,
// and a complete message is the concatenation of what was taken.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{1, 2, 2, 2})
	f.Add([]byte{1, 2, 1, 3, 2, 3, 3, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r wire.Reassembly
		for ; len(b) >= 2; b = b[2:] {
			f := &wire.Fragment{Number: uint16(b[0]), Total: uint16(b[1])}
			complete, err := r.Add(f, bytes.Repeat(b[:1], int(b[0])*16))
			have, total := r.Pending()
			if have > total || total > wire.MaxFragments || err == nil && complete && have != total {
				t.Fatalf("%d of %d, complete %v, %v", have, total, complete, err)
			}
			if complete {
				want := 0
				for n := 1; n <= total; n++ {
					want += n * 16
				}
				if _, text := r.Message(); len(text) != want {
					t.Fatalf("%d octets of %d", len(text), want)
				}
			}
		}
	})
}
