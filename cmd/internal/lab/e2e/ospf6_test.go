// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestOSPFv3Broadcast: phase 2 with FRR. Hellos are multicast, the hub is the designated router, next
// hops are the spokes' own, link-local ones.
func TestOSPFv3Broadcast(t *testing.T) { modes(t, ospfv3Broadcast) }

func ospfv3Broadcast(t *testing.T, m mode) {
	c := carriedIn(t, m, 6, 2, "hub6-phase2.toml", "spoke6.toml")
	f := frr(t, c, "frr-ospf6-broadcast-hub.conf", "frr-ospf6-broadcast-spoke.conf", "ospf6d")
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.NetworkOf(6, n), nextDoor(n))
		learns(t, c, c.Spokes[n-1].Name, cloud.NetworkOf(6, 3-n), nextDoor(3-n))
	}
	echoed(t, c, 1, 2)
	shortIn(t, c, 6, 1, 2)
	shortIn(t, c, 6, 2, 1)
	settled(t, c, "spoke1", netip.PrefixFrom(cloud.TunnelOf(6, 2), 128))
	look(t, c, "FRR with `frr-ospf6-broadcast-hub.conf`:", typing{"vtysh": f[1].Client()})
	all := f.witnesses("ospf6d")
	restarts(t, c, 2*time.Second, 6, func(when string, back time.Time) {
		greeted6(t, c, f, 10*time.Second, back)
		faithful(t, when, all)
	})
	echoed(t, c, 1, 2)
	shortIn(t, c, 6, 1, 2)
	f.typed(t, 2, "configure terminal", "interface lan", "no ipv6 ospf6 area 0.0.0.0")
	forgets(t, c, "spoke1", cloud.NetworkOf(6, 2))
}

// TestBIRDCarriesThePrefixesByOSPFv3: phase 3, point-to-multipoint by unicast.
func TestBIRDCarriesThePrefixesByOSPFv3(t *testing.T) { modes(t, birdCarriesThePrefixesByOSPFv3) }

func birdCarriesThePrefixesByOSPFv3(t *testing.T, m mode) {
	c := carriedIn(t, m, 6, 2, "hub6.toml", "spoke6.toml")
	b := birds(t, c, "bird-ospf6-hub.conf", "bird-ospf6-spoke.conf")
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.NetworkOf(6, n), nextDoor(n))
		learns(t, c, c.Spokes[n-1].Name, cloud.NetworkOf(6, 0), nextDoor(0))
		learns(t, c, c.Spokes[n-1].Name, cloud.NetworkOf(6, 3-n), nextDoor(0))
	}
	look(t, c, "BIRD with `bird-ospf6-hub.conf`:", typing{"birdc": b[1].Client()})
	echoed(t, c, 1, 2)
	shortIn(t, c, 6, 1, 2)
	shortIn(t, c, 6, 2, 1)
	settled(t, c, "spoke1", cloud.NetworkOf(6, 2))
	learns(t, c, "spoke1", cloud.NetworkOf(6, 2), nextDoor(0))
	// A single address of which the routing daemon has a route.
	other := netip.PrefixFrom(cloud.TunnelOf(6, 2), 128)
	learns(t, c, "spoke1", other, nextDoor(0))
	until(t, c, 2*patience, func() error {
		path, err := c.Spokes[0].Trace(t.Context(), other.Addr())
		if err == nil && len(path) != 1 {
			err = fmt.Errorf("from spoke1 to spoke2: %v", path)
		}
		return err
	})
	learns(t, c, "spoke1", other, nextDoor(0))
	all := birdWitnesses(b)
	restarts(t, c, 0, 6, func(when string, back time.Time) {
		greetedByBIRD(t, c, b, 12*time.Second, back)
		faithful(t, when, all)
	})
	shortIn(t, c, 6, 1, 2)
	birdc(t, b[1], "down") // it takes its routes along
	forgets(t, c, "spoke1", cloud.NetworkOf(6, 2))
	loses(t, c, "spoke1", cloud.NetworkOf(6, 2))
}
