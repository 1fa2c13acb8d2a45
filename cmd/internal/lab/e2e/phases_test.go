// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestWithoutRedirectEverythingGoesByTheHub: phase 1 by configuration, of the hub, of spoke2.
func TestWithoutRedirectEverythingGoesByTheHub(t *testing.T) {
	modes(t, withoutRedirectEverythingGoesByTheHub)
}

func withoutRedirectEverythingGoesByTheHub(t *testing.T, m mode) {
	no := false
	c := m.up(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "hub" {
			s.Tunnels[0].Redirect = &no
		}
	}})
	ping(t, c.Hosts[0], 2)
	there, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 200, dataSize)
	check(t, err)
	check(t, there.Run(t.Context(), 2*time.Second)) // a shortcut takes a tenth of it
	atHub, err := c.Hub.Capture(cloud.Underlay, m.isData)
	check(t, err)
	until(t, c, patience, func() error { return hops(t, c, 1, 2, byTheHub) })
	check(t, there.Run(t.Context(), time.Second))
	spotless(t, "by the hub", there.Stop())
	if len(atHub.Close()) == 0 {
		t.Error("the hub has seen nothing of it")
	}
	for n, spoke := range []string{"spoke1", "spoke2"} {
		check(t, c.Indirect(t.Context(), spoke, cloud.Network(2-n)))
		if asked := asksOf(t, c, spoke); asked > 0 {
			t.Errorf("%s has asked %d times", spoke, asked)
		}
	}
}

// TestThreePhasesInOneCloud: spoke2 makes no shortcuts, but is reached by one; spoke3 has a route
// that names spoke1, and asks for that address. Nothing is lost on the way from the one to the other.
//
//	spoke1  phase 3   to spoke2 directly, when it is told so
//	spoke2  phase 1   by the hub
//	spoke3  phase 2   10.10.1.0/24 by 10.0.0.11
func TestThreePhasesInOneCloud(t *testing.T) { modes(t, threePhasesInOneCloud) }

func threePhasesInOneCloud(t *testing.T, m mode) {
	no := false
	c := m.up(t, cloud.Options{Spokes: 3, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke2" {
			s.Tunnels[0].Shortcut = &no
		}
	}})
	ctx := t.Context()
	_, err := c.Spokes[2].Run(ctx, "ip", "route", "add", cloud.Network(1).String(), "via", cloud.TunnelAddress(1).String(), "dev", cloud.Device, "onlink")
	check(t, err)
	there, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 500, 200)
	check(t, err)
	back, err := c.Hosts[1].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 500, 200)
	check(t, err)
	third, err := c.Hosts[2].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4001), 500, 200)
	check(t, err)
	leads(t, c, c.Hosts[0], cloud.Host(2), directly(4)...)
	leads(t, c, c.Hosts[2], cloud.Host(1), cloud.Gateway(3), cloud.TunnelAddress(1), cloud.Host(1))
	until(t, c, patience, func() error { return hops(t, c, 2, 1, byTheHub) })
	spotless(t, "phase 3", there.Stop())
	spotless(t, "phase 1", back.Stop())
	spotless(t, "phase 2", third.Stop())
	if n := asksOf(t, c, "spoke2"); n > 0 {
		t.Errorf("spoke2 has asked %d times", n)
	}
	if !hasShortcut(t, c, "spoke3", netip.PrefixFrom(cloud.TunnelAddress(1), 32)) {
		list, err := c.Shortcuts(ctx, "spoke3")
		t.Error(fmt.Sprint("spoke3 has shortcuts ", list), err)
	}
}
