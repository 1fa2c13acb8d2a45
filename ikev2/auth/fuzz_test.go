// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/wire"
)

// FuzzIdentity: no ID payload's content crashes what prints and compares it, and
// identities that are equal have the same folded text.
func FuzzIdentity(f *testing.F) {
	for _, text := range []string{"hub.example.net", "admin@example.net", "192.0.2.1", "2001:db8::1", "C=CH, O=Example, CN=hub", "keyid:0102"} {
		i, err := auth.ParseIdentity(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i.Type), uint8(i.Type), []byte(i.Data), []byte(i.Data))
	}
	f.Add(uint8(wire.IDFQDN), uint8(wire.IDFQDN), []byte("HUB.example.net"), []byte("hub.EXAMPLE.net"))
	f.Fuzz(func(t *testing.T, kind, other uint8, a, b []byte) {
		x, y := auth.Identity{Type: wire.IDType(kind), Data: string(a)}, auth.Identity{Type: wire.IDType(other), Data: string(b)}
		_ = x.String()
		if x.Equal(y) != y.Equal(x) {
			t.Errorf("%s is and is not %s", x, y)
		}
		if x.Name() == y.Name() && x != y && !x.Equal(y) { // a broken one equals nothing, not even itself
			t.Errorf("%q is the name of two", x.Name())
		}
		if x.Equal(y) && x.Folded() != y.Folded() {
			t.Errorf("%s is %s, but %q is not %q", x, y, x.Folded(), y.Folded())
		}
	})
}
