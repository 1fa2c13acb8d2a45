// SPDX-License-Identifier: Apache-2.0

package e2e

import (
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

// longestSilence is how long packets may be lost when a path dies under traffic: 0.85 s by
// the rules, and what a busy machine adds.
const longestSilence = 1500 * time.Millisecond

// cutTo loses what goes between a wire's node and an underlay address while it is set.
func cutTo(cut *atomic.Bool, a netip.Addr) func(frame []byte) bool {
	return func(frame []byte) bool {
		const source, destination = 14 + 12, 14 + 16
		return cut.Load() && len(frame) >= destination+4 &&
			(netip.AddrFrom4([4]byte(frame[source:])) == a || netip.AddrFrom4([4]byte(frame[destination:])) == a)
	}
}

// inState is nil when a node's shortcut to a prefix is in a state, with a reason.
func inState(c *cloud.Cloud, t *testing.T, node string, prefix netip.Prefix, state, reason string) error {
	list, err := c.Shortcuts(t.Context(), node)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(s control.Shortcut) bool { return s.Prefix == prefix })
	if i < 0 || list[i].State != state || list[i].Reason != reason {
		return fmt.Errorf("%s: no shortcut to %v that is %s %s: %+v", node, prefix, state, reason, list)
	}
	return nil
}

// survived checks a stream whose path died once, beside one whose path did not: a busy machine lets
// both wait.
func survived(t *testing.T, r, whole lab.Report) {
	t.Helper()
	spotless(t, "where nothing died", whole)
	t.Log(r)
	most := longestSilence + whole.Gap
	if r.Lost() == 0 || r.Gap > most || r.Lost() > uint64(most.Milliseconds()) || r.Duplicated > 0 {
		t.Errorf("1000 a second: %v", r)
	}
}

// TestADeadPathIsLeft: the direct path dies under one-way traffic; packets go by the hub, and
// directly again when it carries again, of which none is lost.
//
//	host1 → spoke1 ══ ✂ ══ spoke2 → host2
//	           ╚═══ hub ═══╝
func TestADeadPathIsLeft(t *testing.T) {
	modesAlone(t, func(t *testing.T, m mode) {
		var cut atomic.Bool
		c := m.build(t, cloud.Options{Spokes: 2, Wire: func(node string, w *lab.Wire) {
			if node == "spoke1" {
				w.Lose = cutTo(&cut, cloud.NBMA(2))
			}
		}})
		check(t, c.StartAll(t.Context()))
		until(t, c, patience, func() error { return c.AllRegistered(t.Context()) })
		shortcut(t, c, 1, 2)
		whole, err := c.HubHost.Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4001), 1000, 200)
		check(t, err)
		stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 200)
		check(t, err)
		time.Sleep(time.Second)
		cut.Store(true)
		until(t, c, patience, func() error {
			return inState(c, t, "spoke1", cloud.Network(2), control.ShortcutByHub, "no answer to probes")
		})
		if err := c.Routed("spoke1", cloud.Network(2)); err == nil {
			t.Error("the shortcut's route still stands")
		}
		until(t, c, patience, func() error { // the answers find their way, too
			_, err := c.Hosts[0].Ping(cloud.Host(2), 0, 200*time.Millisecond)
			return err
		})
		cut.Store(false)
		until(t, c, patience, func() error {
			return inState(c, t, "spoke1", cloud.Network(2), control.ShortcutInUse, "")
		})
		check(t, c.Direct(t.Context(), "spoke1", cloud.Network(2)))
		time.Sleep(time.Second)
		survived(t, stream.Stop(), whole.Stop())
	})
}

// TestADeadHubIsLeft: spoke3 is a second hub. The first one's wire is cut, and is whole again.
//
//	host1 → spoke1 ══ ✂ hub ═══ spoke2 → host2
//	           ╚═══ spoke3 ═══╝
func TestADeadHubIsLeft(t *testing.T) {
	modesAlone(t, func(t *testing.T, m mode) {
		no, yes := false, true
		var cut atomic.Bool
		c := m.build(t, cloud.Options{Spokes: 3, Wire: func(node string, w *lab.Wire) {
			if node == "hub" {
				w.Lose = func([]byte) bool { return cut.Load() }
			}
		}, Settings: func(node string, s *cloud.Settings) {
			tunnel := &s.Tunnels[0]
			switch node {
			case "spoke3":
				tunnel.NHS, tunnel.Redirect = nil, &yes
			case "spoke1", "spoke2":
				tunnel.Shortcut = &no
				tunnel.Keys = append(tunnel.Keys, `fallback = "2s"`)
				tunnel.Lines = append(tunnel.Lines, "[[tunnel."+tunnel.Name+".nhs]]", fmt.Sprintf("nbma = %q", cloud.NBMA(3)),
					fmt.Sprintf("protocol = %q", cloud.TunnelAddress(3)), `routes = ["10.10.0.0/16"]`, "priority = 1")
			}
		}})
		check(t, c.StartAll(t.Context()))
		for _, node := range []string{"spoke1", "spoke2"} {
			until(t, c, patience, func() error { return serversOf(t, c, node, control.NHSUp, control.NHSUp) })
		}
		ping(t, c.Hosts[0], 2)
		until(t, c, patience, func() error { return c.Routed("spoke3", cloud.Network(2)) })
		whole, err := c.Hosts[2].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4001), 1000, 200)
		check(t, err)
		stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 200)
		check(t, err)
		time.Sleep(time.Second)
		cut.Store(true)
		until(t, c, patience, func() error { return serversOf(t, c, "spoke1", control.NHSRegistering, control.NHSUp) })
		until(t, c, patience, func() error { // the answers find their way, too
			_, err := c.Hosts[0].Ping(cloud.Host(2), 0, 200*time.Millisecond)
			return err
		})
		cut.Store(false)
		until(t, c, 2*time.Minute, func() error { return serversOf(t, c, "spoke1", control.NHSUp, control.NHSUp) })
		until(t, c, 2*time.Minute, func() error { return serversOf(t, c, "spoke2", control.NHSUp, control.NHSUp) })
		time.Sleep(time.Second)
		survived(t, stream.Stop(), whole.Stop())
	})
}

// TestAShortcutFollowsItsSA: the SA between the spokes is deleted; packets go by the hub, and
// directly when there is another one.
func TestAShortcutFollowsItsSA(t *testing.T) { // alone: it is about how long things take
	c := guarded(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 200)
	check(t, err)
	for range 5 {
		_, err := c.Dmvpn(ctx, "spoke1", "ike", "terminate", "spoke2.example.net")
		check(t, err)
		time.Sleep(100 * time.Millisecond)
		until(t, c, patience, func() error {
			return inState(c, t, "spoke1", cloud.Network(2), control.ShortcutInUse, "")
		})
	}
	time.Sleep(time.Second)
	r := stream.Stop()
	t.Log(r)
	// What is sent between the peer's deletion of an SA and ours is lost.
	if r.Lost() > 5*50 || r.Gap > 500*time.Millisecond || r.Duplicated > 0 {
		t.Errorf("while 5 SAs were deleted: %v", r)
	}
}
