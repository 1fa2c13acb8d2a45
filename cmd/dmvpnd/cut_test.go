// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/instance"
	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
)

// TestWhatWouldCutOuterPacketsOff: an unreachable route does not stand where only a wider one leads
// to a server or to the gateway; the kernel, with one that stands, agrees.
func TestWhatWouldCutOuterPacketsOff(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo up")
	netnstest.Run(t, "ip link add eth0 type veth peer name eth1")
	netnstest.Run(t, "ip address add 10.1.1.5/24 dev eth0")
	netnstest.Run(t, "ip link set eth0 up")
	netnstest.Run(t, "ip link set eth1 up")
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	under, err := h.Underlay(kernel.UnderlaySpec{Device: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, routes, nbma, prefix string
		want                       bool
	}{
		{"a site", "default via 10.1.1.1", "100.64.0.9", "10.10.2.0/24", false},
		{"half of everything", "default via 10.1.1.1", "100.64.0.9", "0.0.0.0/1", true},
		{"the other half", "default via 10.1.1.1", "100.64.0.9", "128.0.0.0/1", false},
		{"the carrier's own", "default via 10.1.1.1", "100.64.0.9", "100.64.0.0/10", true},
		{"a route of its own", "default via 10.1.1.1; 100.64.0.9 via 10.1.1.1", "100.64.0.9", "100.64.0.0/10", false},
		{"its own route is as wide", "default via 10.1.1.1; 100.64.0.0/10 via 10.1.1.1", "100.64.0.9", "100.64.0.0/10", false},
		{"everything", "default via 10.1.1.1", "100.64.0.9", "0.0.0.0/0", false},
		{"our address and the gateway, on link", "default via 10.1.1.1", "100.64.0.9", "10.0.0.0/8", false},
		{"the gateway, on no link", "default via 172.31.1.1 dev eth0 onlink", "100.64.0.9", "172.16.0.0/12", true},
		{"no way at all", "", "100.64.0.9", "100.64.0.0/10", false},
	} {
		for route := range strings.SplitSeq(c.routes, "; ") {
			if route != "" {
				netnstest.Run(t, "ip route add "+route)
			}
		}
		mirror, err := h.MirrorRoutes()
		if err != nil {
			t.Fatal(err)
		}
		p := netip.MustParsePrefix(c.prefix)
		spoke := config.Tunnel{Protected: true, NHS: []config.NHS{{NBMA: "hub.example.net"}, {NBMA: c.nbma}}}
		if got := cutsServers(mirror, spoke, under, instance.Place{Prefix: p}); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if nbma := netip.MustParseAddr(c.nbma); c.routes != "" && p.Contains(nbma) {
			if err := h.InstallUnreachable(p); err != nil {
				t.Fatal(err)
			}
			if err := h.CheckRecursion(under, nbma, func(int) bool { return false }); (err != nil) != c.want {
				t.Errorf("%s: the kernel says %v", c.name, err)
			}
			if err := h.RemoveUnreachable(p); err != nil {
				t.Fatal(err)
			}
		}
		mirror.Close()
		for route := range strings.SplitSeq(c.routes, "; ") {
			if route != "" {
				netnstest.Run(t, "ip route del "+route)
			}
		}
	}
}

// TestStartLiftsWhatCutsOuterPacketsOff: what an earlier run stood, and what the configuration
// names in spite of it.
func TestStartLiftsWhatCutsOuterPacketsOff(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo up")
	netnstest.Run(t, "ip link add eth0 type veth peer name eth1")
	netnstest.Run(t, "ip address add 192.0.2.11/24 dev eth0")
	netnstest.Run(t, "ip link set eth0 up")
	netnstest.Run(t, "ip link set eth1 up")
	netnstest.Run(t, "ip route add default via 192.0.2.254")
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	p := instance.PathsOf(t.TempDir(), "one")
	before, err := instance.OpenUnreachable(p, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Stand(instance.Place{Prefix: netip.MustParsePrefix("0.0.0.0/1")}); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{Tunnels: []config.Tunnel{{
		Protected: true, Underlay: config.Underlay{Device: "eth0"}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/24")},
		NHS: []config.NHS{{NBMA: "100.64.0.9", Routes: []netip.Prefix{
			netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("10.10.0.0/16"),
		}}},
	}}}
	for range 2 {
		if _, err := standUnreachable(c, p, h); err != nil {
			t.Fatal(err)
		}
		out := netnstest.Run(t, "ip route show type unreachable")
		if strings.Count(out, "unreachable") != 2 || !strings.Contains(out, "10.0.0.0/24 ") || !strings.Contains(out, "10.10.0.0/16 ") {
			t.Error(out)
		}
	}
}
