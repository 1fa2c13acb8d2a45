// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestRegionsReachEachOtherDirectly: hub2 and hub3 are the hubs of a region each, and clients of hub.
//
//	        hub
//	     ╱       ╲
//	 hub2         hub3
//	  │             │
//	spoke1 ═══════ spoke2
func TestRegionsReachEachOtherDirectly(t *testing.T) { modes(t, regionsReachEachOtherDirectly) }

func regionsReachEachOtherDirectly(t *testing.T, m mode) {
	yes, no := true, false
	both := []int{4, 6}
	region := func(n int) (prefixes []string) {
		for _, version := range both {
			prefixes = append(prefixes, cloud.NetworkOf(version, 0).String(), cloud.NetworkOf(version, n).String())
		}
		return prefixes
	}
	c := m.build(t, cloud.Options{Spokes: 2, MoreHubs: 2, Inside: both, Settings: func(node string, s *cloud.Settings) {
		tunnel := &s.Tunnels[0]
		switch node {
		case "hub2":
			tunnel.NHS = []cloud.NHS{cloud.ServedBy(1, region(2)...)}
			tunnel.Redirect, tunnel.Shortcut = &yes, &no
		case "hub3":
			tunnel.NHS = []cloud.NHS{cloud.ServedBy(1, region(1)...)}
			tunnel.Redirect, tunnel.Shortcut = &yes, &no
		case "spoke1":
			tunnel.NHS = []cloud.NHS{cloud.ServedBy(2, "10.10.0.0/16", "fd10::/16")}
		case "spoke2":
			tunnel.NHS = []cloud.NHS{cloud.ServedBy(3, "10.10.0.0/16", "fd10::/16")}
		}
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	for _, node := range []string{"hub2", "hub3", "spoke1", "spoke2"} {
		until(t, c, patience, func() error { return serversOf(t, c, node, control.NHSUp, control.NHSUp) })
	}
	for region := 1; region <= 2; region++ {
		by := map[int]netip.Addr{4: cloud.TunnelOfHub(1 + region), 6: cloud.TunnelOfHub6(1 + region)}
		for _, version := range both {
			for _, p := range []string{cloud.NetworkOf(version, region).String(), cloud.TunnelOf(version, region).String()} {
				_, err := c.Hub.Run(ctx, "ip", fmt.Sprint("-", version), "route", "add", p, "via", by[version].String(), "dev", cloud.Device, "onlink")
				check(t, err)
			}
		}
	}
	for _, version := range both {
		there := cloud.NetworkOf(version, 2)
		stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.HostOf(version, 2), 4000), 1000, 200)
		check(t, err)
		until(t, c, patience, func() error { return c.Direct(ctx, "spoke1", there) })
		until(t, c, patience, func() error { return inState(c, t, "spoke1", there, control.ShortcutInUse, "") })
		leads(t, c, c.Hosts[0], cloud.HostOf(version, 2), directly(version)...)
		check(t, stream.Run(ctx, time.Second))
		spotless(t, fmt.Sprintf("while the way of IPv%d changed", version), stream.Stop())
	}
	for _, hub := range []string{"hub", "hub2", "hub3"} {
		if list, err := c.Shortcuts(ctx, hub); err != nil || len(list) > 0 {
			t.Errorf("%s has shortcuts: %v, %v", hub, list, err)
		}
	}
}

// knowsAll waits until a hub has the routes of all spokes. A server is up when it has answered for a spoke's own
// address, and the LAN comes after that: until the hub has heard of it, packets to it follow the
// hub's default route, unless a guard is configured. No version of IP: 4.
func knowsAll(t *testing.T, c *cloud.Cloud, hub int, versions ...int) {
	t.Helper()
	if len(versions) == 0 {
		versions = []int{4}
	}
	for n := range c.Spokes {
		for _, v := range versions {
			until(t, c, patience, func() error { return c.Routed(cloud.HubName(hub), cloud.NetworkOf(v, n+1)) })
		}
	}
}

// TestOneConnectionOfACluster: the second hub waits, takes over when the first one dies, and gives back
// after the fallback time.
//
//	hub ✂    hub2 (waits)
//	   ╲     ╱
//	    spoke1, spoke2
func TestOneConnectionOfACluster(t *testing.T) {
	modes(t, func(t *testing.T, m mode) {
		const fallback = 5 * time.Second
		no := false
		c := m.build(t, cloud.Options{Spokes: 2, MoreHubs: 1, Settings: func(node string, s *cloud.Settings) {
			if len(s.Tunnels[0].NHS) > 0 {
				s.Tunnels[0].Shortcut = &no
				s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, "max-connections = 1", fmt.Sprintf("fallback = %q", fallback), `probe-idle = "1s"`)
			}
			if i := s.Tunnels[0].IPsec; i != nil {
				i.DPD = 2 * time.Second // the hub returns without memory
			}
		}})
		ctx := t.Context()
		check(t, c.StartAll(ctx))
		all := func(hub int, states ...string) {
			t.Helper()
			for _, s := range c.Spokes {
				until(t, c, 2*time.Minute, func() error { return serversOf(t, c, s.Name, states...) })
				until(t, c, patience, func() error { return routedBy(c, s.Name, hub) })
			}
			knowsAll(t, c, hub)
		}
		all(1, control.NHSUp, control.NHSWaiting)
		out, err := c.Dmvpn(ctx, "spoke1", "nhs")
		check(t, err)
		second := regexp.MustCompile(`(?m)^dmvpn0 .* 1 +1 +waiting `) // its priority, and the most of its cluster
		if strings.Contains(out, "CLUSTER") || !second.MatchString(out) {
			t.Errorf("the second hub does not wait with priority 1, one of a cluster at most, where none has a number:\n%s", out)
		}
		reach := func() error {
			_, err := c.Hosts[0].Ping(cloud.Host(2), 0, 200*time.Millisecond)
			return err
		}
		until(t, c, patience, reach)
		check(t, c.Kill(ctx, "hub"))
		_, err = c.Dmvpn(ctx, "hub", "teardown")
		check(t, err)
		for _, s := range c.Spokes {
			until(t, c, patience, func() error { return routedBy(c, s.Name, 2) })
		}
		knowsAll(t, c, 2)
		until(t, c, patience, reach)
		check(t, c.Start("hub"))
		check(t, c.Ready(ctx, "hub"))
		back := time.Now()
		all(1, control.NHSUp, control.NHSWaiting)
		if d := time.Since(back); d < fallback {
			t.Errorf("the first hub is used again after %v", d)
		}
		until(t, c, patience, reach)
	})
}

// TestTwoCloudsAreTwo: each tunnel has a key and a hub of its own, on one underlay address of the
// spokes. The hub of the one dies; the other does not notice.
//
//	hub, key 42 ✂     hub2, key 43
//	  ╲   dmvpn0        dmvpn1   ╱
//	    spoke1           spoke2
func TestTwoCloudsAreTwo(t *testing.T) {
	modes(t, func(t *testing.T, m mode) {
		c := m.build(t, cloud.Options{Spokes: 2, MoreHubs: 1, Settings: func(node string, s *cloud.Settings) {
			second := s.Tunnels[0]
			second.Name, second.Key, second.Networks = "dmvpn1", 43, nil
			address := netip.MustParsePrefix(second.Address).Addr().As4()
			address[1] = 1
			second.Address = netip.PrefixFrom(netip.AddrFrom4(address), 24).String()
			switch node {
			case "hub":
			case "hub2":
				second.Name = cloud.Device
				s.Tunnels[0] = second
			default:
				s.Tunnels[0].NHS = s.Tunnels[0].NHS[:1]
				second.NHS = []cloud.NHS{cloud.ServedBy(2)}
				s.Tunnels = append(s.Tunnels, second)
			}
		}})
		ctx := t.Context()
		check(t, c.StartAll(ctx))
		knowsAll(t, c, 1)
		other := netip.AddrFrom4([4]byte{10, 1, 0, 12})
		until(t, c, patience, func() error {
			_, err := c.Spokes[0].Ping(other, 0, 200*time.Millisecond)
			return err
		})
		until(t, c, patience, func() error {
			_, err := c.Hosts[0].Ping(cloud.Host(2), 0, 200*time.Millisecond)
			return err
		})
		stream, err := c.Spokes[0].Stream(c.Spokes[1], netip.AddrPortFrom(other, 4000), 1000, 200)
		check(t, err)
		check(t, c.Kill(ctx, "hub"))
		_, err = c.Dmvpn(ctx, "hub", "teardown")
		check(t, err)
		check(t, stream.Run(ctx, 3*time.Second))
		check(t, c.Start("hub"))
		check(t, c.Ready(ctx, "hub"))
		check(t, stream.Run(ctx, time.Second))
		spotless(t, "the other cloud", stream.Stop())
		for _, hub := range []struct {
			name string
			in   netip.Prefix
		}{{"hub", netip.MustParsePrefix("10.0.0.0/24")}, {"hub2", netip.MustParsePrefix("10.1.0.0/24")}} {
			for _, peer := range c.PeerNames(ctx, hub.name) {
				var id int
				var nbma, protocol string
				if _, err := fmt.Sscan(peer, &id, &nbma, &protocol); err != nil {
					t.Errorf("%s: %q: %v", hub.name, peer, err)
				} else if a, err := netip.ParseAddr(protocol); err == nil && !hub.in.Contains(a) {
					t.Errorf("%s has a peer of the other cloud: %s", hub.name, peer)
				}
			}
		}
	})
}
