// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestBGPCarriesThePrefixes: phase 3 with FRR, iBGP and the hub as route reflector that names
// itself as next hop.
func TestBGPCarriesThePrefixes(t *testing.T) { modes(t, bgpCarriesThePrefixes) }

func bgpCarriesThePrefixes(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	for range 3 { // nothing is learnt yet: guard keeps it from the default route
		if _, err := c.Hosts[0].Ping(cloud.Host(2), 0, shortly); err == nil {
			t.Error("a packet came through before there was a route")
		}
	}
	f := frr(t, c, "frr-ibgp-hub.conf", "frr-ibgp-spoke.conf", "bgpd")
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.Network(n), cloud.TunnelAddress(n))
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(0), cloud.HubTunnel())
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
	}
	look(t, c, "FRR with `frr-ibgp-hub.conf`:", typing{"vtysh": f[1].Client()})
	short(t, c, 1, 2)
	short(t, c, 2, 1)
	settled(t, c, "spoke1", cloud.Network(2))
	for n := 1; n <= 2; n++ {
		for _, half := range []string{"10.10.%d.0/25", "10.10.%d.128/25"} {
			if hop, err := learnt(c, "hub", netip.MustParsePrefix(fmt.Sprintf(half, n))); err == nil {
				t.Errorf("the hub learnt half of a prefix by %v: a shortcut was announced", hop)
			}
		}
	}
	// The route that the daemon installed stays beside the shortcut's, and ends it when it goes.
	learns(t, c, "spoke1", cloud.Network(2), cloud.HubTunnel())
	withdraw := func() {
		t.Helper()
		f.typed(t, 2, "configure terminal", "router bgp 65000", "address-family ipv4 unicast", "no network 10.10.2.0/24")
	}
	over := func() {
		t.Helper()
		forgets(t, c, "spoke1", cloud.Network(2))
		loses(t, c, "spoke1", cloud.Network(2))
	}
	withdraw()
	over()
	loses(t, c, "spoke2", cloud.Network(1)) // spoke1 says that it is over
	// It goes while nobody is there to take the shortcut back.
	f.typed(t, 2, "configure terminal", "router bgp 65000", "address-family ipv4 unicast", "network 10.10.2.0/24")
	learns(t, c, "spoke1", cloud.Network(2), cloud.HubTunnel())
	short(t, c, 1, 2)
	until(t, c, patience, func() error { return saved(c, "spoke1", cloud.Network(2)) })
	check(t, c.Kill(t.Context(), "spoke1"))
	withdraw()
	forgets(t, c, "hub", cloud.Network(2))
	if !m.encrypted { // BGP goes on
		forgets(t, c, "spoke1", cloud.Network(2))
	}
	check(t, c.Start("spoke1"))
	check(t, c.Ready(t.Context(), "spoke1"))
	over()
}

// TestBGPKeepsTheNextHop: phase 2 with FRR. The hub reflects routes as they are, and the spoke
// resolves the next hop.
func TestBGPKeepsTheNextHop(t *testing.T) { modes(t, bgpKeepsTheNextHop) }

func bgpKeepsTheNextHop(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub-phase2.toml")
	f := frr(t, c, "frr-ibgp-phase2-hub.conf", "frr-ibgp-spoke.conf", "bgpd")
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.Network(n), cloud.TunnelAddress(n))
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.TunnelAddress(3-n))
	}
	ping(t, c.Hosts[0], 2)
	short(t, c, 1, 2)
	short(t, c, 2, 1)
	settled(t, c, "spoke1", netip.PrefixFrom(cloud.TunnelAddress(2), 32))
	if hasShortcut(t, c, "spoke1", cloud.Network(2)) {
		t.Error("spoke1 has a shortcut to the prefix, where the next hop is enough")
	}
	f.typed(t, 2, "configure terminal", "router bgp 65000", "address-family ipv4 unicast", "no network 10.10.2.0/24")
	forgets(t, c, "spoke1", cloud.Network(2))
	for range 3 { // nothing is left that leads there
		if _, err := c.Hosts[0].Ping(cloud.Host(2), 0, shortly); err == nil {
			t.Error("a packet came through to a prefix that is withdrawn")
		}
	}
}

// TestBGPSummarises: phase 3 with FRR, eBGP over IPv4 and over IPv6 in one tunnel. The spokes know the
// summary; what leaves a site ends the others' shortcuts by NHRP's purge.
func TestBGPSummarises(t *testing.T) { modes(t, bgpSummarises) }

func bgpSummarises(t *testing.T, m mode) {
	both := []int{4, 6}
	c := carriedAs(t, m, both, 2, inBoth(examples(t, "hub.toml", "spoke.toml")))
	f := frr(t, c, "frr-ebgp-hub.conf", "frr-ebgp-spoke.conf", "bgpd")
	for n := range f {
		check(t, f[n].Load(t.Context(), examples(t, "frr-ebgp6-hub.conf", "frr-ebgp6-spoke.conf")(n)))
	}
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.Network(n), cloud.TunnelAddress(n))
		learns6(t, c, "hub", n, n)
		learns(t, c, c.Spokes[n-1].Name, netip.MustParsePrefix("10.10.0.0/16"), cloud.HubTunnel())
		until(t, c, 3*patience, func() error {
			_, err := learnt(c, c.Spokes[n-1].Name, netip.MustParsePrefix("fd10::/16"))
			return err
		})
	}
	direct := func() {
		t.Helper()
		for _, version := range both {
			until(t, c, patience, func() error { return pinged(c.Hosts[0], version, 2) })
			shortIn(t, c, version, 1, 2)
			until(t, c, patience, func() error { return c.Direct(t.Context(), "spoke1", cloud.NetworkOf(version, 2)) })
		}
	}
	direct()
	settled(t, c, "spoke1", cloud.Network(2))
	all := f.witnesses("bgpd")
	restarts(t, c, 0, 6, func(when string, _ time.Time) { faithful(t, when, all) })
	direct()
	check(t, c.Spokes[1].SetUp(cloud.LAN, false))
	for _, version := range both {
		loses(t, c, "spoke1", cloud.NetworkOf(version, 2))
		forgets(t, c, "hub", cloud.NetworkOf(version, 2)) // by the session of before
	}
	check(t, c.Spokes[1].SetUp(cloud.LAN, true))
	check(t, c.Spokes[1].AddAddress(cloud.LAN, cloud.GatewayOf(6, 2).String()+"/64")) // went with the link
	learns(t, c, "hub", cloud.Network(2), cloud.TunnelAddress(2))
	learns6(t, c, "hub", 2, 2)
	faithful(t, "at the end", all)
	direct()
}

// TestBGPLearnsThePrefixOfAShortcut: the shortcut was there first, by way of a summary. FRR's route of
// the very prefix is seen all the same, and the shortcut ends with it.
func TestBGPLearnsThePrefixOfAShortcut(t *testing.T) {
	modes(t, func(t *testing.T, m mode) {
		c := carried(t, m, 2, "hub.toml")
		route := func(n *lab.Node, to, via string) {
			t.Helper()
			_, err := n.Run(t.Context(), "ip", "route", "add", to, "via", via, "proto", "static")
			check(t, err)
		}
		for n, s := range c.Spokes {
			route(s, "10.10.0.0/16", cloud.HubTunnel().String())
			route(c.Hub, cloud.Network(n+1).String(), cloud.TunnelAddress(n+1).String())
		}
		until(t, c, patience, func() error {
			_, _ = c.Hosts[0].Ping(cloud.Host(2), 0, shortly)
			return c.Direct(t.Context(), "spoke1", cloud.Network(2))
		})
		f := frr(t, c, "frr-ibgp-hub.conf", "frr-ibgp-spoke.conf", "bgpd")
		learns(t, c, "spoke1", cloud.Network(0), cloud.HubTunnel())
		learns(t, c, "spoke1", cloud.Network(2), cloud.HubTunnel())
		short(t, c, 1, 2)
		until(t, c, patience, func() error { return c.Direct(t.Context(), "spoke1", cloud.Network(2)) })
		settled(t, c, "spoke1", cloud.Network(2))
		learns(t, c, "spoke1", cloud.Network(2), cloud.HubTunnel())
		_, err := c.Spokes[0].Run(t.Context(), "ip", "route", "del", "10.10.0.0/16", "proto", "static")
		check(t, err)
		settled(t, c, "spoke1", cloud.Network(2))
		f.typed(t, 2, "configure terminal", "router bgp 65000", "address-family ipv4 unicast", "no network 10.10.2.0/24")
		forgets(t, c, "spoke1", cloud.Network(2))
		loses(t, c, "spoke1", cloud.Network(2))
	})
}

// TestKernelRoutesAreRedistributedAndOursAreNot: an operator's static route reaches the hub, the
// shortcut and what stands unreachable do not.
func TestKernelRoutesAreRedistributedAndOursAreNot(t *testing.T) {
	t.Parallel()
	c := carried(t, mode{encrypted: true}, 2, "hub.toml")
	f := frr(t, c, "frr-ibgp-hub.conf", "frr-ibgp-spoke.conf", "bgpd")
	check(t, f[1].Load(t.Context(), example(t, "frr-redistribute-kernel.conf", 1)))
	learns(t, c, "spoke1", cloud.Network(2), cloud.HubTunnel())
	learns(t, c, "spoke2", cloud.Network(1), cloud.HubTunnel())
	ping(t, c.Hosts[0], 2)
	short(t, c, 1, 2)
	_, err := c.Spokes[0].Run(t.Context(), "ip", "route", "add", "10.10.77.0/24", "via", cloud.Host(1).String())
	check(t, err)
	learns(t, c, "hub", netip.MustParsePrefix("10.10.77.0/24"), cloud.TunnelAddress(1))
	out := f.typed(t, 0, "show bgp ipv4 unicast neighbors 10.0.0.11 routes")
	for _, prefix := range []string{"10.10.1.0/24", "10.10.77.0/24"} {
		if !strings.Contains(out, prefix) {
			t.Errorf("no %s from spoke1 in\n%s", prefix, out)
		}
	}
	for _, prefix := range []string{"10.10.2.0/2", "10.10.2.128", "10.10.0.0/16", "10.0.0.0/24"} {
		if strings.Contains(out, prefix) {
			t.Errorf("spoke1 announces %s:\n%s", prefix, out)
		}
	}
}
