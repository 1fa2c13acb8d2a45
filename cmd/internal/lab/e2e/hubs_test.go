// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// serversOf is nil when a node's servers are in these states.
func serversOf(t *testing.T, c *cloud.Cloud, node string, states ...string) error {
	var list []control.NHS
	if err := c.Ask(t.Context(), node, func(ctx context.Context, client *control.Client) (err error) {
		list, err = client.NHS(ctx)
		return err
	}); err != nil {
		return err
	}
	var have []string
	for _, n := range list {
		have = append(have, n.State)
	}
	if !slices.Equal(have, states) {
		return fmt.Errorf("%s: servers are %v, not %v: %+v", node, have, states, list)
	}
	return nil
}

// routedBy is nil when a spoke's packets to what it has no shortcut to go by a hub, of each version of IP; none: 4.
func routedBy(c *cloud.Cloud, node string, hub int, versions ...int) error {
	routes, err := c.Routes(node)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		versions = []int{4}
	}
	for _, version := range versions {
		want := cloud.Route{Prefix: netip.MustParsePrefix("10.10.0.0/16"), NextHop: cloud.TunnelOfHub(hub)}
		if version == 6 {
			want = cloud.Route{Prefix: netip.MustParsePrefix("fd10::/16"), NextHop: cloud.TunnelOfHub6(hub)}
		}
		if !slices.Contains(routes, want) {
			return fmt.Errorf("%s: %v does not go by %s: %v", node, want.Prefix, cloud.HubName(hub), routes)
		}
	}
	return nil
}

// TestAHubOfTwoFails: by a crash of its daemon, and with its machine. What goes by it is silent
// for a second at most, IPv4 and IPv6, shortcuts do not notice, and its return costs nobody a packet.
//
//	       hub ✂   hub2
//	        ╱ ╲    ╱ ╲
//	spoke1 ══ spoke2   spoke3, which makes no shortcuts
func TestAHubOfTwoFails(t *testing.T) {
	modesAlone(t, func(t *testing.T, m mode) {
		const perSecond = 500 // of each stream
		var cut atomic.Bool
		no, both := false, []int{4, 6}
		up := slices.Repeat([]string{control.NHSUp}, 2*len(both))
		c := m.up(t, cloud.Options{Spokes: 3, MoreHubs: 1, Inside: both,
			Wire: func(node string, w *lab.Wire) {
				if node == "hub" {
					w.Lose = func([]byte) bool { return cut.Load() }
				}
			},
			Settings: func(node string, s *cloud.Settings) {
				if node[:3] == "spo" {
					// Longer than what a spoke waits after a short outage before it tries again.
					s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, `fallback = "20s"`, `probe-idle = "2s"`)
				}
				if node == "spoke3" {
					s.Tunnels[0].Shortcut = &no
				}
			}})
		ctx := t.Context()
		all := func(hub int, states ...string) {
			t.Helper()
			for _, s := range c.Spokes {
				until(t, c, 2*time.Minute, func() error { return serversOf(t, c, s.Name, states...) })
				until(t, c, patience, func() error { return routedBy(c, s.Name, hub, both...) })
			}
		}
		all(1, up...)
		knowsAll(t, c, 1, both...)
		knowsAll(t, c, 2, both...)
		reach := func(from, to, version int, patience time.Duration) func() error {
			return func() error {
				_, err := c.Hosts[from-1].Ping(cloud.HostOf(version, to), 0, patience)
				return err
			}
		}
		for _, v := range both {
			until(t, c, patience, reach(1, 2, v, time.Second)) // encrypted, the first packets wait for their SA
			until(t, c, patience, func() error { return c.Direct(ctx, "spoke1", cloud.NetworkOf(v, 2)) })
			until(t, c, patience, func() error { return c.Direct(ctx, "spoke2", cloud.NetworkOf(v, 1)) })
			until(t, c, patience, func() error { return inState(c, t, "spoke1", cloud.NetworkOf(v, 2), control.ShortcutInUse, "") })
			until(t, c, patience, reach(3, 1, v, time.Second))
		}
		// By version of IP: from host1 to host2 by the shortcut, from host3 to host1 by the hub.
		type streams struct{ direct, byHub map[int]*lab.Stream }
		begin := func(port uint16) streams {
			t.Helper()
			x := streams{map[int]*lab.Stream{}, map[int]*lab.Stream{}}
			for _, v := range both {
				var err error
				x.direct[v], err = c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.HostOf(v, 2), port), perSecond, 200)
				check(t, err)
				x.byHub[v], err = c.Hosts[2].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.HostOf(v, 1), port+1), perSecond, 200)
				check(t, err)
			}
			return x
		}
		port := uint16(4000)
		for _, failure := range []struct {
			name       string
			fail, back func()
		}{
			{"the daemon is killed", func() { check(t, c.Kill(ctx, "hub")) }, func() {
				check(t, c.Start("hub"))
				check(t, c.Ready(ctx, "hub"))
			}},
			{"the machine is away", func() {
				cut.Store(true)
				check(t, c.Kill(ctx, "hub"))
			}, func() {
				_, err := c.Dmvpn(ctx, "hub", "teardown") // it comes back without memory
				check(t, err)
				check(t, c.Clean(ctx, "hub"))
				cut.Store(false)
				check(t, c.Start("hub"))
				check(t, c.Ready(ctx, "hub"))
			}},
		} {
			port += 2
			x := begin(port)
			check(t, x.byHub[4].Run(ctx, time.Second))
			failure.fail()
			for _, s := range c.Spokes {
				until(t, c, patience, func() error { return routedBy(c, s.Name, 2, both...) })
			}
			for _, v := range both {
				until(t, c, patience, reach(3, 1, v, 200*time.Millisecond))
			}
			check(t, x.byHub[4].Run(ctx, time.Second))
			for _, v := range both {
				r := x.byHub[v].Stop()
				t.Logf("%s: IPv%d by the hub: %v", failure.name, v, r)
				if r.Gap > time.Second || r.Lost() > perSecond || r.Duplicated > 0 || r.Received == 0 {
					t.Errorf("%s: IPv%d by the hub: %v", failure.name, v, r)
				}
				spotless(t, fmt.Sprintf("%s: IPv%d by the shortcut", failure.name, v), x.direct[v].Stop())
			}

			x = begin(port)
			failure.back()
			all(1, up...)
			check(t, x.byHub[4].Run(ctx, time.Second))
			for _, v := range both {
				spotless(t, fmt.Sprintf("%s, and it returns: IPv%d by the hub", failure.name, v), x.byHub[v].Stop())
				spotless(t, fmt.Sprintf("%s, and it returns: IPv%d by the shortcut", failure.name, v), x.direct[v].Stop())
			}
		}
	})
}
