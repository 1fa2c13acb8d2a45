// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
)

// probed is a Cloud whose members probe each other; change, if not nil, changes it further.
func probed(seed uint64, reimport bool, change func(hub, s1, s2 *engine.Config)) *nhrptest.Cloud {
	c := nhrptest.NewCloud(seed, reimport, func(hub, s1, s2 *engine.Config) {
		for _, x := range []*engine.Config{hub, s1, s2} {
			x.Probe, x.ProbeIdle = 200*time.Millisecond, 30*time.Second
		}
		if change != nil {
			change(hub, s1, s2)
		}
	})
	c.Run(time.Second)
	return c
}

// cut cuts the wire between two nodes.
func cut(c *nhrptest.Cloud, a, b *nhrptest.Node) {
	c.Cut = func(p, q netip.Addr) bool { return p == a.NBMA && q == b.NBMA || p == b.NBMA && q == a.NBMA }
}

func whole(c *nhrptest.Cloud) { c.Cut = func(a, b netip.Addr) bool { return false } }

// shortcutOf is the one shortcut of a node.
func shortcutOf(t *testing.T, c *nhrptest.Cloud, n *nhrptest.Node) engine.ShortcutInfo {
	t.Helper()
	s := n.Machine.Snapshot(c.Now).Shortcuts
	if len(s) != 1 {
		t.Fatalf("%s has %d shortcuts", n.Name, len(s))
	}
	return s[0]
}

// oneWay sends from S1's LAN to S2's every 10 ms for a time, and gives what did not arrive
// and when the last of it was sent.
func oneWay(c *nhrptest.Cloud, d time.Duration) (lost []nhrptest.Delivery, last time.Duration) {
	begin := c.Now
	for end := c.Now.Add(d); c.Now.Before(end); c.Run(10 * time.Millisecond) {
		if x := c.S1.Send("10.10.1.5", "10.10.2.5", 200); x.Dropped != "" {
			lost, last = append(lost, x), c.Now.Sub(begin)
		}
	}
	return lost, last
}

func TestMakeBeforeBreak(t *testing.T) {
	scenario(t, "SC-03: a shortcut is taken when a probe was answered, and nothing is lost", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(1, reimport, nil)
		lost := c.Stream(time.Second, 10*time.Millisecond, 100)
		want(t, "lost", len(lost), 0)
		paths(t, c, "S1 S2", "S2 S1")
		probe, bind := c.Traced("S2", "Probe Reply"), c.Traced("S1 ", "binds 10.0.0.12")
		if len(probe) == 0 || len(bind) != 1 || probe[0] >= bind[0] {
			t.Errorf("answered: %v, bound: %v", probe, bind)
		}
		s := shortcutOf(t, c, c.S1)
		want(t, "path", s.Path, engine.PathDirect)
		want(t, "round trip", s.RoundTrip, 20*time.Millisecond)
		return c.World
	})
	scenario(t, "a path that does not carry is not taken; tried again, it is", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(2, reimport, nil)
		cut(c, c.S1, c.S2)
		want(t, "lost while it is tried", len(c.Stream(20*time.Second, 50*time.Millisecond, 1400)), 0)
		paths(t, c, "S1 H S2", "S2 H S1")
		s := shortcutOf(t, c, c.S1)
		want(t, "path", s.Path, engine.PathLost)
		want(t, "reason", s.Reason, "no answer to probes")
		// 2.4 s for each time, with 1, 2, 4 and 8 s in between.
		if n := len(c.Traced("S1 ", "sends", "Probe Request", "10.0.0.12")); n < 3*6 || n > 5*6 {
			t.Errorf("%d probes in 20 s", n)
		}
		whole(c)
		want(t, "lost", len(c.Stream(20*time.Second, 50*time.Millisecond, 1400)), 0)
		paths(t, c, "S1 S2", "S2 S1")
		return c.World
	})
	scenario(t, "a path that carries one way alone is not taken", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(3, reimport, nil)
		c.Cut = func(from, to netip.Addr) bool { return from == c.S2.NBMA && to == c.S1.NBMA }
		want(t, "lost", len(c.Stream(10*time.Second, 50*time.Millisecond, 1400)), 0)
		paths(t, c, "S1 H S2", "S2 H S1")
		return c.World
	})
	scenario(t, "probe \"never\": at once, as with those who do not know probes", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(4, reimport, func(hub, s1, s2 *engine.Config) { s1.Probe = 0 })
		want(t, "lost", len(c.Stream(time.Second, 10*time.Millisecond, 100)), 0)
		paths(t, c, "S1 S2", "S2 S1")
		want(t, "probes", len(c.Traced("Probe Request", "S1 ")), 0)
		want(t, "path", shortcutOf(t, c, c.S1).Path, engine.PathState(""))
		want(t, "path of S2", shortcutOf(t, c, c.S2).Path, engine.PathState(""))
		return c.World
	})
}

func TestPathsThatDie(t *testing.T) {
	scenario(t, "silence under traffic: by the hub within a second, and directly again", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(1, reimport, nil)
		c.Stream(2*time.Second, 10*time.Millisecond, 1400)
		cut(c, c.S1, c.S2)
		lost := c.Stream(5*time.Second, 10*time.Millisecond, 1400)
		if n := len(lost); n == 0 || n > 2*100 {
			t.Errorf("%d packets lost of 100 a second each way", n)
		}
		paths(t, c, "S1 H S2", "S2 H S1")
		want(t, "reason", shortcutOf(t, c, c.S1).Reason, "no answer to probes")
		whole(c)
		want(t, "lost when it is back", len(c.Stream(10*time.Second, 10*time.Millisecond, 1400)), 0)
		paths(t, c, "S1 S2", "S2 S1")
		return c.World
	})
	scenario(t, "a crash right after the route came: what the state does not know is taken away, and comes again", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(5, reimport, nil)
		c.Stream(2*time.Second, 10*time.Millisecond, 1400)
		cut(c, c.S1, c.S2)
		c.Stream(5*time.Second, 10*time.Millisecond, 1400)
		state := c.S1.Machine.Export()
		whole(c)
		c.Stream(10*time.Second, 10*time.Millisecond, 1400)
		paths(t, c, "S1 S2", "S2 S1")
		c.S1.Kill()
		c.S1.Start(state)
		if hop, ok := c.S1.Installed[prefix("10.10.2.0/24")]; ok {
			t.Errorf("the route by %v is still there, and nobody knows of it", hop)
		}
		want(t, "lost", len(c.Stream(10*time.Second, 10*time.Millisecond, 1400)), 0)
		paths(t, c, "S1 S2", "S2 S1")
		return c.World
	})
	scenario(t, "one-way traffic is probed, five times a second at the most, and stays", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(2, reimport, nil)
		c.Ping(1400)
		c.Run(time.Second)
		before := len(c.Traced("S1 ", "sends", "Probe Request", "10.0.0.12"))
		lost, _ := oneWay(c, 10*time.Second)
		want(t, "lost", len(lost), 0)
		if n := len(c.Traced("S1 ", "sends", "Probe Request", "10.0.0.12")) - before; n < 40 || n > 51 {
			t.Errorf("%d probes in 10 s", n)
		}
		want(t, "path", shortcutOf(t, c, c.S1).Path, engine.PathDirect)
		return c.World
	})
	scenario(t, "a path that carries nothing is probed twice a minute", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(3, reimport, func(hub, s1, s2 *engine.Config) { s1.Idle, s2.Idle = time.Hour, time.Hour })
		c.Ping(1400)
		c.Run(time.Second)
		before := len(c.Traced("S1 ", "sends", "Probe Request"))
		c.Run(10 * time.Minute)
		if n := len(c.Traced("S1 ", "sends", "Probe Request")) - before; n < 2*19 || n > 2*21 {
			t.Errorf("%d probes to H and to S2 in 10 minutes", n)
		}
		cut(c, c.S1, c.S2)
		c.Run(33 * time.Second)
		want(t, "found dead without traffic", shortcutOf(t, c, c.S1).Path, engine.PathLost)
		return c.World
	})
	scenario(t, "a peer's daemon dies, its data plane does not: nothing is lost", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(4, reimport, nil)
		c.Ping(1400)
		c.Run(time.Second)
		state := c.S2.Kill()
		lost, _ := oneWay(c, 5*time.Second)
		want(t, "lost", len(lost), 0)
		x := c.S1.Send("10.10.1.5", "10.10.2.5", 100)
		want(t, "by the hub", x.String(), "S1 H S2")
		c.S2.Start(state)
		lost, _ = oneWay(c, 10*time.Second)
		want(t, "lost when it is back", len(lost), 0)
		want(t, "path", shortcutOf(t, c, c.S1).Path, engine.PathDirect)
		return c.World
	})
	scenario(t, "all daemons but one die: what it knows stays as it is", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(5, reimport, nil)
		c.Ping(1400)
		c.Run(time.Second)
		hub, s2 := c.H.Kill(), c.S2.Kill()
		lost, _ := oneWay(c, 30*time.Second)
		want(t, "lost", len(lost), 0)
		c.S2.Start(s2)
		c.H.Start(hub)
		lost, _ = oneWay(c, 70*time.Second)
		want(t, "lost when they are back", len(lost), 0)
		want(t, "path", shortcutOf(t, c, c.S1).Path, engine.PathDirect)
		want(t, "NHS", c.S1.Machine.Snapshot(c.Now).Servers[0].Path, engine.PathDirect)
		return c.World
	})
}

// Whatever is lost of NHRP, data is not: a shortcut is taken when it carries, else the hub.
func TestLossOfProbesLosesNoData(t *testing.T) {
	for _, loss := range []float64{0, 0.1, 0.2, 0.3, 0.4} {
		scenario(t, fmt.Sprintf("%.0f %%", 100*loss), func(t *testing.T, reimport bool) *nhrptest.World {
			c := probed(uint64(100*loss)+1, reimport, nil)
			c.Run(20 * time.Second)
			c.Wire.Loss, c.Wire.Jitter = loss, 30*time.Millisecond
			lost := c.Stream(30*time.Second, 50*time.Millisecond, 1400)
			want(t, "lost, both ways", len(lost), 0)
			one, _ := oneWay(c, 30*time.Second)
			want(t, "lost, one way", len(one), 0)
			if n := len(c.Traced("sends", "Probe Request")); n > 3*80*6 {
				t.Errorf("%d probes in 80 s", n)
			}
			c.Wire.Loss = 0
			want(t, "lost when all is well again", len(c.Stream(70*time.Second, 50*time.Millisecond, 1400)), 0)
			paths(t, c, "S1 S2", "S2 S1")
			return c.World
		})
	}
}
