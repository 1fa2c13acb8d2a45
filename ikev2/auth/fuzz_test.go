// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"encoding/asn1"
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/wire"
)

// FuzzIdentity: no ID payload's content crashes what prints and compares it, and
// identities that are equal have the same name, and the same folded text.
func FuzzIdentity(f *testing.F) {
	for _, text := range []string{"hub.example.net", "admin@example.net", "192.0.2.1", "2001:db8::1", "C=CH, O=Example, CN=hub", "keyid:0102"} {
		i, err := auth.ParseIdentity(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i.Type), uint8(i.Type), []byte(i.Data), []byte(i.Data))
	}
	f.Add(uint8(wire.IDFQDN), uint8(wire.IDFQDN), []byte("HUB.example.net"), []byte("hub.EXAMPLE.net"))
	f.Add(uint8(wire.IDEmail), uint8(wire.IDEmail), []byte("s1@EXAMPLE.net"), []byte("s1@example.net"))
	f.Add(uint8(wire.IDEmail), uint8(wire.IDEmail), []byte("s1@a@EXAMPLE.net"), []byte("s1@A@example.net"))
	for _, list := range [][2]string{{"hub", "C"}, {"h\x01ub", "hub"}} { // the second one can be written by no configuration
		f.Add(uint8(wire.IDDN), uint8(wire.IDDN), dn(asn1.TagPrintableString, list[0]), dn(asn1.TagUTF8String, list[0]))
		f.Add(uint8(wire.IDDN), uint8(wire.IDDN), dn(asn1.TagIA5String, list[0], list[1]), dn(asn1.TagUTF8String, list[0], list[1]))
		f.Add(uint8(wire.IDDN), uint8(wire.IDDN), dn(asn1.TagUTF8String, list[0], list[1]), dn(asn1.TagUTF8String, list[1], list[0]))
	}
	f.Fuzz(func(t *testing.T, kind, other uint8, a, b []byte) {
		x, y := auth.Identity{Type: wire.IDType(kind), Data: string(a)}, auth.Identity{Type: wire.IDType(other), Data: string(b)}
		_ = x.String()
		if x.Equal(y) != y.Equal(x) {
			t.Errorf("%s is and is not %s", x, y)
		}
		if x.Name() == y.Name() && x != y && !x.Equal(y) { // a broken one equals nothing, not even itself
			t.Errorf("%q is the name of two", x.Name())
		}
		if x.Equal(y) && x.Name() != y.Name() {
			t.Errorf("one identity has the names %q and %q", x.Name(), y.Name())
		}
		if x.Equal(y) && x.Folded() != y.Folded() {
			t.Errorf("%s is %s, but %q is not %q", x, y, x.Folded(), y.Folded())
		}
	})
}

// dn is a distinguished name of common names, each a string of a kind.
func dn(tag int, names ...string) []byte {
	wrap := func(tag byte, b []byte) []byte { return append([]byte{tag, byte(len(b))}, b...) }
	var all []byte
	for _, n := range names {
		all = append(all, wrap(0x31, wrap(0x30, append([]byte{6, 3, 0x55, 4, 3}, wrap(byte(tag), []byte(n))...)))...)
	}
	return wrap(0x30, all)
}
