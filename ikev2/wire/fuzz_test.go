// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

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
