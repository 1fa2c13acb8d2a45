// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dmvpn/cmd/internal/config"
	"dmvpn/ikev2/auth"
	"dmvpn/nhrpd/engine"
)

func TestTheFirstAuthorizationThatFitsCounts(t *testing.T) {
	one := []netip.Prefix{netip.MustParsePrefix("10.0.0.11/32")}
	lookup := lookupOf(t, []config.Authorization{
		{Peer: "spoke1.example.net", Addresses: one}, {Peer: "*.example.net"}, {Peer: "C=CH, O=Example, CN=hub"},
	}).lookup()
	for name, want := range map[string]struct {
		listed, limited bool
	}{
		"spoke1.example.net": {true, true}, "spoke2.example.net": {true, false}, "example.net": {}, "spoke1.example.org": {},
		"id(2):00": {}, "C=CH, O=Example, CN=hub": {true, false}, "10.0.0.11": {},
	} {
		a, ok := lookup(name)
		if ok != want.listed || (a.Addresses != nil) != want.limited {
			t.Errorf("%s: %v, %t", name, a, ok)
		}
	}
	if _, ok := lookupOf(t, []config.Authorization{{Peer: "*"}}).lookup()("id(2):00"); !ok {
		t.Error(`"*" does not fit who cannot be named`)
	}
	if lookupOf(t, nil).lookup() != nil {
		t.Error("without a list there is one")
	}
}

func lookupOf(t *testing.T, list []config.Authorization) *authorizer {
	t.Helper()
	a, err := newAuthorizer(list)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestACertificateSaysWhatItsOwnerMayRegister(t *testing.T) {
	prefixes := func(all ...string) []netip.Prefix {
		out := []netip.Prefix{}
		for _, p := range all {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	a := lookupOf(t, []config.Authorization{
		{Peer: "*.example.net", Certificate: true, Networks: prefixes("10.10.0.0/16")}, {Peer: "*.example.org", Certificate: true},
	})
	c := &auth.Claims{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.11")}, Networks: prefixes("10.10.1.0/24", "10.99.0.0/16", "10.0.0.0/8")}
	nothing := engine.Allowance{Addresses: prefixes(), Networks: prefixes()}
	for _, s := range []struct {
		name   string
		claims *auth.Claims
		want   engine.Allowance
	}{
		{"a.example.net", c, engine.Allowance{Addresses: prefixes("10.0.0.11/32"), Networks: prefixes("10.10.1.0/24")}},
		{"a.example.org", c, engine.Allowance{Addresses: prefixes("10.0.0.11/32"), Networks: c.Networks}},
		{"b.example.org", &auth.Claims{}, nothing},
		{"psk.example.org", nil, nothing},
	} {
		if got, _ := a.allowed(s.name); !got.Unproved {
			t.Errorf("%s has shown nothing yet, and may register %v", s.name, got)
		}
		a.proved(s.name, s.claims)
		got, ok := a.allowed(s.name)
		if diff := cmp.Diff(s.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || !ok {
			t.Errorf("%s: %t\n%s", s.name, ok, diff)
		}
		a.left(s.name)
		if got, _ := a.allowed(s.name); len(got.Addresses) > 0 || len(got.Networks) > 0 || !got.Unproved {
			t.Errorf("%s has gone, and may register %v", s.name, got)
		}
	}
}
