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

// longestSilence is how long packets may be lost when a path dies under traffic: by the rules
// 0.65 s where they go one way, 0.85 s where they go both ways.
const longestSilence = time.Second

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

// A death is what became of streams whose path died once, and of one beside them whose path did not.
type death struct {
	died  []lab.Report
	whole lab.Report
}

// diesOnce checks that who sends by a path that dies loses longestSilence at most, all in one piece. It is
// tried again, in another cloud, only where the machine let what did not die wait as well.
func diesOnce(t *testing.T, test func(t *testing.T) death) {
	t.Helper()
	const (
		tries = 4
		busy  = 50 * time.Millisecond // of 1000 packets a second
	)
	for try := range tries {
		again := false
		t.Run(fmt.Sprint("try ", try+1), func(t *testing.T) {
			d := test(t)
			spotless(t, "where nothing died", d.whole)
			for _, r := range d.died {
				t.Log(r)
				if pieces := r.LastLost - r.FirstLost + 1; r.Lost() == 0 || pieces != r.Lost() || r.Duplicated > 0 || r.Refused > 0 {
					t.Errorf("it dies once: %v; the last lost is number %d", r, r.LastLost)
				}
				switch late := r.Gap > longestSilence || r.Lost() > uint64(longestSilence.Milliseconds()); {
				case late && d.whole.Gap < busy:
					t.Errorf("silence of more than %v: %v", longestSilence, r)
				case late:
					t.Logf("silence of more than %v on a busy machine, what did not die waited for %v: once more", longestSilence, d.whole.Gap)
					again = true
				}
			}
		})
		if !again || t.Failed() {
			return
		}
	}
	t.Errorf("the machine was too busy %d times", tries)
}

// TestADeadPathIsLeft: the direct path dies under traffic; packets go by the hub within a second, and
// directly again when it carries again, of which none is lost.
//
//	host1 → spoke1 ══ ✂ ══ spoke2 → host2
//	           ╚═══ hub ═══╝
func TestADeadPathIsLeft(t *testing.T) {
	for _, bothWays := range []bool{false, true} {
		t.Run(map[bool]string{false: "one way", true: "both ways"}[bothWays], func(t *testing.T) {
			t.Parallel()
			modesAlone(t, func(t *testing.T, m mode) {
				diesOnce(t, func(t *testing.T) death { return aDeadPathIsLeft(t, m, bothWays) })
			})
		})
	}
}

func aDeadPathIsLeft(t *testing.T, m mode, bothWays bool) (d death) {
	var cut atomic.Bool
	c := m.up(t, cloud.Options{Spokes: 2, Wire: func(node string, w *lab.Wire) {
		if node == "spoke1" {
			w.Lose = cutTo(&cut, cloud.NBMA(2))
		}
	}})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	until(t, c, patience, func() error { return inState(c, t, "spoke2", cloud.Network(1), control.ShortcutInUse, "") })
	stream := func(from, to *lab.Node, n int, port uint16) *lab.Stream {
		t.Helper()
		s, err := from.Stream(to, netip.AddrPortFrom(cloud.Host(n), port), 1000, 200)
		check(t, err)
		return s
	}
	whole := stream(c.HubHost, c.Hosts[1], 2, 4001)
	dying := []*lab.Stream{stream(c.Hosts[0], c.Hosts[1], 2, 4000)}
	if bothWays {
		dying = append(dying, stream(c.Hosts[1], c.Hosts[0], 1, 4000))
	}
	check(t, whole.Run(ctx, time.Second))
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
	check(t, c.Direct(ctx, "spoke1", cloud.Network(2)))
	check(t, whole.Run(ctx, time.Second))
	for _, s := range dying {
		d.died = append(d.died, s.Stop())
	}
	d.whole = whole.Stop()
	return d
}

// TestADeadHubIsLeft: spoke3 is a second hub. The first one's wire is cut, and is whole again.
//
//	host1 → spoke1 ══ ✂ hub ═══ spoke2 → host2
//	           ╚═══ spoke3 ═══╝
func TestADeadHubIsLeft(t *testing.T) {
	modesAlone(t, func(t *testing.T, m mode) {
		diesOnce(t, func(t *testing.T) death { return aDeadHubIsLeft(t, m) })
	})
}

func aDeadHubIsLeft(t *testing.T, m mode) death {
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
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	for _, node := range []string{"spoke1", "spoke2"} {
		until(t, c, patience, func() error { return serversOf(t, c, node, control.NHSUp, control.NHSUp) })
	}
	ping(t, c.Hosts[0], 2)
	until(t, c, patience, func() error { return c.Routed("spoke3", cloud.Network(2)) })
	whole, err := c.Hosts[2].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4001), 1000, 200)
	check(t, err)
	stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 200)
	check(t, err)
	check(t, stream.Run(ctx, time.Second))
	cut.Store(true)
	until(t, c, patience, func() error { return serversOf(t, c, "spoke1", control.NHSRegistering, control.NHSUp) })
	until(t, c, patience, func() error { // the answers find their way, too
		_, err := c.Hosts[0].Ping(cloud.Host(2), 0, 200*time.Millisecond)
		return err
	})
	cut.Store(false)
	until(t, c, 2*time.Minute, func() error { return serversOf(t, c, "spoke1", control.NHSUp, control.NHSUp) })
	until(t, c, 2*time.Minute, func() error { return serversOf(t, c, "spoke2", control.NHSUp, control.NHSUp) })
	check(t, stream.Run(ctx, time.Second))
	return death{[]lab.Report{stream.Stop()}, whole.Stop()}
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
