// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestASummaryAndAServerOnly: spoke2's site is more than its LAN, and it answers with all of
// it; spoke3 asks for nothing.
//
//	spoke2  10.20.0.0/16, of which 10.20.1.1 and 10.20.2.1 are here
//	        fd20::/32, of which fd20:0:1::1 and fd20:0:2::1 are here
//	spoke3  server-only
func TestASummaryAndAServerOnly(t *testing.T) { modes(t, aSummaryAndAServerOnly) }

func aSummaryAndAServerOnly(t *testing.T, m mode) {
	both := []int{4, 6}
	sites := map[int]string{4: "10.20.0.0/16", 6: "fd20::/32"}
	at := func(version int, n byte) netip.Addr {
		if version == 4 {
			return netip.AddrFrom4([4]byte{10, 20, n, 1})
		}
		return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x20, 5: n, 15: 1})
	}
	c := m.build(t, cloud.Options{Spokes: 3, Inside: both, Settings: func(node string, s *cloud.Settings) {
		u := &s.Tunnels[0]
		switch node {
		case "hub":
			return
		case "spoke2":
			u.Networks = append(u.Networks, sites[4], sites[6])
			u.Keys = []string{fmt.Sprintf("summary-map = [%q, %q]", sites[4], sites[6])}
		case "spoke3":
			u.Keys = []string{"server-only = true"}
		}
		if node != "spoke2" {
			u.NHS[0].Routes = append(u.NHS[0].Routes, sites[4], sites[6])
		}
	}})
	ctx := t.Context()
	for n := range byte(2) {
		check(t, c.Spokes[1].AddAddress(cloud.LAN, at(4, n+1).String()+"/24"))
		check(t, c.Spokes[1].AddAddress(cloud.LAN, at(6, n+1).String()+"/64"))
	}
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	for _, site := range sites {
		until(t, c, patience, func() error { return c.Routed("hub", netip.MustParsePrefix(site)) })
	}
	prefixes := func(node string) (list []netip.Prefix, err error) {
		shortcuts, err := c.Shortcuts(ctx, node)
		for _, s := range shortcuts {
			list = append(list, s.Prefix)
		}
		return list, err
	}
	reach := func(host int, to netip.Addr) func() error {
		return func() error {
			_, err := c.Hosts[host-1].Ping(to, 0, time.Second)
			return err
		}
	}
	shortened := func(version int, want string) func() error {
		return func() error {
			if err := reach(1, at(version, 1))(); err != nil {
				return err
			}
			got, err := prefixes("spoke1")
			if err == nil && !slices.Contains(got, netip.MustParsePrefix(want)) {
				err = fmt.Errorf("spoke1 has shortcuts to %v, not to %s", got, want)
			}
			return err
		}
	}
	for v, site := range sites {
		until(t, c, patience, shortened(v, site))
		until(t, c, patience, func() error { return c.Direct(ctx, "spoke1", netip.MustParsePrefix(site)) })
	}
	asked := asksOf(t, c, "spoke1")
	for range 5 {
		for _, v := range both {
			until(t, c, patience, reach(1, at(v, 2)))
		}
	}
	if n := asksOf(t, c, "spoke1"); n != asked {
		t.Errorf("another address of the site was asked for %d times", n-asked)
	}

	// A part of the site moves: spoke1 is told, and has no more than what is around 10.20.1.1 then.
	check(t, c.Spokes[1].AddRoute(cloud.HubTunnel().String(), "10.20.9.0/24"))
	check(t, c.Spokes[1].AddRoute(cloud.TunnelOf(6, 0).String(), "fd20:0:9::/64"))
	for v, left := range map[int]string{4: "10.20.0.0/23", 6: "fd20::/47"} {
		until(t, c, 40*time.Second, shortened(v, left))
		if got, err := prefixes("spoke1"); err != nil || slices.Contains(got, netip.MustParsePrefix(sites[v])) {
			t.Errorf("spoke1 has shortcuts to %v, %v", got, err)
		}
	}

	// spoke3 sends by the hub whatever the hub says, and is reached directly.
	for _, v := range both {
		for range 10 {
			until(t, c, patience, reach(3, cloud.HostOf(v, 1)))
		}
		until(t, c, patience, func() error { return c.Direct(ctx, "spoke1", cloud.NetworkOf(v, 3)) })
	}
	if n := asksOf(t, c, "spoke3"); n != 0 {
		t.Errorf("spoke3 has asked %d times", n)
	}
	if got, err := prefixes("spoke3"); err != nil || len(got) > 0 {
		t.Errorf("spoke3 has shortcuts to %v, %v", got, err)
	}
}

// asksOf is how many Resolution Requests a node has sent.
func asksOf(t *testing.T, c *cloud.Cloud, node string) uint64 {
	t.Helper()
	var s control.Stats
	check(t, c.Ask(t.Context(), node, func(ctx context.Context, client *control.Client) (err error) {
		s, err = client.Stats(ctx)
		return err
	}))
	return s.Tunnels[0].NHRP["resolution-request-sent"]
}
