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

// routedBy is nil when a spoke's packets to what it has no shortcut to go by a hub.
func routedBy(c *cloud.Cloud, node string, hub int) error {
	routes, err := c.Routes(node)
	if err != nil {
		return err
	}
	all := netip.MustParsePrefix("10.10.0.0/16")
	if !slices.ContainsFunc(routes, func(r cloud.Route) bool { return r.Prefix == all && r.NextHop == cloud.TunnelOfHub(hub) }) {
		return fmt.Errorf("%s: %v does not go by %s: %v", node, all, cloud.HubName(hub), routes)
	}
	return nil
}

// TestAHubOfTwoFails: by a crash of its daemon, and with its machine. What goes by it is silent
// for a second at most, shortcuts do not notice, and its return costs nobody a packet.
//
//	       hub ✂   hub2
//	        ╱ ╲    ╱ ╲
//	spoke1 ══ spoke2   spoke3, which makes no shortcuts
func TestAHubOfTwoFails(t *testing.T) {
	modesAlone(t, func(t *testing.T, m mode) {
		var cut atomic.Bool
		no := false
		c := m.up(t, cloud.Options{Spokes: 3, MoreHubs: 1,
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
				until(t, c, patience, func() error { return routedBy(c, s.Name, hub) })
			}
		}
		all(1, control.NHSUp, control.NHSUp)
		knowsAll(t, c, 1)
		knowsAll(t, c, 2)
		until(t, c, patience, func() error { // encrypted, the first packets wait for their SA
			_, err := c.Hosts[0].Ping(cloud.Host(2), 0, time.Second)
			return err
		})
		until(t, c, patience, func() error { return c.Direct(ctx, "spoke1", cloud.Network(2)) })
		until(t, c, patience, func() error { return c.Direct(ctx, "spoke2", cloud.Network(1)) })
		until(t, c, patience, func() error { return inState(c, t, "spoke1", cloud.Network(2), control.ShortcutInUse, "") })
		until(t, c, patience, func() error {
			_, err := c.Hosts[2].Ping(cloud.Host(1), 0, time.Second)
			return err
		})
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
			direct, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), port), 1000, 200)
			check(t, err)
			byHub, err := c.Hosts[2].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), port+1), 1000, 200)
			check(t, err)
			check(t, byHub.Run(ctx, time.Second))
			failure.fail()
			for _, s := range c.Spokes {
				until(t, c, patience, func() error { return routedBy(c, s.Name, 2) })
			}
			until(t, c, patience, func() error {
				_, err := c.Hosts[2].Ping(cloud.Host(1), 0, 200*time.Millisecond)
				return err
			})
			check(t, byHub.Run(ctx, time.Second))
			r := byHub.Stop()
			t.Logf("%s: by the hub: %v", failure.name, r)
			if r.Gap > time.Second || r.Lost() > 1000 || r.Duplicated > 0 || r.Received == 0 {
				t.Errorf("%s: by the hub: %v", failure.name, r)
			}
			spotless(t, failure.name+": the shortcut", direct.Stop())

			direct, err = c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), port), 1000, 200)
			check(t, err)
			byHub, err = c.Hosts[2].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), port+1), 1000, 200)
			check(t, err)
			failure.back()
			all(1, control.NHSUp, control.NHSUp)
			check(t, byHub.Run(ctx, time.Second))
			spotless(t, failure.name+", and it returns: by the hub", byHub.Stop())
			spotless(t, failure.name+", and it returns: the shortcut", direct.Stop())
		}
	})
}
