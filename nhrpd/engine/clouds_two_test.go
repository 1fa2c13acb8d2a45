// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// twoHubs is two hubs and 200 spokes; the first hub is everyone's better one. Every fourth
// spoke makes no shortcuts, a fifth is behind a NAT of its own.
//
//	H1 10.0.0.1       H2 10.0.0.2
//	      ╲  ╲       ╱  ╱
//	   S1.1  S1.2  …  S1.200
func twoHubs(t *testing.T, seed uint64, change func(c *engine.Config)) *clouded {
	x := newClouded(t, seed)
	x.addHub(1, change)
	x.addHub(2, change)
	lans, n := []netip.Prefix{prefix("10.1.0.0/16")}, 0
	x.addSpokes(1, spokesOfCloud, func(c *engine.Config) {
		n++
		if c.Shortcut = n%4 != 0; change != nil {
			change(c)
		}
	}, engine.NHS{NBMA: "192.0.2.1", Protocol: addr("10.0.0.1"), Routes: lans},
		engine.NHS{NBMA: "192.0.2.2", Protocol: addr("10.0.0.2"), Routes: lans, Priority: 1})
	return x
}

func TestCloudOfTwoHubs(t *testing.T) {
	const probe = 200 * time.Millisecond
	probes := func(c *engine.Config) { c.Probe, c.ProbeIdle = probe, 10*time.Second }
	seeded(t, "one hub dies, then the other, and each returns without memory: shortcuts go on", func(t *testing.T, seed uint64, loss float64) {
		x := twoHubs(t, seed, func(c *engine.Config) {
			if probes(c); len(c.NHS) > 0 {
				c.Fallback = 75 * time.Second // more than the longest pause: by then it knows all
			}
		})
		x.wires(loss)
		if loss == 0 {
			x.Wire.Jitter = 10 * time.Millisecond
		}
		x.pass(time.Minute)
		x.addFlows(60)
		x.pass(20 * time.Second)
		for _, hub := range x.hubs {
			if loss == 0 {
				if n := x.settled(); n < 60 {
					t.Fatalf("%d of 120 ways are direct", n)
				}
			}
			x.beat = 100 * time.Millisecond
			x.pass(3 * time.Second)
			clear(x.lost)
			x.end(hub)
			x.excuse(hub, x.settle())
			x.pass(5 * time.Second)
			x.beat = time.Second
			for f, n := range x.lost {
				if n > 10 && loss == 0 {
					t.Errorf("%s to %s is cut for %d × 100 ms by the death of %s", f.a.Name, f.b.Name, n, hub.Name)
				}
			}
			x.pass(30 * time.Second)
			x.begin(hub, nil)
			if loss > 0 {
				x.excuse(hub, 2*x.holding) // some come later than the fallback time
			}
			x.pass(150 * time.Second) // nothing is lost by its return
		}
		clear(x.firm)
		x.heal()
	})
	seeded(t, "a hub's death and its return cost each spoke a few packets", func(t *testing.T, seed uint64, loss float64) {
		x := twoHubs(t, seed, func(c *engine.Config) {
			if probes(c); len(c.NHS) > 0 {
				c.Fallback = 75 * time.Second
			}
		})
		x.wires(loss)
		if loss == 0 {
			x.Wire.Jitter = 10 * time.Millisecond
		}
		x.pass(time.Minute)
		x.addFlows(60)
		x.pass(20 * time.Second)
		hub := x.hubs[0]
		x.count()
		x.end(hub)
		x.excuse(hub, x.settle())
		x.pass(30 * time.Second)
		ways := 2 * len(x.flows)
		tries := 3
		if loss == 0 {
			x.mostEach("to the dead one after 1, 2, 4 … s, renewals at the other", wire.RegistrationRequest, 6+2)
			tries = 1
		}
		x.mostEach("1, 2, 4 … s in 30, and anew after an answer: both, for address and networks", wire.RegistrationRequest, 4*8)
		x.most("shortcuts go on", wire.ResolutionRequest, tries*ways)
		x.most("one in 8 s", wire.TrafficIndication, ways*(30/8+1))
		x.most("none", wire.PurgeRequest, 0)
		x.count()
		x.begin(hub, nil)
		x.excuse(hub, 2*x.holding)
		x.pass(150 * time.Second)
		const renewals = 150/36 + 1
		if loss == 0 {
			x.mostEach("renewals at both, of address and networks, and the answer of the one that is back", wire.RegistrationRequest, 2*2*renewals+2)
			x.most("the way to the hub changed, and a renewal", wire.ResolutionRequest, 2*ways)
		}
		x.mostEach("each is tried up to six times", wire.RegistrationRequest, 6*(2*2*renewals+2))
		x.most("each is tried three times, and once more after a pause", wire.ResolutionRequest, 2*2*3*ways)
		x.most("one in 8 s", wire.TrafficIndication, ways*(150/8+1))
		x.most("none", wire.PurgeRequest, 0)
	})
	seeded(t, "spokes move while one of the hubs is away", func(t *testing.T, seed uint64, loss float64) {
		x := twoHubs(t, seed, nil)
		x.wires(loss)
		x.pass(time.Minute)
		x.addFlows(100)
		x.pass(20 * time.Second)
		for i := range 12 {
			hub := x.hubs[i%2]
			x.end(hub)
			x.excuse(hub, x.holding) // without probes it is missed when a registration is renewed
			x.pass(5 * time.Second)
			x.move(x.pick())
			x.pass(20 * time.Second)
			x.begin(hub, nil)
			x.excuse(hub, x.holding)
			x.move(x.pick())
			x.pass(5 * time.Second)
		}
		x.heal()
	})
	seeded(t, "one connection of a cluster: who waits takes over, and after the fallback time gives back", func(t *testing.T, seed uint64, loss float64) {
		const fallback = 20 * time.Second
		x := twoHubs(t, seed, func(c *engine.Config) {
			probes(c)
			if len(c.NHS) > 0 {
				c.MaxConnections, c.Fallback = 1, fallback
			}
		})
		x.wires(loss)
		first, second := x.hubs[0], x.hubs[1]
		if loss > 0 { // two spokes may be at different hubs, which do not know each other
			x.excuse(first, time.Hour)
		}
		x.pass(time.Minute)
		x.addFlows(60)
		x.pass(20 * time.Second)
		at := func(n int) (registered int) {
			for _, s := range x.spokes {
				if x.At(x.hubs[n], x.hubs[n].Bound[s.Own()]) == s {
					registered++
				}
			}
			return registered
		}
		if loss == 0 {
			want(t, "at the first", at(0), spokesOfCloud)
			want(t, "at the second", at(1), 0)
		}
		x.end(first)
		x.excuse(first, x.holding)
		x.pass(x.holding)
		if loss == 0 {
			want(t, "at the second", at(1), spokesOfCloud)
		}
		x.begin(first, nil)
		x.excuse(second, x.holding)
		x.pass(x.holding)
		x.wires(0)
		x.pass(x.holding + fallback + 70*time.Second)
		clear(x.excuses)
		x.pass(10 * time.Second)
		x.agree(first)
		want(t, "at the second", at(1), 0)
	})
}
