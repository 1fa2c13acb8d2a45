// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
)

// probedTwice is a Cloud with a second hub, H2, that has the lower priority.
func probedTwice(seed uint64, reimport bool) (*nhrptest.Cloud, *nhrptest.Node) {
	second := engine.NHS{NBMA: "192.0.2.2", Protocol: addr("10.0.0.2"), Priority: 1, Routes: []netip.Prefix{prefix("10.10.0.0/16")}}
	var other engine.Config
	c := probed(seed, reimport, func(hub, s1, s2 *engine.Config) {
		s1.Shortcut, s2.Shortcut = false, false
		s1.NHS, s2.NHS = append(s1.NHS, second), append(s2.NHS, second)
		other = *hub
	})
	other.Address = prefix("10.0.0.2/24")
	h2 := c.Add("H2", "192.0.2.2", other)
	c.Run(5 * time.Second)
	return c, h2
}

func TestServersThatDie(t *testing.T) {
	scenario(t, "HU-01: two: the other one within a second, and back", func(t *testing.T, reimport bool) *nhrptest.World {
		c, _ := probedTwice(1, reimport)
		c.Stream(2*time.Second, 10*time.Millisecond, 100)
		paths(t, c, "S1 H S2", "S2 H S1")
		c.Cut = func(a, b netip.Addr) bool { return a == c.H.NBMA || b == c.H.NBMA }
		lost, last := oneWay(c, 5*time.Second)
		if len(lost) == 0 || last > time.Second {
			t.Errorf("%d lost, the last one after %v", len(lost), last)
		}
		x := c.S1.Send("10.10.1.5", "10.10.2.5", 100)
		want(t, "by H2", x.String(), "S1 H2 S2")
		want(t, "reason", c.S1.Machine.Snapshot(c.Now).Servers[0].Reason, "no answer to probes")
		whole(c)
		lost, _ = oneWay(c, 70*time.Second)
		want(t, "lost when it is back", len(lost), 0)
		paths(t, c, "S1 H S2", "S2 H S1")
		return c.World
	})
	scenario(t, "one: it is reported, kept, and found again", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(2, reimport, func(hub, s1, s2 *engine.Config) { s1.Shortcut, s2.Shortcut = false, false })
		c.Stream(2*time.Second, 10*time.Millisecond, 100)
		state := c.H.Kill()
		lost, _ := oneWay(c, 2*time.Second)
		want(t, "lost: its data plane goes on", len(lost), 0)
		s := c.S1.Machine.Snapshot(c.Now).Servers[0]
		want(t, "state", s.State, engine.Renewing)
		want(t, "path", s.Path, engine.PathLost)
		want(t, "reason", s.Reason, "no answer to probes")
		want(t, "by the hub", c.S1.Installed[prefix("10.10.0.0/16")], addr(hubProtocol))
		c.H.Start(state)
		lost, _ = oneWay(c, 10*time.Second)
		want(t, "lost", len(lost), 0)
		s = c.S1.Machine.Snapshot(c.Now).Servers[0]
		want(t, "state", s.State, engine.Up)
		want(t, "path", s.Path, engine.PathDirect)
		want(t, "reason", s.Reason, "")
		return c.World
	})
	scenario(t, "both, one after the other: the last one that was there stays until the first is back", func(t *testing.T, reimport bool) *nhrptest.World {
		c, h2 := probedTwice(3, reimport)
		hub := c.H.Kill()
		oneWay(c, 2*time.Second)
		second := h2.Kill()
		lost, _ := oneWay(c, 5*time.Second)
		want(t, "lost: the data plane goes on", len(lost), 0)
		x := c.S1.Send("10.10.1.5", "10.10.2.5", 100)
		want(t, "by H2", x.String(), "S1 H2 S2")
		c.H.Start(hub)
		lost, _ = oneWay(c, 70*time.Second)
		want(t, "lost when H is back", len(lost), 0)
		paths(t, c, "S1 H S2", "S2 H S1")
		h2.Start(second)
		lost, _ = oneWay(c, 70*time.Second)
		want(t, "lost when H2 is back", len(lost), 0)
		return c.World
	})
}

// On a protected tunnel.
func TestPathsFollowTheirSAs(t *testing.T) {
	scenario(t, "tried when there is an SA, given up with it", func(t *testing.T, reimport bool) *nhrptest.World {
		c := probed(1, reimport, nil)
		sa := true
		c.S1.Secured = func(e engine.Endpoint) bool { return sa || e.NBMA != c.S2.NBMA }
		c.S1.Kill()
		sa = false
		c.S1.Start(nil)
		c.Run(3 * time.Second)
		want(t, "lost without an SA", len(c.Stream(5*time.Second, 10*time.Millisecond, 100)), 0)
		x, _ := c.Ping(100)
		want(t, "without an SA", x.String(), "S1 H S2")
		s := shortcutOf(t, c, c.S1)
		want(t, "path", s.Path, engine.PathUnsecured)
		want(t, "reason", s.Reason, "no IPsec SA")
		want(t, "probes", len(c.Traced("S1 ", "sends", "Probe Request", "10.0.0.12")), 0)
		s2 := engine.Endpoint{NBMA: c.S2.NBMA}
		want(t, "accepted before", c.S1.Accepted[s2], true)
		for range 3 {
			sa = true
			c.S1.Input(engine.Secured{To: s2})
			want(t, "lost with an SA", len(c.Stream(time.Second, 10*time.Millisecond, 100)), 0)
			x, _ = c.Ping(100)
			want(t, "with an SA", x.String(), "S1 S2")
			c.S1.Input(engine.Unsecured{To: s2}) // another one is there
			x, _ = c.Ping(100)
			want(t, "with another SA", x.String(), "S1 S2")
			sa = false
			c.S1.Input(engine.Unsecured{To: s2})
			x, _ = c.Ping(100)
			want(t, "the SA is lost", x.String(), "S1 H S2")
			c.Run(time.Second)
		}
		return c.World
	})
	scenario(t, "a server without an SA: the other one at once", func(t *testing.T, reimport bool) *nhrptest.World {
		c, _ := probedTwice(2, reimport)
		lost := netip.Addr{}
		c.S1.Secured = func(e engine.Endpoint) bool { return e.NBMA != lost }
		c.S1.Start(c.S1.Kill())
		x := c.S1.Send("10.10.1.5", "10.10.2.5", 100)
		want(t, "before", x.String(), "S1 H S2")
		lost = c.H.NBMA
		c.S1.Input(engine.Unsecured{To: engine.Endpoint{NBMA: lost}})
		x = c.S1.Send("10.10.1.5", "10.10.2.5", 100)
		want(t, "by H2", x.String(), "S1 H2 S2")
		return c.World
	})
}
