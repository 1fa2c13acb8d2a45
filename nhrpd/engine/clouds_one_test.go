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
	x.addHub(1, nil)
	x.addSpokes(1, spokesOfCloud, nil, engine.NHS{NBMA: "192.0.2.1", Protocol: addr("10.0.0.1"), Routes: []netip.Prefix{prefix("10.1.0.0/16")}})
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

// The bounds of what a cloud sends, where nothing is lost.
func TestCloudIsQuiet(t *testing.T) {
	seeded(t, "two registrations of a spoke and their answers in each third of the holding time", func(t *testing.T, seed uint64, _ float64) {
		x := oneHub(t, seed, nil)
		x.wires(0)
		x.pass(10 * time.Second)
		x.count()
		x.pass(3 * x.holding)
		// A third, less up to a tenth of it.
		renewals := int(3*x.holding/(x.holding/3*9/10)) + 1
		x.mostEach("renewals", wire.RegistrationRequest, 2*renewals)
		want(t, "answers", x.all[wire.RegistrationReply] <= x.all[wire.RegistrationRequest], true)
		want(t, "nothing else", len(x.all), 2)
	})
}
