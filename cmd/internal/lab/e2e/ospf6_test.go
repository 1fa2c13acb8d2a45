// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"testing"

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
	restarted(t, c, "hub", c.Kill)
	greeted6(t, c, f)
	restarted(t, c, "spoke1", c.Stop)
	greeted6(t, c, f)
	echoed(t, c, 1, 2)
	lost(t, f, "hub killed, spoke1 stopped", "ospf6d")
	shortIn(t, c, 6, 1, 2)
	f.typed(t, 2, "configure terminal", "interface lan", "no ipv6 ospf6 area 0.0.0.0")
	forgets(t, c, "spoke1", cloud.NetworkOf(6, 2))
}

// due6 is when ospf6d gives a neighbour up, in seconds, unless it says hello: 10 after the last one, as
// the example has it.
var due6 = regexp.MustCompile(`"deadTime":\s*"00:00:(\d+)"`)

// greeted6 waits until every neighbour has said hello again since restarted, which takes 3 s at least.
func greeted6(t *testing.T, c *cloud.Cloud, f suite) {
	t.Helper()
	for n := range f {
		until(t, c, patience, func() error {
			out := f.typed(t, n, "show ipv6 ospf6 neighbor json")
			all := due6.FindAllStringSubmatch(out, -1)
			for _, m := range all {
				if left, err := strconv.Atoi(m[1]); err != nil || left < 7 {
					return fmt.Errorf("node %d: no hello for a while: %s", n, out)
				}
			}
			if len(all) == 0 || n == 0 && len(all) != len(c.Spokes) {
				return fmt.Errorf("node %d: neighbours are missing: %s", n, out)
			}
			return nil
		})
	}
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
	birdc(t, b[1], "down") // it takes its routes along
	forgets(t, c, "spoke1", cloud.NetworkOf(6, 2))
	loses(t, c, "spoke1", cloud.NetworkOf(6, 2))
}
