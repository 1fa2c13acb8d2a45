// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"testing"

	"dmvpn/loader/tables"
)

func TestAPeerOfSeveralNextHopsGetsOneCopy(t *testing.T) {
	var a audience
	hop := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, n}) }
	check := func(when string, want ...tables.PeerID) {
		t.Helper()
		if got := a.peers(false); !slices.Equal(got, want) {
			t.Errorf("%s: %v, expected %v", when, got, want)
		}
	}
	check("at first")
	a.set(hop(3), 7, true)
	a.set(hop(1), 2, true)
	a.set(hop(2), 7, true)
	check("three next hops of two peers", 2, 7)
	before := a.peers(false)
	a.set(hop(3), 7, false)
	check("one of two is gone", 2, 7)
	a.set(hop(2), 5, true)
	check("the other is another peer's", 2, 5)
	a.set(hop(1), 2, false)
	a.set(hop(9), 9, false)
	check("one is left", 5)
	a.set(netip.MustParseAddr("fd00::1"), 8, true)
	check("one of the other family", 5)
	if got := a.peers(true); !slices.Equal(got, []tables.PeerID{8}) {
		t.Errorf("IPv6's: %v", got)
	}
	if !slices.Equal(before, []tables.PeerID{2, 7}) {
		t.Errorf("a list that was given is now %v", before)
	}
	if n := testing.AllocsPerRun(100, func() { a.peers(false) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}
