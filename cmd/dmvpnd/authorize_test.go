// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"dmvpn/cmd/internal/config"
)

func TestTheFirstAuthorizationThatFitsCounts(t *testing.T) {
	one := []netip.Prefix{netip.MustParsePrefix("10.0.0.11/32")}
	lookup, err := allowed([]config.Authorization{
		{Peer: "spoke1.example.net", Addresses: one}, {Peer: "*.example.net"}, {Peer: "C=CH, O=Example, CN=hub"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		listed, limited bool
	}{
		"spoke1.example.net": {true, true}, "spoke2.example.net": {true, false}, "example.net": {}, "spoke1.example.org": {},
		"id(2):00": {}, "C=CH, O=Example, CN=hub": {true, false}, "10.0.0.11": {},
	} {
		a, ok := lookup(name)
		if ok != want.listed || (len(a.Addresses) > 0) != want.limited {
			t.Errorf("%s: %v, %t", name, a, ok)
		}
	}
	everybody, err := allowed([]config.Authorization{{Peer: "*"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := everybody("id(2):00"); !ok {
		t.Error(`"*" does not fit who cannot be named`)
	}
	if nobody, err := allowed(nil); nobody != nil || err != nil {
		t.Error("without a list there is one")
	}
}
