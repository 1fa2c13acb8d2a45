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
	"dmvpn/nhrpd/wire"
)

// clustered is S1 and three hubs, of which it is to use some; it prefers the first.
//
//	H1 192.0.2.1   H2 192.0.2.2   H3 192.0.2.3
//	           ╲        │        ╱
//	             S1 198.51.100.11
type clustered struct {
	*nhrptest.World
	t    *testing.T
	s1   *nhrptest.Node
	hubs []*nhrptest.Node
	away map[int]bool // hubs that nothing reaches
}

func newClustered(t *testing.T, change func(c *engine.Config)) *clustered {
	x := &clustered{World: nhrptest.New(1), t: t, away: map[int]bool{}}
	x.Reimport = strings.HasSuffix(t.Name(), exported)
	c := spokeConfig()
	c.NHS, c.HoldingTime = nil, 3*time.Minute
	for i := 1; i <= 3; i++ {
		h := nhrptest.HubConfig()
		h.Address = prefix(fmt.Sprintf("10.0.0.%d/24", i))
		if c.NHS = append(c.NHS, engine.NHS{
			NBMA: fmt.Sprintf("192.0.2.%d", i), Protocol: h.Address.Addr(), Priority: i, Routes: []netip.Prefix{prefix("10.10.0.0/16")},
		}); c.Probe > 0 {
			h.Probe = c.Probe
		}
		x.hubs = append(x.hubs, x.Add(fmt.Sprint("H", i), c.NHS[i-1].NBMA, h))
	}
	if change(&c); c.Probe > 0 {
		for _, h := range x.hubs {
			h.Config.Probe = c.Probe
			h.Start(nil)
		}
	}
	x.Cut = func(a, b netip.Addr) bool {
		for i, h := range x.hubs {
			if x.away[i+1] && (a == h.NBMA || b == h.NBMA) {
				return true
			}
		}
		return false
	}
	x.s1 = x.Add("S1", s1NBMA, c)
	x.Run(time.Second)
	return x
}

// uses checks which hubs S1 is registered with, and which one takes its packets.
func (x *clustered) uses(when string, best int, registered ...int) {
	x.t.Helper()
	var at []int
	for i, h := range x.hubs {
		if h.Bound[addr(s1Protocol)].NBMA.IsValid() && !x.away[i+1] {
			at = append(at, i+1)
		}
	}
	want(x.t, when+": registered at", fmt.Sprint(at), fmt.Sprint(registered))
	want(x.t, when+": by", x.s1.Fallback, x.hubs[best-1].Own())
	want(x.t, when+": route by", x.s1.Installed[prefix("10.10.0.0/16")], x.hubs[best-1].Own())
}

// Several hubs: section 17 of the case list.
func TestCasesOfSeveralHubs(t *testing.T) {
	one := func(c *engine.Config) { c.MaxConnections, c.Fallback = 1, time.Minute }
	rows(t, []row{
		{"HU-03: of a cluster the best are registered with, the others wait", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) { c.MaxConnections = 2 })
			x.uses("at first", 1, 1, 2)
			h3 := x.s1.Machine.Snapshot(x.Now).Servers[2]
			want(t, "H3", h3.State, engine.Waiting)
			want(t, "H3: priority, cluster, most of it", fmt.Sprint(h3.Priority, h3.Cluster, h3.Most), "3 0 2")
			x.away[2] = true
			x.Run(2 * time.Minute)
			x.uses("the second fails", 1, 1, 3)
			x.away[2] = false
			x.Run(65 * time.Second)
			x.uses("it is back", 1, 1, 2)
		}},
		{"HU-03: one that failed is used again after the fallback time, if it answers all the while", func(t *testing.T) {
			x := newClustered(t, one)
			x.uses("at first", 1, 1)
			x.away[1] = true
			x.Run(2 * time.Minute)
			x.uses("the first fails", 2, 2)
			x.away[1] = false
			back := func() bool { return x.s1.Machine.Snapshot(x.Now).Servers[0].State == engine.Waiting }
			want(t, "it answers", x.RunUntil(65*time.Second, back), true)
			x.Run(59 * time.Second)
			want(t, "a second before", x.s1.Fallback, addr("10.0.0.2"))
			x.Run(2 * time.Second)
			x.uses("after the fallback time", 1, 1)
		}},
		{"HU-03: who is asked by way of one that is not used again yet answers", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) { one(c); c.Fallback = time.Hour })
			s2 := x.s1.Config
			s2.Address, s2.Networks, s2.NHS = prefix(s2Protocol+"/24"), []netip.Prefix{prefix("10.10.2.0/24")}, s2.NHS[:1]
			other := x.Add("S2", s2NBMA, s2)
			x.away[1] = true
			x.Run(4 * time.Minute) // until nothing that it knew of the first counts
			x.away[1] = false
			back := func() bool { return x.s1.Machine.Snapshot(x.Now).Servers[0].State == engine.Waiting }
			want(t, "it answers", x.RunUntil(65*time.Second, back), true)
			x.Run(65 * time.Second)
			other.Input(engine.Miss{NextHop: addr(s1Protocol)})
			x.Run(time.Second)
			want(t, "by", x.s1.Fallback, addr("10.0.0.2"))
			want(t, "S2 has S1 at", other.Bound[addr(s1Protocol)].NBMA, addr(s1NBMA))
		}},
		{"HU-03: one that fails within the fallback time begins it anew", func(t *testing.T) {
			x := newClustered(t, one)
			x.away[1] = true
			x.Run(2 * time.Minute)
			x.away[1] = false
			x.Run(64 * time.Second) // it answers, for a part of the fallback time at least
			for range 5 {
				x.away[1] = true
				x.Run(35 * time.Second)
				x.away[1] = false
				x.Run(45 * time.Second)
				want(t, "by", x.s1.Fallback, addr("10.0.0.2"))
			}
			x.Run(2 * time.Minute)
			x.uses("quiet at last", 1, 1)
		}},
		{"HU-03: the better one is used at once when the others fail", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) { one(c); c.Fallback = time.Hour })
			x.away[1] = true
			x.Run(2 * time.Minute)
			x.away[1] = false
			x.Run(64 * time.Second)
			want(t, "by", x.s1.Fallback, addr("10.0.0.2"))
			x.away[2], x.away[3] = true, true
			x.Run(2 * time.Minute)
			x.uses("alone", 1, 1)
		}},
		{"HU-03: each cluster has its own connections", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) { c.MaxConnections, c.NHS[2].Cluster = 1, 1 })
			x.uses("two clusters", 1, 1, 3)
			x.away[3] = true
			x.Run(2 * time.Minute)
			x.uses("one is gone", 1, 1)
			x.away[1], x.away[3] = true, false
			x.Run(2 * time.Minute)
			x.uses("the other has another", 2, 2, 3)
		}},
		{"HU-03: with probes the next one is registered with within a second", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) { c.MaxConnections, c.Probe, c.ProbeIdle = 1, 200*time.Millisecond, time.Second })
			x.Run(10 * time.Second)
			x.away[1] = true
			for range 12 {
				x.s1.Send("10.10.1.5", "10.10.2.5", 100)
				x.Run(100 * time.Millisecond)
			}
			x.uses("the first is dead", 2, 2)
		}},
		{"HU-03: what a hub passes on to us arrives until it knows that we left", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) { c.MaxConnections = 1 })
			x.away[1] = true
			x.Run(2 * time.Minute)
			x.away[1] = false
			want(t, "by the second", x.s1.Fallback, addr("10.0.0.2"))
			lose := true
			x.Mangle = func(data []byte) []byte {
				if p, err := wire.Decode(data); err == nil && p.Type == wire.PurgeRequest && lose {
					return nil
				}
				return data
			}
			x.Run(65 * time.Second)
			want(t, "by the first", x.s1.Fallback, addr("10.0.0.1"))
			want(t, "the second does not know", x.hubs[1].Bound[addr(s1Protocol)].NBMA.IsValid(), true)
			x.Run(10 * time.Second)
			want(t, "what it sends", x.hubs[1].Send("10.10.0.5", s1Protocol, 100).String(), "H2 S1")
			lose = false
			x.Run(65 * time.Second)
			x.uses("it knows", 1, 1)
		}},
	})
}
