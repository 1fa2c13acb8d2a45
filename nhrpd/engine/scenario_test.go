// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
)

// Every scenario runs twice: as it is, and with every machine exported and
// imported into a fresh one before each input. Both must give the same packets
// and the same data planes at the same times.
func scenario(t *testing.T, name string, run func(t *testing.T, reimport bool) *nhrptest.World) {
	t.Run(name, func(t *testing.T) {
		plain := run(t, false)
		if t.Failed() {
			dump(t, plain)
			return
		}
		again := run(t, true)
		for i := range max(len(plain.Trace), len(again.Trace)) {
			a, b := line(plain.Trace, i), line(again.Trace, i)
			if a != b {
				t.Fatalf("line %d of the trace\nwithout export: %s\nwith export:    %s", i, a, b)
			}
		}
	})
}

func line(trace []string, i int) string {
	if i < len(trace) {
		return trace[i]
	}
	return "(nothing)"
}

func dump(t *testing.T, w *nhrptest.World) {
	t.Helper()
	t.Logf("trace:\n%s", strings.Join(w.Trace, "\n"))
	for _, n := range w.Nodes {
		t.Logf("%s reports:\n%s", n.Name, strings.Join(n.Reports, "\n"))
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// paths checks the way of a packet from S1's LAN to S2's and back.
func paths(t *testing.T, c *nhrptest.Cloud, there, back string) {
	t.Helper()
	x, y := c.Ping(100)
	want(t, "S1 to S2", x.String(), there)
	want(t, "S2 to S1", y.String(), back)
}

func TestPhase3(t *testing.T) {
	scenario(t, "first by the hub, then directly", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(1, reimport, nil)
		c.Run(time.Second)
		want(t, "hub binds S1", c.H.Bound[addr("10.0.0.11")].NBMA, addr("198.51.100.11"))
		want(t, "hub routes S1's LAN", c.H.Installed[prefix("10.10.1.0/24")], addr("10.0.0.11"))
		want(t, "spoke routes by the hub", c.S1.Installed[prefix("10.10.0.0/16")], addr("10.0.0.1"))
		want(t, "fallback", c.S1.Fallback, addr("10.0.0.1"))
		paths(t, c, "S1 H S2", "S2 H S1")
		c.Run(time.Second)
		paths(t, c, "S1 S2", "S2 S1")
		want(t, "S1's shortcut", c.S1.Installed[prefix("10.10.2.0/24")], addr("10.0.0.12"))
		want(t, "requests", len(c.Traced("Resolution Request", "S1   sends")), 1)
		return c.World
	})
	scenario(t, "idle: removed at both ends without loss", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(2, reimport, func(hub, s1, s2 *engine.Config) {
			s1.Idle, s2.Idle = 20*time.Second, 21*time.Second
			s1.IdleBytes, s2.IdleBytes = 1000, 1000
		})
		c.Run(time.Second)
		c.Ping(100)
		c.Run(time.Second)
		if lost := c.Stream(60*time.Second, time.Second, 1000); len(lost) > 0 {
			t.Errorf("lost in use: %v", lost)
		}
		paths(t, c, "S1 S2", "S2 S1")
		// Hellos alone: 20 octets in 5 s.
		lost := c.Stream(60*time.Second, 5*time.Second, 20)
		want(t, "lost while it ends", len(lost), 0)
		want(t, "S1's shortcut is gone or new", len(c.Traced("S1   removes 10.10.2.0/24")) > 0, true)
		want(t, "S2's shortcut is gone or new", len(c.Traced("S2   removes 10.10.1.0/24")) > 0, true)
		c.Run(60 * time.Second)
		want(t, "S1 accepts", c.S1.Accepted[engine.Endpoint{NBMA: c.S2.NBMA}], false)
		want(t, "S2 accepts", c.S2.Accepted[engine.Endpoint{NBMA: c.S1.NBMA}], false)
		paths(t, c, "S1 H S2", "S2 H S1")
		return c.World
	})
	scenario(t, "in use: renewed at two thirds without loss", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(3, reimport, func(hub, s1, s2 *engine.Config) {
			hub.HoldingTime, s1.HoldingTime, s2.HoldingTime = 30*time.Second, 30*time.Second, 30*time.Second
			s1.Idle, s2.Idle = 10*time.Second, 10*time.Second
		})
		c.Run(time.Second)
		c.Ping(100)
		c.Run(time.Second)
		if lost := c.Stream(3*time.Minute, 500*time.Millisecond, 1400); len(lost) > 0 {
			t.Errorf("lost: %v", lost)
		}
		paths(t, c, "S1 S2", "S2 S1")
		want(t, "never removed", len(c.Traced("removes 10.10.2.0/24")), 0)
		return c.World
	})
}

func TestRegistration(t *testing.T) {
	scenario(t, "RG-15, RG-17: retry 1 2 4 … 64 s or a little less with one id, then at a third of the holding time", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(4, reimport, nil)
		c.Cut = func(a, b netip.Addr) bool { return true }
		c.Run(200 * time.Second)
		lines := c.Traced("S1", "Registration Request")
		// S1's first try came before the wire was cut: its packet was under way. From the fourth
		// pause on up to a quarter is taken off.
		if n := len(lines); n < 9 || n > 10 {
			t.Errorf("%d tries in 200 s", n)
		}
		c.Cut = func(a, b netip.Addr) bool { return false }
		c.Run(65 * time.Second)
		want(t, "registered", c.H.Bound[addr("10.0.0.11")].NBMA, addr("198.51.100.11"))
		before := len(c.Traced("S1", "Registration Request"))
		c.Run(2400 * time.Second)
		want(t, "one renewal, of the address and of the network", len(c.Traced("S1", "Registration Request")), before+2)
		return c.World
	})
	scenario(t, "protocol dynamic: learned from the reply", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(5, reimport, func(hub, s1, s2 *engine.Config) { s1.NHS[0].Protocol = netip.Addr{} })
		c.Run(time.Second)
		want(t, "fallback", c.S1.Fallback, addr("10.0.0.1"))
		want(t, "to its own address", len(c.Traced("S1   sends", "Registration Request", "10.0.0.11")) > 0, true)
		return c.World
	})
	scenario(t, "HU-10: by name, looked up again when it does not answer", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(6, reimport, func(hub, s1, s2 *engine.Config) { s1.NHS[0].NBMA = "hub.example" })
		c.Run(time.Second)
		want(t, "not yet", c.S1.Fallback.IsValid(), false)
		c.Names["hub.example"] = []netip.Addr{addr("192.0.2.9")}
		c.Run(10 * time.Second)
		c.Names["hub.example"] = []netip.Addr{addr("192.0.2.1")}
		c.Run(60 * time.Second)
		want(t, "fallback", c.S1.Fallback, addr("10.0.0.1"))
		return c.World
	})
	scenario(t, "a name that led to someone else, who refuses us, is looked up again", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(6, reimport, func(hub, s1, s2 *engine.Config) { s1.NHS[0].NBMA = "hub.example" })
		c.Names["hub.example"] = []netip.Addr{c.S2.NBMA}
		c.Run(10 * time.Second)
		want(t, "not yet", c.S1.Fallback.IsValid(), false)
		c.Names["hub.example"] = []netip.Addr{c.H.NBMA}
		c.Run(3 * time.Minute)
		want(t, "fallback", c.S1.Fallback, addr("10.0.0.1"))
		return c.World
	})
	scenario(t, "HU-01: two hubs: one dies, the other takes over, it comes back", func(t *testing.T, reimport bool) *nhrptest.World {
		second := engine.NHS{NBMA: "192.0.2.2", Protocol: addr("10.0.0.2"), Priority: 1, Routes: []netip.Prefix{prefix("10.10.0.0/16")}}
		c := nhrptest.NewCloud(7, reimport, func(hub, s1, s2 *engine.Config) {
			s1.HoldingTime, s2.HoldingTime = 60*time.Second, 60*time.Second
			s1.NHS, s2.NHS = append(s1.NHS, second), append(s2.NHS, second)
		})
		other := nhrptest.HubConfig()
		other.Address = prefix("10.0.0.2/24")
		c.Add("H2", "192.0.2.2", other)
		c.Run(30 * time.Second)
		want(t, "fallback", c.S1.Fallback, addr("10.0.0.1"))
		c.Cut = func(a, b netip.Addr) bool { return a == c.H.NBMA || b == c.H.NBMA }
		c.Run(60 * time.Second)
		want(t, "fallback", c.S1.Fallback, addr("10.0.0.2"))
		want(t, "route", c.S1.Installed[prefix("10.10.0.0/16")], addr("10.0.0.2"))
		x := c.S1.Send("10.10.1.5", "10.10.2.5", 100)
		want(t, "by H2", x.String(), "S1 H2 S2")
		c.Cut = func(a, b netip.Addr) bool { return false }
		c.Run(70 * time.Second)
		want(t, "back", c.S1.Fallback, addr("10.0.0.1"))
		return c.World
	})
	scenario(t, "the only hub is away: its data plane is used until the registration expires", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(8, reimport, func(hub, s1, s2 *engine.Config) {
			s1.HoldingTime, s2.HoldingTime = 90*time.Second, 90*time.Second
		})
		c.Run(5 * time.Second)
		state := c.H.Kill()
		for range 30 {
			c.Run(time.Second)
			paths(t, c, "S1 H S2", "S2 H S1")
		}
		c.H.Start(state)
		c.Run(60 * time.Second)
		want(t, "fallback", c.S1.Fallback, addr("10.0.0.1"))
		c.H.Kill()
		c.Run(200 * time.Second)
		want(t, "no fallback", c.S1.Fallback.IsValid(), false)
		want(t, "no routes", len(c.S1.Installed), 0)
		want(t, "no peers", len(c.S1.Bound), 0)
		return c.World
	})
	scenario(t, "hub restarts without memory: a purge or request that it cannot place makes spokes register again", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(9, reimport, nil)
		c.Run(time.Second)
		c.H.Kill()
		c.H.Start(nil)
		c.Run(time.Second)
		want(t, "unknown", c.H.Bound[addr("10.0.0.11")].NBMA.IsValid(), false)
		c.S1.Input(engine.Miss{NextHop: addr("10.0.0.12")})
		c.Run(time.Second)
		want(t, "registered again", c.H.Bound[addr("10.0.0.11")].NBMA, addr("198.51.100.11"))
		return c.World
	})
	scenario(t, "a spoke's address changes: registered, told, and traffic by the hub at once", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(10, reimport, nil)
		c.Run(time.Second)
		c.Ping(100)
		c.Run(time.Second)
		paths(t, c, "S1 S2", "S2 S1")
		c.S2.Move("203.0.113.99")
		c.Run(time.Second)
		want(t, "hub follows", c.H.Bound[addr("10.0.0.12")].NBMA, addr("203.0.113.99"))
		paths(t, c, "S1 H S2", "S2 H S1")
		c.Run(10 * time.Second)
		c.Ping(100)
		c.Run(time.Second)
		paths(t, c, "S1 S2", "S2 S1")
		want(t, "new address", c.S1.Bound[addr("10.0.0.12")].NBMA, addr("203.0.113.99"))
		want(t, "old address", c.S1.Accepted[engine.Endpoint{NBMA: addr("203.0.113.22")}], false)
		return c.World
	})
	scenario(t, "a spoke's address goes, and another one comes: whom it had answered is told", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(10, reimport, nil) // without probes
		c.Run(time.Second)
		c.Ping(100)
		c.Run(time.Second)
		paths(t, c, "S1 S2", "S2 S1")
		c.S2.Move("")
		c.Run(time.Second)
		c.S2.Move("203.0.113.99")
		c.Run(2 * time.Second)
		want(t, "hub follows", c.H.Bound[addr("10.0.0.12")].NBMA, addr("203.0.113.99"))
		paths(t, c, "S1 H S2", "S2 H S1")
		c.Run(10 * time.Second)
		c.Ping(100)
		c.Run(time.Second)
		paths(t, c, "S1 S2", "S2 S1")
		c.S2.Move("")
		c.Run(time.Second)
		c.S2.Move("203.0.113.99") // the same again
		c.Run(time.Second)
		paths(t, c, "S1 S2", "S2 S1")
		return c.World
	})
	scenario(t, "RG-19: an orderly end empties the hub", func(t *testing.T, reimport bool) *nhrptest.World {
		c := nhrptest.NewCloud(11, reimport, nil)
		c.Run(time.Second)
		c.Ping(100)
		c.Run(time.Second)
		c.S2.Input(engine.Stop{})
		c.Run(5 * time.Second)
		want(t, "hub", c.H.Bound[addr("10.0.0.12")].NBMA.IsValid(), false)
		want(t, "hub's route", c.H.Installed[prefix("10.10.2.0/24")].IsValid(), false)
		want(t, "S1's shortcut", c.S1.Installed[prefix("10.10.2.0/24")].IsValid(), false)
		want(t, "S2's routes", len(c.S2.Installed)+len(c.S2.Bound)+len(c.S2.Accepted), 0)
		return c.World
	})
}

func TestSpokeBehindNAT(t *testing.T) {
	scenario(t, "NA-02, NA-03, NA-04: the public address is what shortcuts use", func(t *testing.T, reimport bool) *nhrptest.World {
		c := &nhrptest.Cloud{World: nhrptest.New(12), A: "10.10.1.5", B: "10.10.2.5"}
		c.Reimport = reimport
		c.H = c.Add("H", "192.0.2.1", nhrptest.HubConfig())
		c.S1 = c.Add("S1", "198.51.100.11", nhrptest.SpokeConfig("10.0.0.11/24", "10.10.1.0/24"))
		c.S2 = c.Add("S2", "172.16.2.22", nhrptest.SpokeConfig("10.0.0.12/24", "10.10.2.0/24"))
		c.S2.NAT = addr("203.0.113.22")
		c.Run(5 * time.Second)
		want(t, "hub", c.H.Bound[addr("10.0.0.12")].NBMA, addr("203.0.113.22"))
		want(t, "S2 knows", c.S2.Machine.Snapshot(c.Now).Public, addr("203.0.113.22"))
		c.Ping(100)
		c.Run(time.Second)
		paths(t, c, "S1 S2", "S2 S1")
		return c.World
	})
}

// The wire loses, doubles and disorders packets, and someone moves or starts
// again, with and without memory: in the end everything is as if it had not.
func TestBadWire(t *testing.T) {
	for trouble, happens := range []struct {
		name string
		do   func(c *nhrptest.Cloud)
	}{
		{"nothing else", func(c *nhrptest.Cloud) {}},
		{"a spoke moves", func(c *nhrptest.Cloud) { c.S2.Move("203.0.113.77") }},
		{"a spoke starts again", func(c *nhrptest.Cloud) { c.S2.Start(c.S2.Kill()) }},
		{"a spoke starts again without memory", func(c *nhrptest.Cloud) { c.S2.Kill(); c.S2.Start(nil) }},
		{"the hub starts again, later", func(c *nhrptest.Cloud) { state := c.H.Kill(); c.Run(10 * time.Second); c.H.Start(state) }},
		{"the hub starts again without memory", func(c *nhrptest.Cloud) { c.H.Kill(); c.H.Start(nil) }},
	} {
		for seed := range uint64(4) {
			scenario(t, fmt.Sprintf("%s, seed %d", happens.name, seed), func(t *testing.T, reimport bool) *nhrptest.World {
				c := nhrptest.NewCloud(100+10*uint64(trouble)+seed, reimport, func(hub, s1, s2 *engine.Config) {
					hub.HoldingTime, s1.HoldingTime, s2.HoldingTime = time.Minute, time.Minute, time.Minute
					s1.Idle, s2.Idle = 20*time.Second, 20*time.Second
				})
				c.Wire = nhrptest.Wire{Delay: 20 * time.Millisecond, Jitter: 300 * time.Millisecond, Loss: 0.3, Duplicate: 0.2}
				if !c.RunUntil(5*time.Minute, func() bool { return len(c.H.Installed) == 2 }) {
					t.Fatal("the spokes' networks are not registered")
				}
				lost := c.Stream(2*time.Minute, time.Second, 1400)
				c.Run(20 * time.Second)
				if len(lost) > 0 {
					t.Errorf("%d packets lost on a good data plane: %v", len(lost), lost[0])
				}
				happens.do(c)
				c.Run(2 * time.Minute)
				c.Wire = nhrptest.Wire{Delay: 20 * time.Millisecond}
				c.Run(70 * time.Second)
				lost = c.Stream(time.Minute, time.Second, 1400)
				want(t, "lost in the end", len(lost), 0)
				paths(t, c, "S1 S2", "S2 S1")
				for _, n := range c.Nodes {
					s := n.Machine.Snapshot(c.Now)
					want(t, n.Name+" accepts as the data plane does", len(s.Accepted), len(n.Accepted))
				}
				return c.World
			})
		}
	}
}
