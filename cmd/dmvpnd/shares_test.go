// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"dmvpn/bpf"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// newTables are tables over maps of the kernel, with a tunnel on device 1.
func newTables(t *testing.T) *tables.Tables {
	t.Helper()
	spec, err := bpf.LoadDmvpn()
	if err != nil {
		t.Fatal(err)
	}
	maps := map[string]*ebpf.Map{}
	for name, m := range spec.Maps {
		if m.Pinning == ebpf.PinNone {
			continue // the constants of a program
		}
		m.Pinning = ebpf.PinNone
		if maps[name], err = ebpf.NewMap(m); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = maps[name].Close() })
	}
	tt, err := tables.New(maps)
	if err != nil {
		t.Fatal(err)
	}
	if err := tt.SetTunnel(tables.Tunnel{IfIndex: 1, UnderlayIfIndex: 2, Local: netip.MustParseAddr("192.0.2.1")}); err != nil {
		t.Fatal(err)
	}
	return tt
}

// TestThePeersOfATunnelAreSharedByItsFamilies: what one leaves the other keeps, and each
// answers for its own next hops.
func TestThePeersOfATunnelAreSharedByItsFamilies(t *testing.T) {
	tt := newTables(t)
	plain, shares := &dataPlane{tables: tt, tunnel: 1, pump: new(tunnel).currentPump}, newShares()
	four, six := &share{plane: plain, shares: shares}, &share{plane: plain, shares: shares, six: true}
	at := func(s string) engine.Endpoint { return engine.Endpoint{NBMA: netip.MustParseAddr(s)} }
	addr := netip.MustParseAddr
	both, only4, only6, old := at("198.51.100.11"), at("198.51.100.12"), at("198.51.100.13"), at("198.51.100.14")
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for _, b := range []struct {
		s   *share
		hop string
		to  engine.Endpoint
	}{{four, "10.0.0.11", both}, {six, "fd00::11", both}, {four, "10.0.0.12", only4}} {
		check("bind", b.s.Bind(engine.Bind{NextHop: addr(b.hop), To: b.to}))
	}
	check("admit", six.Admit(only6, addr("fd00::13")))
	check("of a run before", plain.Admit(old, netip.Addr{}))
	fallbacks := func() (of4, of6 tables.PeerID) {
		all, err := tt.Tunnels()
		check("tunnels", err)
		return all[0].Fallback, all[0].Fallback6
	}
	id := func(e engine.Endpoint) tables.PeerID {
		id, _ := tt.ID(1, tables.Endpoint{NBMA: e.NBMA})
		return id
	}
	check("fallback", four.Fallback(addr("10.0.0.12")))
	check("fallback", six.Fallback(addr("fd00::11")))
	if a, b := fallbacks(); a != id(only4) || b != id(both) {
		t.Errorf("fallbacks %d and %d, want %d and %d", a, b, id(only4), id(both))
	}

	for _, c := range []struct {
		s    *share
		want map[engine.Endpoint][]netip.Addr
	}{
		{four, map[engine.Endpoint][]netip.Addr{both: {addr("10.0.0.11")}, only4: {addr("10.0.0.12")}, old: nil}},
		{six, map[engine.Endpoint][]netip.Addr{both: {addr("fd00::11")}, only6: nil, old: nil}},
	} {
		got := c.s.Admitted()
		for e, hops := range c.want {
			if list, ok := got[e]; !ok || !slices.Equal(list, hops) {
				t.Errorf("six %v: %v is %v, %v; want %v", c.s.six, e.NBMA, list, ok, hops)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("six %v answers for %v", c.s.six, got)
		}
	}

	if got, ok := tt.Bound(1, addr("fe80::11")); !ok || got != id(both) {
		t.Errorf("its link-local address is %d's, %v", got, ok)
	}
	check("unbind", six.Unbind(addr("fd00::11")))
	if got, ok := tt.Bound(1, addr("fe80::11")); ok {
		t.Errorf("its link-local address is still %d's", got)
	}
	check("dismiss", six.Dismiss(both))
	if a, b := fallbacks(); a != id(only4) || b != 0 {
		t.Errorf("fallbacks %d and %d after an unbind", a, b)
	}
	if id(both) == 0 {
		t.Error("IPv6's dismissal ended what IPv4 has")
	}
	check("dismiss", four.Dismiss(both))
	check("dismiss", four.Dismiss(only4))
	check("dismiss", six.Dismiss(only6))
	if id(both) != 0 || id(only4) != 0 || id(only6) != 0 {
		t.Errorf("still there: %v", tt.Peers())
	}
}
