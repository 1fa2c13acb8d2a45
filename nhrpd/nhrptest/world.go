// SPDX-License-Identifier: Apache-2.0

// Package nhrptest puts NHRP machines on a mock underlay in virtual time: a wire
// with delay, loss, duplication, reordering and partition, NATs, and beside each
// machine a data plane that forwards as the real one does. A run is decided by
// its seed alone.
package nhrptest

import (
	"cmp"
	"container/heap"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// Wire is what happens to packets between two nodes; chances are 0 to 1.
type Wire struct {
	Delay     time.Duration
	Jitter    time.Duration // added at random: packets overtake each other
	Loss      float64
	Duplicate float64
}

// World is nodes, the wire between them and the time.
type World struct {
	Now   time.Time
	Wire  Wire
	Nodes []*Node
	// Reimport exports every machine before every input and goes on with a
	// fresh one that imported it.
	Reimport bool
	// Cut says that nothing passes between two underlay addresses.
	Cut func(a, b netip.Addr) bool
	// Names is the DNS; a name that it does not have is an error.
	Names map[string][]netip.Addr
	// Trace is every NHRP packet sent and every change of a data plane.
	Trace []string
	// Silent leaves the trace empty.
	Silent bool
	// Seen is called for every NHRP packet that is sent, if it is set.
	Seen func(from *Node, to engine.Endpoint, p *wire.Packet)
	// Arrives is called for every NHRP packet before the machine gets it, if it is set: each
	// copy of it.
	Arrives func(at *Node, from engine.Endpoint, p *wire.Packet)
	// Mangle gives what arrives of a packet, nil if nothing does, if it is set. It
	// may not change the packet in place.
	Mangle func(data []byte) []byte

	random Random
	events events
	count  uint64
}

// Start is when every world begins.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// New makes an empty world with a wire of 10 ms.
func New(seed uint64) *World {
	return &World{
		Now: Start, Wire: Wire{Delay: 10 * time.Millisecond}, Names: map[string][]netip.Addr{},
		Cut: func(a, b netip.Addr) bool { return false }, random: Random{State: seed},
	}
}

// Random is splitmix64: small, seeded, the same everywhere.
type Random struct{ State uint64 }

// Next gives 64 random bits.
func (r *Random) Next() uint64 {
	r.State += 0x9E3779B97F4A7C15
	z := r.State
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Chance is true with a probability.
func (r *Random) Chance(p float64) bool { return float64(r.Next()>>11)/(1<<53) < p }

type event struct {
	at    time.Time
	order uint64
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return cmp.Or(e[i].at.Compare(e[j].at), cmp.Compare(e[i].order, e[j].order)) < 0
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// After does something later.
func (w *World) After(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.events, event{w.Now.Add(d), w.count, do})
}

// Run lets a time pass. It panics if a machine wants tick after tick and no time
// between them.
func (w *World) Run(d time.Duration) {
	end := w.Now.Add(d)
	for ticks := 0; ; ticks++ {
		at, node := w.nextTick()
		switch {
		case len(w.events) > 0 && !w.events[0].at.After(end) && (node == nil || !at.Before(w.events[0].at)):
			e := heap.Pop(&w.events).(event)
			if e.at.After(w.Now) {
				ticks = 0
			}
			w.Now = e.at
			e.do()
		case node != nil && !at.After(end):
			if at.After(w.Now) {
				w.Now, ticks = at, 0
			}
			if ticks > 10000 {
				panic(node.Name + " wants tick after tick at the same instant")
			}
			node.Input(engine.Tick{})
		default:
			w.Now = end
			return
		}
	}
}

// nextTick is the machine that wants a tick first.
func (w *World) nextTick() (time.Time, *Node) {
	var first time.Time
	var who *Node
	for _, n := range w.Nodes {
		if n.Machine != nil && n.wants && (who == nil || n.next.Before(first)) {
			first, who = n.next, n
		}
	}
	return first, who
}

// RunUntil lets time pass until a condition holds, at most limit; it says
// whether it came to hold.
func (w *World) RunUntil(limit time.Duration, holds func() bool) bool {
	for passed := time.Duration(0); passed < limit; passed += 10 * time.Millisecond {
		if holds() {
			return true
		}
		w.Run(10 * time.Millisecond)
	}
	return holds()
}

// send puts an NHRP packet on the wire.
func (w *World) send(from *Node, to engine.Endpoint, data []byte) {
	p, err := wire.Decode(data)
	if err != nil {
		panic(fmt.Sprintf("%s sends what cannot be decoded: %v", from.Name, err))
	}
	w.trace(from, "sends %v to %v", p, to.NBMA)
	if w.Seen != nil {
		w.Seen(from, to, p)
	}
	copies := 1
	if w.random.Chance(w.Wire.Duplicate) {
		copies = 2
	}
	sender := *from // as it is now
	for range copies {
		delay := w.Wire.Delay
		if w.Wire.Jitter > 0 {
			delay += time.Duration(w.random.Next() % uint64(w.Wire.Jitter))
		}
		if w.random.Chance(w.Wire.Loss) {
			continue
		}
		data := data
		if w.Mangle != nil {
			if data = w.Mangle(data); data == nil {
				continue
			}
		}
		w.After(delay, func() {
			if n, source := w.at(&sender, to); n != nil && n.Machine != nil && !w.Cut(source.NBMA, to.NBMA) {
				if w.Arrives != nil {
					w.Arrives(n, source, p)
				}
				n.Input(engine.Packet{From: source, Data: data})
			}
		})
	}
}

// at finds the node that a packet to an endpoint reaches, and as whom it sees the sender:
// by its address from outside, or by its own from behind the same NAT.
func (w *World) at(from *Node, to engine.Endpoint) (*Node, engine.Endpoint) {
	for _, n := range w.Nodes {
		inside := from.NAT.IsValid() && n.NAT == from.NAT
		if !to.NBMA.IsValid() || to.Identity != "" && n.Identity != to.Identity {
			continue
		}
		if by := from.outside(to.NBMA); n.outside(to.NBMA) == to.NBMA && by.IsValid() && (n.Port == to.Port || to.Identity != "") {
			return n, from.seen(by)
		}
		if inside && n.NBMA == to.NBMA {
			return n, from.seen(from.NBMA)
		}
	}
	return nil, engine.Endpoint{}
}

// At is the node that a packet from another to an endpoint reaches, nil if nobody is there.
func (w *World) At(from *Node, to engine.Endpoint) *Node {
	n, source := w.at(from, to)
	if n == nil || w.Cut(source.NBMA, to.NBMA) {
		return nil
	}
	return n
}

func (w *World) trace(n *Node, format string, args ...any) {
	if w.Silent {
		return
	}
	w.Trace = append(w.Trace, fmt.Sprintf("%12v %-4s ", w.Now.Sub(Start), n.Name)+fmt.Sprintf(format, args...))
}

// Traced gives the lines of the trace that have all of the words.
func (w *World) Traced(words ...string) []string {
	var found []string
	for _, line := range w.Trace {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			found = append(found, line)
		}
	}
	return found
}
