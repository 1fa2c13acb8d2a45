// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestOSPFPointToMultipoint: phase 3 with FRR. Hellos are multicast; the hub is everybody's next
// hop, also to the spokes' own addresses.
func TestOSPFPointToMultipoint(t *testing.T) { modes(t, ospfPointToMultipoint) }

func ospfPointToMultipoint(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	f := frr(t, c, "frr-ospf-p2mp-hub.conf", "frr-ospf-p2mp-spoke.conf", "ospfd")
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.Network(n), cloud.TunnelAddress(n))
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(0), cloud.HubTunnel())
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
	}
	other := netip.PrefixFrom(cloud.TunnelAddress(2), 32)
	learns(t, c, "spoke1", other, cloud.HubTunnel())
	look(t, c, "FRR with `frr-ospf-p2mp-hub.conf`:", typing{"vtysh": f[1].Client()})
	ping(t, c.Hosts[0], 2)
	short(t, c, 1, 2)
	short(t, c, 2, 1)
	settled(t, c, "spoke1", cloud.Network(2))
	learns(t, c, "spoke1", cloud.Network(2), cloud.HubTunnel())
	// A single address of which the routing daemon has a route.
	direct(t, c, 1, 2)
	settled(t, c, "spoke1", other)
	learns(t, c, "spoke1", other, cloud.HubTunnel())
	f.typed(t, 2, "configure terminal", "interface lan", "no ip ospf area 0")
	forgets(t, c, "spoke1", cloud.Network(2))
	loses(t, c, "spoke1", cloud.Network(2))
}

// TestOSPFBroadcast: phase 2 with FRR. The hub is the designated router, next hops are the
// spokes' own.
func TestOSPFBroadcast(t *testing.T) {
	modes(t, func(t *testing.T, m mode) {
		ospfByNextHops(t, m, "frr-ospf-broadcast-hub.conf", "frr-ospf-broadcast-spoke.conf")
	})
}

// TestOSPFNonBroadcast: the same by unicast.
func TestOSPFNonBroadcast(t *testing.T) {
	modes(t, func(t *testing.T, m mode) { ospfByNextHops(t, m, "frr-ospf-nbma-hub.conf", "frr-ospf-nbma-spoke.conf") })
}

func ospfByNextHops(t *testing.T, m mode, hub, spoke string) {
	c := carried(t, m, 2, "hub-phase2.toml")
	f := frr(t, c, hub, spoke, "ospfd")
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.Network(n), cloud.TunnelAddress(n))
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.TunnelAddress(3-n))
	}
	ping(t, c.Hosts[0], 2)
	short(t, c, 1, 2)
	short(t, c, 2, 1)
	all := f.witnesses("ospfd")
	for _, node := range []string{"hub", "spoke1"} {
		for _, how := range []ending{stopped, killed} {
			restart(t, c, restarting{node, how, 0, []int{4}})
			greeted(t, c, f, 12*time.Second, time.Now())
			faithful(t, fmt.Sprintf("%s %s", node, how), all)
		}
	}
	f.typed(t, 2, "configure terminal", "interface lan", "no ip ospf area 0")
	forgets(t, c, "spoke1", cloud.Network(2))
}
