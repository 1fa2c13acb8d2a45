// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
)

// TestALinkLocalNextHopIsAMembers: whose global address is made of ours and its own.
func TestALinkLocalNextHopIsAMembers(t *testing.T) {
	for _, c := range []struct{ own, hop, want string }{
		{"fd00::11/64", "fe80::12", "fd00::12"},
		{"fd00::11/64", "fe80::1:2:3:4", "fd00::1:2:3:4"},
		{"fd00::11/112", "fe80::12", "fd00::12"},
		{"fd00::11/112", "fe80::1:12", "fe80::1:12"}, // not in the overlay
		{"fd00:0:0:7::11/48", "fe80::12", "fd00:0:0:7::12"},
		{"fd00::11/64", "fd00::12", "fd00::12"},
		{"fd00::11/64", "10.0.0.12", "10.0.0.12"},
		{"10.0.0.11/24", "fe80::12", "fe80::12"},
		{"10.0.0.11/24", "169.254.0.12", "169.254.0.12"},
	} {
		own, hop, want := netip.MustParsePrefix(c.own), netip.MustParseAddr(c.hop), netip.MustParseAddr(c.want)
		if got := global(own, hop); got != want {
			t.Errorf("%v of %v: %v, expected %v", hop, own, got, want)
		}
		if want != hop && linkLocal(want) != hop {
			t.Errorf("%v has the link-local address %v, not %v", want, linkLocal(want), hop)
		}
	}
	if a := global(netip.MustParsePrefix("fd00::11/64"), netip.Addr{}); a.IsValid() {
		t.Errorf("no next hop became %v", a)
	}
}

// TestARouteByALinkLocalNextHop is seen by NHRP as one by the member.
func TestARouteByALinkLocalNextHop(t *testing.T) {
	own := netip.MustParsePrefix("fd00::11/64")
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo up")
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	d, err := h.EnsureTunnel(kernel.TunnelSpec{Name: "dmvpn0", Addresses: deviceAddresses([]netip.Prefix{own}), MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	mirror := mirrorOf(t, h)
	r := &router{host: h, mirror: mirror, tunnel: d.Index, six: true, own: own}
	netnstest.Run(t, "ip route add fd10:0:2::/64 via fe80::12 dev dmvpn0 proto ospf metric 20")
	netnstest.Eventually(t, "the route is seen", func() bool {
		route, ok := r.Lookup(netip.MustParseAddr("fd10:0:2::10"))
		return ok && route.Tunnel && route.NextHop == netip.MustParseAddr("fd00::12")
	})
}
