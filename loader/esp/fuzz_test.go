// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzOpen: what an SA did not seal is never opened, whatever is changed of what
// it did; what it sealed is, once. Nothing panics and nothing grows.
func FuzzOpen(f *testing.F) {
	names := make([]string, 0, len(transforms))
	for name := range transforms {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := range names {
		f.Add(uint8(i), false, []byte("payload"), uint16(5), uint8(1), []byte(nil))
		f.Add(uint8(i), true, bytes.Repeat([]byte{0x45}, 60), uint16(0), uint8(0), make([]byte, 100))
	}
	f.Fuzz(func(t *testing.T, which uint8, extended bool, payload []byte, at uint16, flip uint8, garbage []byte) {
		if len(payload) > 2000 {
			return
		}
		o, i := pair(t, transforms[names[int(which)%len(names)]], extended, nil, nil)
		var s Scratch
		if _, _, err := i.Open(&s, slices.Clone(garbage)); err == nil {
			t.Fatalf("garbage was opened: % x", garbage)
		}
		sealed, err := o.Seal(&s, buffer(payload), Front, 4)
		if err != nil {
			t.Fatal(err)
		}
		spoilt := slices.Clone(sealed)
		spoilt[int(at)%len(spoilt)] ^= flip
		// The SPI alone may differ: it names the SA, and GCM and HMAC cover it.
		if _, _, err := i.Open(&s, spoilt); (err == nil) != (flip == 0) {
			t.Fatalf("octet %d changed by %#x: %v", int(at)%len(sealed), flip, err)
		}
		if flip != 0 {
			got, next, err := i.Open(&s, slices.Clone(sealed))
			if err != nil || next != 4 || !bytes.Equal(got, payload) {
				t.Fatalf("as it was sealed: % x, next header %d, %v", got, next, err)
			}
		}
		if _, _, err := i.Open(&s, slices.Clone(sealed)); err == nil {
			t.Fatal("opened twice")
		}
	})
}
