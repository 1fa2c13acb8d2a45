// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// nextDoor is the link-local address in the tunnel of a spoke, 0 is the hub: next hops of IPv6 are
// link-local ones.
func nextDoor(n int) netip.Addr {
	b := cloud.TunnelOf(6, n).As16()
	copy(b[:8], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
	return netip.AddrFrom16(b)
}

// learns6 waits until a node has a routing daemon's route to a site by another node, 0 for the hub, by
// whichever of its addresses: FRR's BGP takes the link-local one of who announces his own.
func learns6(t *testing.T, c *cloud.Cloud, node string, site, by int) {
	t.Helper()
	until(t, c, 3*patience, func() error {
		hop, err := learnt(c, node, cloud.NetworkOf(6, site))
		if err == nil && hop != nextDoor(by) && hop != cloud.TunnelOf(6, by) {
			err = fmt.Errorf("%s: %v by %v, expected %v", node, cloud.NetworkOf(6, site), hop, nextDoor(by))
		}
		return err
	})
}

// echoed waits until host a's packets come to host b's and back.
func echoed(t *testing.T, c *cloud.Cloud, a, b int) {
	t.Helper()
	until(t, c, patience, func() error { return pinged(c.Hosts[a-1], 6, b) })
}

// TestBGPCarriesThePrefixesOfIPv6: phase 3 with FRR, as bgp_test.go has it of IPv4.
func TestBGPCarriesThePrefixesOfIPv6(t *testing.T) { modes(t, bgpCarriesThePrefixesOfIPv6) }

func bgpCarriesThePrefixesOfIPv6(t *testing.T, m mode) {
	c := carriedIn(t, m, 6, 2, "hub6.toml", "spoke6.toml")
	f := frr(t, c, "frr-ibgp6-hub.conf", "frr-ibgp6-spoke.conf", "bgpd")
	for n := 1; n <= 2; n++ {
		learns6(t, c, "hub", n, n)
		learns6(t, c, c.Spokes[n-1].Name, 0, 0)
		learns6(t, c, c.Spokes[n-1].Name, 3-n, 0)
	}
	look(t, c, "FRR with `frr-ibgp6-hub.conf`:", typing{"vtysh": f[1].Client()})
	echoed(t, c, 1, 2)
	shortIn(t, c, 6, 1, 2)
	shortIn(t, c, 6, 2, 1)
	settled(t, c, "spoke1", cloud.NetworkOf(6, 2))
	all := f.witnesses("bgpd")
	restarts(t, c, 0, 6, func(when string, _ time.Time) { faithful(t, when, all) })
	echoed(t, c, 1, 2)
	shortIn(t, c, 6, 1, 2)
	// The route that the daemon installed stays beside the shortcut's, and ends it when it goes.
	learns6(t, c, "spoke1", 2, 0)
	f.typed(t, 2, "configure terminal", "router bgp 65000", "address-family ipv6 unicast", "no network fd10:0:2::/64")
	forgets(t, c, "spoke1", cloud.NetworkOf(6, 2)) // by the session of before
	faithful(t, "at the end", all)
	loses(t, c, "spoke1", cloud.NetworkOf(6, 2))
	loses(t, c, "spoke2", cloud.NetworkOf(6, 1)) // spoke1 says that it is over
}

// TestBGPKeepsTheNextHopOfIPv6: phase 2 with FRR.
func TestBGPKeepsTheNextHopOfIPv6(t *testing.T) { modes(t, bgpKeepsTheNextHopOfIPv6) }

func bgpKeepsTheNextHopOfIPv6(t *testing.T, m mode) {
	c := carriedIn(t, m, 6, 2, "hub6-phase2.toml", "spoke6.toml")
	f := frr(t, c, "frr-ibgp6-phase2-hub.conf", "frr-ibgp6-spoke.conf", "bgpd")
	for n := 1; n <= 2; n++ {
		learns6(t, c, "hub", n, n)
		learns6(t, c, c.Spokes[n-1].Name, 3-n, 3-n)
	}
	echoed(t, c, 1, 2)
	shortIn(t, c, 6, 1, 2)
	shortIn(t, c, 6, 2, 1)
	settled(t, c, "spoke1", netip.PrefixFrom(cloud.TunnelOf(6, 2), 128))
	if hasShortcut(t, c, "spoke1", cloud.NetworkOf(6, 2)) {
		t.Error("spoke1 has a shortcut to the prefix, where the next hop is enough")
	}
	f.typed(t, 2, "configure terminal", "router bgp 65000", "address-family ipv6 unicast", "no network fd10:0:2::/64")
	forgets(t, c, "spoke1", cloud.NetworkOf(6, 2))
	for range 3 { // nothing is left that leads there
		if _, err := c.Hosts[0].Ping(cloud.HostOf(6, 2), 0, shortly); err == nil {
			t.Error("a packet came through to a prefix that is withdrawn")
		}
	}
}
