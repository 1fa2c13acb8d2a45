// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// threeLevels is three levels of hubs and four regions of 50 spokes. A hub is a client of the
// one above; what is in a region is known by routes above it, and by registrations in it.
//
//	                   H0 10.0.0.1
//	          ╱                         ╲
//	   C1 10.0.101.1               C2 10.0.102.1
//	    ╱         ╲                 ╱         ╲
//	R1 10.0.1.254  R2 …         R3 …           R4 10.0.4.254
//	 │              │            │              │
//	S1.1 … S1.50   S2.1 …      S3.1 …         S4.1 … S4.50
//	10.1.1.0/24                                10.4.50.0/24
func threeLevels(t *testing.T, seed uint64) *clouded {
	x := newClouded(t, seed)
	lan := func(region int) netip.Prefix { return prefix(fmt.Sprintf("10.%d.0.0/16", region)) }
	hub := func(name, nbma, address, above string, here []int, below map[string][]int) {
		c := engine.Config{Tunnel: "dmvpn0", Address: prefix(address + "/16"), MTU: 1400, Redirect: true, HoldingTime: x.holding}
		var up []netip.Prefix
		for region := 1; region <= 4; region++ {
			if !slices.Contains(here, region) { // else what is not registered would run in a circle
				up = append(up, lan(region))
			}
		}
		if above != "" {
			c.NHS = []engine.NHS{{NBMA: above, Routes: up}}
		}
		x.hubs = append(x.hubs, x.Add(name, nbma, c, func(n *nhrptest.Node) {
			for hop, regions := range below {
				for _, region := range regions {
					for _, p := range []netip.Prefix{lan(region), prefix(fmt.Sprintf("10.0.%d.0/24", region))} {
						n.Kernel = append(n.Kernel, nhrptest.Route{Prefix: p, NextHop: addr(hop), Tunnel: true})
					}
				}
			}
		}))
	}
	hub("H0", "192.0.2.1", "10.0.0.1", "", nil, map[string][]int{"10.0.101.1": {1, 2}, "10.0.102.1": {3, 4}})
	hub("C1", "192.0.3.1", "10.0.101.1", "192.0.2.1", []int{1, 2}, map[string][]int{"10.0.1.254": {1}, "10.0.2.254": {2}})
	hub("C2", "192.0.3.2", "10.0.102.1", "192.0.2.1", []int{3, 4}, map[string][]int{"10.0.3.254": {3}, "10.0.4.254": {4}})
	for region := 1; region <= 4; region++ {
		nbma := fmt.Sprintf("192.0.4.%d", region)
		hub(fmt.Sprint("R", region), nbma, fmt.Sprintf("10.0.%d.254", region), fmt.Sprintf("192.0.3.%d", (region+1)/2), []int{region}, nil)
		x.addSpokes(region, spokesOfCloud/4, nil, engine.NHS{NBMA: nbma, Routes: []netip.Prefix{lan(1), lan(2), lan(3), lan(4)}})
	}
	return x
}

func TestCloudOfThreeLevels(t *testing.T) {
	seeded(t, "a spoke reaches one of another region directly, and spokes move", func(t *testing.T, seed uint64, loss float64) {
		x := threeLevels(t, seed)
		x.wires(loss)
		x.pass(2 * time.Minute)
		a, b := x.spokes[0], x.spokes[spokesOfCloud-1]
		if loss == 0 {
			want(t, "at first", a.Follow(lan(b)).String(), "S1.1 R1 C1 H0 C2 R4 S4.50")
		}
		x.addFlows(100)
		x.flows = append(x.flows, flow{a, b})
		x.pass(30 * time.Second)
		if n := x.settled(); loss == 0 && n != 2*len(x.flows) {
			t.Errorf("%d of %d ways are direct", n, 2*len(x.flows))
		}
		clear(x.firm)
		for range 15 {
			x.move(x.pick())
			x.pass(10 * time.Second)
		}
		x.heal()
	})
	seeded(t, "a move, and the death and return of the highest hub, cost each a few packets", func(t *testing.T, seed uint64, loss float64) {
		x := threeLevels(t, seed)
		x.wires(0)
		x.pass(2 * time.Minute)
		a := x.spokes[0]
		for _, b := range []int{60, 70, 110, 120, 160, 170} {
			x.flows = append(x.flows, flow{a, x.spokes[b]})
		}
		x.pass(10 * time.Second)
		x.wires(loss)
		x.count()
		x.move(a)
		x.pass(20 * time.Second)
		peers := len(x.flows)
		if loss == 0 {
			x.mostEach("own address and network, and again for a purge that overtook them", wire.RegistrationRequest, 4)
			x.most("each way, and again where the way is gone", wire.PurgeRequest, 4*peers)
			x.most("each way, again after a purge, and where it crossed an answer", wire.ResolutionRequest, 2*3*peers)
		}
		x.mostEach("1, 2, 4 … s in 20, both", wire.RegistrationRequest, 2*6)
		x.most("1, 2, 4 … s in 20, each way", wire.PurgeRequest, 2*5*peers)
		x.most("three tries each way, again after a purge", wire.ResolutionRequest, 2*2*3*peers)
		x.wires(0)
		x.pass(2 * x.holding)
		x.wires(loss)
		x.count()
		x.end(x.hubs[0])
		x.excuse(x.hubs[0], 3*x.holding)
		x.pass(20 * time.Second)
		x.begin(x.hubs[0], nil)
		x.pass(x.holding)
		const seconds, renewals = 140, 140/36 + 1
		if loss == 0 {
			x.mostEach("renewals of address and networks", wire.RegistrationRequest, 2*renewals)
			x.most("renewals", wire.ResolutionRequest, 2*2*peers)
		}
		x.mostEach("each is tried up to six times", wire.RegistrationRequest, 6*2*renewals)
		x.most("three tries in 7 s", wire.ResolutionRequest, 2*peers*3*seconds/7)
		x.most("none", wire.PurgeRequest, 0)
	})
	seeded(t, "hubs of each level die and return without memory: shortcuts go on", func(t *testing.T, seed uint64, loss float64) {
		x := threeLevels(t, seed)
		x.wires(loss)
		x.pass(2 * time.Minute)
		x.addFlows(100)
		x.pass(30 * time.Second)
		x.settled()
		for _, i := range []int{0, 1, 3} {
			hub := x.hubs[i]
			x.end(hub)
			x.pass(10 * time.Second)
			x.begin(hub, nil)
			x.excuse(hub, 2*x.holding)
			if loss > 0 {
				clear(x.firm)
			}
			x.pass(10 * time.Second)
		}
		clear(x.firm)
		x.heal()
	})
}
