// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"errors"
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

func identity(t testing.TB, text string) auth.Identity {
	t.Helper()
	i, err := auth.ParseIdentity(text)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func pattern(t testing.TB, text string) auth.Pattern {
	t.Helper()
	p, err := auth.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestIdentitiesAreReadAndPrinted(t *testing.T) {
	cases := []struct {
		in   string
		kind wire.IDType
		want string
	}{
		{"hub.example.net", wire.IDFQDN, "hub.example.net"},
		{"spoke1", wire.IDFQDN, "spoke1"},
		{"fqdn:192.0.2.1", wire.IDFQDN, "192.0.2.1"},
		{"192.0.2.1", wire.IDIPv4, "192.0.2.1"},
		{"::ffff:192.0.2.1", wire.IDIPv4, "192.0.2.1"},
		{"2001:db8::1", wire.IDIPv6, "2001:db8::1"},
		{"admin@example.net", wire.IDEmail, "admin@example.net"},
		{"C=CH, O=Example, CN=hub", wire.IDDN, "CN=hub,O=Example,C=CH"},
		{"/C=CH/O=Example, Inc./CN=hub", wire.IDDN, `CN=hub,O=Example\, Inc.,C=CH`},
		{"dn:CN=hub", wire.IDDN, "CN=hub"},
		{"keyid:C0FFEE", wire.IDKeyID, "keyid:c0ffee"},
	}
	for _, c := range cases {
		i, err := auth.ParseIdentity(c.in)
		if err != nil || i.Type != c.kind || i.String() != c.want {
			t.Errorf("%s: type %d, %s, %v", c.in, i.Type, i, err)
		}
		if back := auth.IdentityOf(i.Payload(true)); !back.Equal(i) {
			t.Errorf("%s came back as %s", i, back)
		}
	}
	for _, bad := range []string{"", "a b", "hub\n", "X=1", "CN=", "keyid:", "keyid:xyz", "fe80::1%eth0", "*"} {
		if i, err := auth.ParseIdentity(bad); err == nil {
			t.Errorf("%q became %s", bad, i)
		}
	}
	for _, bad := range []string{"**", "*.", "hub.*", "*hub"} {
		if _, err := auth.ParsePattern(bad); err == nil {
			t.Errorf("%q became a pattern", bad)
		}
	}
}

func TestIdentitiesCompare(t *testing.T) {
	cases := []struct {
		pattern, identity string
		want              bool
	}{
		{"Hub.Example.NET", "hub.example.net", true},
		{"hub.example.net", "hub.example.net.", false},
		{"192.0.2.1", "fqdn:192.0.2.1", false},
		{"Admin@example.net", "Admin@EXAMPLE.net", true},
		{"Admin@example.net", "admin@example.net", false},
		{"C=CH, CN=hub", "C=CH,CN=hub", true},
		{"C=CH, CN=hub", "CN=hub, C=CH", false},
		{"C=CH, CN=hub", "C=CH, CN=Hub", false},
		{"C=CH, CN=hub", "C=CH", false},
		{"*", "anybody", true},
		{"*", "keyid:00", true},
		{"*.example.net", "spoke1.Example.net", true},
		{"*.example.net", "a.b.example.net", true},
		{"*.example.net", "example.net", false},
		{"*.example.net", ".example.net", false},
		{"*.example.net", "badexample.net", false},
		{"*.example.net", "x@y.example.net", false},
		{"*@example.net", "x@example.net", true},
		{"*@example.net", "x@sub.example.net", false},
	}
	for _, c := range cases {
		if got := pattern(t, c.pattern).Matches(identity(t, c.identity)); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.identity, got)
		}
	}
	// The letters of another script that fold into ASCII's are other letters.
	if (auth.Identity{Type: wire.IDFQDN, Data: "spo\u212Ae"}).Equal(identity(t, "spoke")) {
		t.Error("a Kelvin sign is a k")
	}
	broken := auth.Identity{Type: wire.IDDN, Data: "\x30\x80"}
	if broken.Equal(broken) || broken.String() != "dn:3080" {
		t.Errorf("a broken DN equals itself, or prints as %s", broken)
	}
	printable := "\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x13\x03hub"
	utf8 := "\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03hub"
	if !(auth.Identity{Type: wire.IDDN, Data: printable}).Equal(auth.Identity{Type: wire.IDDN, Data: utf8}) {
		t.Error("PrintableString and UTF8String of the same text differ")
	}
}

// TestSharedKeysBelongToIdentities: auth-id-not-for-key of the case list.
func TestSharedKeysBelongToIdentities(t *testing.T) {
	keys := auth.SharedKeys{
		{Peer: pattern(t, "*.example.net"), Key: crypto.Secret("group")},
		{Peer: pattern(t, "hub.example.net"), Key: crypto.Secret("hub's own")},
		{Peer: pattern(t, "192.0.2.7"), Key: crypto.Secret("address")},
	}
	cases := []struct {
		peer, want string
		group      bool
	}{
		{"hub.example.net", "hub's own", false},
		{"spoke1.example.net", "group", true},
		{"192.0.2.7", "address", false},
		{"192.0.2.8", "", false},
		{"stranger", "", false},
	}
	for _, c := range cases {
		key, group, err := keys.Find(identity(t, c.peer))
		if string(key) != c.want || group != c.group || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, auth.ErrFailed) {
			t.Errorf("%s: %q, group %v, %v", c.peer, string(key), group, err)
		}
	}
}
