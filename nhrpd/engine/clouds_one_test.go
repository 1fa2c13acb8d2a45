// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// oneHub is a hub and 200 spokes, a fifth of them behind NATs of their own.
//
//	            H1 10.0.0.1
//	      ╱     ╱   │    ╲     ╲
//	S1.1  S1.2     …     S1.199  S1.200
//	10.1.1.0/24                  10.1.200.0/24
func oneHub(t *testing.T, seed uint64, change func(x *clouded)) *clouded {
	x := newClouded(t, seed)
	if change != nil {
		change(x)
	}
	probes := func(c *engine.Config) {
		if c.Probe = x.probe; c.Probe > 0 {
			c.ProbeIdle = 10 * time.Second
		}
	}
	x.addHub(1, probes)
	x.addSpokes(1, spokesOfCloud, probes, engine.NHS{NBMA: "192.0.2.1", Protocol: addr("10.0.0.1"), Routes: []netip.Prefix{prefix("10.1.0.0/16")}})
	return x
}

func TestCloudOfOneHub(t *testing.T) {
	seeded(t, "spokes move", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.wires(loss)
		x.pass(2 * time.Minute)
		x.addFlows(200)
		x.pass(time.Minute)
		for range 20 {
			x.move(x.pick())
			x.pass(10 * time.Second)
		}
		x.heal()
	})
	seeded(t, "spokes die or stop, and return elsewhere", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.wires(loss)
		x.pass(2 * time.Minute)
		x.addFlows(200)
		x.pass(time.Minute)
		var away []*nhrptest.Node
		for range 30 {
			switch s := x.pick(); {
			case len(away) > 2:
				s, away = away[0], away[1:]
				s.NBMA = addr(x.address())
				x.begin(s, nil)
				x.excuse(s, x.settle())
			case slices.Contains(away, s):
			case x.below(2) == 0:
				x.stop(s)
				away = append(away, s)
			default:
				x.end(s)
				x.excuse(s, x.holding) // nobody is told
				away = append(away, s)
			}
			x.pass(10 * time.Second)
		}
		x.heal()
	})
	seeded(t, "the hub's daemon starts again with its state: nothing is lost", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.wires(loss)
		x.pass(2 * time.Minute)
		x.addFlows(200)
		x.pass(5 * time.Second)
		for range 3 {
			state := x.hubs[0].Kill()
			x.pass(20 * time.Second)
			x.hubs[0].Start(state)
			x.pass(20 * time.Second)
		}
		x.heal()
	})
	seeded(t, "the hub dies and returns without memory: shortcuts go on", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.wires(loss)
		x.pass(2 * time.Minute)
		x.addFlows(200)
		x.pass(time.Minute)
		if n := x.settled(); n < 200 {
			t.Fatalf("%d of 400 ways are direct", n)
		}
		hub := x.hubs[0]
		x.end(hub)
		x.pass(30 * time.Second)
		x.begin(hub, nil)
		if loss > 0 {
			clear(x.firm) // renewals may all be lost until they end
		}
		x.excuse(hub, x.holding/3+x.settle())
		x.pass(70 * time.Second)
		clear(x.firm)
		x.heal()
	})
	seeded(t, "spokes move while everything is renewed: purges cross renewals", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, func(x *clouded) { x.holding = 30 * time.Second })
		x.wires(loss)
		x.Wire.Jitter = 900 * time.Millisecond // as much as packets on their way are waited for
		x.pass(time.Minute)
		x.addFlows(200)
		x.pass(30 * time.Second)
		for range 60 {
			x.move(x.pick())
			x.pass(time.Second)
		}
		x.heal()
	})
}

// The bounds of what a cloud sends.
func TestCloudIsQuiet(t *testing.T) {
	seeded(t, "two registrations of a spoke in each third of the holding time, a try more for each that is lost", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.pass(10 * time.Second)
		x.wires(loss)
		x.count()
		x.pass(3 * x.holding)
		// A third, less up to a tenth of it; then 1, 2, 4 … s.
		renewals, tries := int(3*x.holding/(x.holding/3*9/10))+1, 1
		if loss > 0 {
			tries = 6 // in a third of the holding time
		}
		x.mostEach("renewals", wire.RegistrationRequest, 2*renewals*tries)
		if loss == 0 {
			want(t, "nothing else", len(x.all), 2)
		}
	})
	seeded(t, "a flow costs each end an indication in 8 s, and a request and an answer or as many as are tried", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.pass(10 * time.Second)
		x.wires(loss)
		x.addFlows(200)
		x.count()
		const seconds = 30
		x.pass(seconds * time.Second)
		ways := 2 * len(x.flows)
		if loss == 0 {
			x.most("one each", wire.TrafficIndication, ways)
			x.most("one each", wire.ResolutionRequest, ways)
			x.most("one each", wire.ResolutionReply, ways)
			want(t, "ways that are direct", x.settled(), ways)
		}
		x.most("one in 8 s", wire.TrafficIndication, ways*(seconds/8+1))
		x.most("three tries, and a pause of 30 s", wire.ResolutionRequest, ways*3)
		x.most("one for each copy of a request", wire.ResolutionReply, ways*3*2)
		x.most("none", wire.PurgeRequest, 0)
	})
	seeded(t, "a move costs two registrations, and each of the peers a purge each way and a new request", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.pass(10 * time.Second)
		for _, s := range x.spokes[1:31] {
			x.flows = append(x.flows, flow{x.spokes[0], s})
		}
		x.pass(5 * time.Second)
		x.wires(loss)
		x.count()
		x.move(x.spokes[0])
		x.pass(20 * time.Second)
		peers := len(x.flows)
		if loss == 0 {
			x.mostEach("own address and network, and again for a purge that overtook them", wire.RegistrationRequest, 4)
			x.most("each way, and again where the way is gone", wire.PurgeRequest, 4*peers)
			x.most("each way", wire.ResolutionRequest, 2*peers)
		}
		x.most("1, 2, 4 … s in 20, each way", wire.PurgeRequest, 2*5*peers)
		x.most("three tries each way, again after a purge", wire.ResolutionRequest, 2*2*3*peers)
	})
	seeded(t, "everyone moves at once: as much for each, and nothing that goes on", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.pass(10 * time.Second)
		x.addFlows(200)
		x.pass(5 * time.Second)
		x.wires(loss)
		x.count()
		for _, s := range x.spokes {
			if x.move(s); !s.NAT.IsValid() {
				x.excuse(s, x.holding)
			}
		}
		x.pass(30 * time.Second)
		ways := 2 * len(x.flows)
		if loss == 0 {
			x.mostEach("own address and network, and a renewal", wire.RegistrationRequest, 4)
		}
		x.mostEach("1, 2, 4 … s in 30, both", wire.RegistrationRequest, 2*6)
		x.most("1, 2, 4 … s in 30", wire.PurgeRequest, 2*5*ways)
		x.most("three tries, again after a purge", wire.ResolutionRequest, 2*3*ways)
		x.heal()
		x.count()
		x.pass(60 * time.Second)
		x.most("nothing goes on", wire.PurgeRequest, 0)
		x.most("nothing goes on", wire.ErrorIndication, 0)
	})
	seeded(t, "the hub returns without memory: everyone is back within the longest pause, with four registrations at most", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, func(x *clouded) { x.probe = 200 * time.Millisecond })
		x.pass(20 * time.Second)
		hub := x.hubs[0]
		x.end(hub)
		x.pass(x.holding)
		x.begin(hub, nil)
		x.excuse(hub, x.holding)
		x.count()
		x.pass(66 * time.Second)
		x.mostEach("one that is answered, and a renewal", wire.RegistrationRequest, 4)
		x.agree(hub)
	})
	seeded(t, "a spoke that stops while it registers is not registered in the end", func(t *testing.T, seed uint64, loss float64) {
		x := oneHub(t, seed, nil)
		x.pass(10 * time.Second)
		x.wires(loss)
		stopped := map[*nhrptest.Node]bool{}
		seen := x.Seen
		x.Seen = func(from *nhrptest.Node, to engine.Endpoint, p *wire.Packet) {
			seen(from, to, p)
			if p.Type == wire.RegistrationRequest && !stopped[from] && len(stopped) < 50 {
				stopped[from] = true
				x.After(time.Duration(x.below(50))*time.Millisecond, func() { x.stop(from) })
			}
		}
		x.pass(x.holding / 2)
		want(t, "stopped", len(stopped), 50)
		x.wires(0)
		x.pass(x.holding)
		x.agree(x.hubs...)
	})
}
