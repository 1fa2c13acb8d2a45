// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
)

// Whole clouds in virtual time. What is true is asked of the data planes, which do what the
// machines said; the machines' own word counts for nothing.
//
// DMVPN_SEED=n runs the seed of a failure, DMVPN_SEEDS=n as many new ones beside the fixed ones.

// spokesOfCloud is how many each cloud has.
const spokesOfCloud = 200

// mostLoss is the highest of the losses.
const mostLoss = 0.4

// clouded is a cloud, what is known of its past, and what its packets were.
type clouded struct {
	*nhrptest.World
	t      *testing.T
	random nhrptest.Random
	// holding is everyone's holding time: nothing false may last longer.
	holding time.Duration
	probe   time.Duration
	hubs    []*nhrptest.Node
	spokes  []*nhrptest.Node
	flows   []flow
	free    int // underlay addresses given out
	dead    map[netip.Addr]bool
	beat    time.Duration // from a packet of each flow to the next
	truth
	tally
}

// flow is packets from a spoke's LAN to another's, and back.
type flow struct{ a, b *nhrptest.Node }

// seeded runs a scenario with seed 1 and no loss, with seed 7 and the highest loss, and with
// new seeds and any loss.
func seeded(t *testing.T, name string, run func(t *testing.T, seed uint64, loss float64)) {
	number := func(variable string, otherwise uint64) uint64 {
		s := os.Getenv(variable)
		if s == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s=%s: %v", variable, s, err)
		}
		return n
	}
	seeds := []uint64{1, 7}
	for range number("DMVPN_SEEDS", 0) {
		seeds = append(seeds, uint64(time.Now().UnixNano()))
	}
	if one := number("DMVPN_SEED", 0); one != 0 {
		seeds = []uint64{one}
	}
	t.Run(name, func(t *testing.T) {
		for _, seed := range seeds {
			loss := 0.0
			if seed > 1 {
				loss = float64(seed%4+1) * mostLoss / 4
			}
			t.Run(fmt.Sprintf("seed %d, %.0f %% lost", seed, 100*loss), func(t *testing.T) { run(t, seed, loss) })
		}
	})
}

func newClouded(t *testing.T, seed uint64) *clouded {
	x := &clouded{World: nhrptest.New(seed), t: t, random: nhrptest.Random{State: seed ^ 0xC10D}, dead: map[netip.Addr]bool{}, holding: 2 * time.Minute, beat: time.Second}
	x.Silent = true
	x.Cut = func(a, b netip.Addr) bool { return x.dead[a] || x.dead[b] }
	x.watch()
	return x
}

// below gives a number from 0 to n-1.
func (x *clouded) below(n int) int { return int(x.random.Next() % uint64(n)) }

// pick gives one of the spokes.
func (x *clouded) pick() *nhrptest.Node { return x.spokes[x.below(len(x.spokes))] }

// address gives an underlay address that nobody has or had.
func (x *clouded) address() string {
	x.free++
	return netip.AddrFrom4([4]byte{198, 18 + byte(x.free>>16), byte(x.free >> 8), byte(x.free)}).String()
}

// addHub adds a hub with 10.0.0.number.
func (x *clouded) addHub(number int, change func(c *engine.Config)) *nhrptest.Node {
	c := engine.Config{
		Tunnel: "dmvpn0", Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(number)}), 16), MTU: 1400,
		Redirect: true, HoldingTime: x.holding,
	}
	if change != nil {
		change(&c)
	}
	h := x.Add(fmt.Sprint("H", number), fmt.Sprintf("192.0.2.%d", number), c)
	x.hubs = append(x.hubs, h)
	return h
}

// addSpokes adds the spokes of a region: 10.0.region.i with 10.region.i.0/24. Every fifth is
// behind a NAT of its own.
func (x *clouded) addSpokes(region, n int, change func(c *engine.Config), servers ...engine.NHS) {
	for i := 1; i <= n; i++ {
		c := engine.Config{
			Tunnel: "dmvpn0", Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(region), byte(i)}), 16), MTU: 1400,
			Shortcut: true, HoldingTime: x.holding, NHS: servers,
			Networks: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(region), byte(i), 0}), 24)},
		}
		if change != nil {
			change(&c)
		}
		x.spokes = append(x.spokes, x.Add(fmt.Sprintf("S%d.%d", region, i), x.address(), c, func(n *nhrptest.Node) {
			if i%5 == 0 {
				n.NAT = addr(x.address())
			}
		}))
	}
}

// host is an address on a node's LAN.
func lan(n *nhrptest.Node) netip.Addr { return n.Config.Networks[0].Addr().Next() }

// addFlows begins flows between spokes at random.
func (x *clouded) addFlows(n int) {
	for len(x.flows) < n {
		if a, b := x.pick(), x.pick(); a != b && !slices.Contains(x.flows, flow{a, b}) && !slices.Contains(x.flows, flow{b, a}) {
			x.flows = append(x.flows, flow{a, b})
		}
	}
}

// pass lets a time pass in which every flow sends a packet each way at each beat, and looks
// each time whether all that must always be so is.
func (x *clouded) pass(d time.Duration) {
	x.t.Helper()
	for end := x.Now.Add(d); x.Now.Before(end); {
		x.Run(x.beat)
		for _, f := range x.flows {
			x.send(f)
			x.send(flow{f.b, f.a})
		}
		x.check()
	}
}

// wires sets the loss, and doubles and disorders packets where there is one.
func (x *clouded) wires(loss float64) {
	x.Wire = nhrptest.Wire{Delay: 20 * time.Millisecond, Jitter: 200 * time.Millisecond, Loss: loss, Duplicate: loss / 2}
}

// settle is how long after a trouble packets may be lost: as long as it takes to tell
// everyone, if nothing is lost on the way, else until it ends by itself.
func (x *clouded) settle() time.Duration {
	if x.Wire.Loss > 0 {
		return x.holding
	}
	return 2*time.Second + 8*x.Wire.Jitter
}

// move gives a spoke another address, or its NAT.
func (x *clouded) move(n *nhrptest.Node) {
	x.leaves(n)
	if n.NAT.IsValid() {
		n.NAT = addr(x.address())
		x.excuse(n, x.holding/3+x.settle()) // it does not know before it registers again
		return
	}
	if x.free%2 == 0 {
		n.Move("") // before it has another
	}
	n.Move(x.address())
	x.excuse(n, x.settle())
}

// end takes a node's daemon and its data plane off the network; begin brings it back.
func (x *clouded) end(n *nhrptest.Node) (state []byte) {
	x.leaves(n)
	x.dead[n.NBMA] = true
	return n.Kill()
}

func (x *clouded) begin(n *nhrptest.Node, state []byte) {
	delete(x.dead, n.NBMA)
	x.comes(n)
	n.Start(state)
}

// stop ends a spoke's daemon in good order.
func (x *clouded) stop(n *nhrptest.Node) {
	n.Input(engine.Stop{})
	x.After(time.Second, func() { x.end(n) })
	x.excuse(n, 2*time.Second)
}
