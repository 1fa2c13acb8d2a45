// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"dmvpn/loader/tables"
)

// A path is one way through the gateway, measured against plain forwarding
// between the same ports.
type path struct {
	name    string
	octets  int // of the IP packet that is forwarded, without tunnel headers
	in      port
	out     far
	plain   frame
	tunnel  frame
	counted func(tables.Stats) uint64 // which counter shows that it was the tunnel

	packets   uint64 // a round
	gens      [variants]*generator
	time      [variants][]time.Duration // a round each
	sent      [variants]uint64
	delivered [variants]uint64
	seen      uint64
	alone     time.Duration // our programs' part of a packet, by the kernel's account
}

// What is measured of a path. The idle ones are their generators alone, whose
// time is subtracted.
const (
	plain = iota
	plainIdle
	tunneled
	tunneledIdle
	variants
)

// paths gives what is measured.
func paths(g *gateway) []*path {
	encapsulated := func(s tables.Stats) uint64 { return s.TxPackets }
	decapsulated := func(s tables.Stats) uint64 { return s.RxPackets }
	local := fixed(wanAddress.String())
	var list []*path
	for _, octets := range []int{64, 1400} {
		list = append(list,
			&path{name: "encapsulation", octets: octets, in: g.lan, out: g.wanEnd, counted: encapsulated,
				plain:  plainFrame(g.lan.mac, octets, random(lanHosts), random(plainSites)),
				tunnel: plainFrame(g.lan.mac, octets, random(lanHosts), random(tunnelSites))},
			&path{name: "decapsulation", octets: octets, in: g.wan, out: g.lanEnd, counted: decapsulated,
				plain: plainFrame(g.wan.mac, octets, random(plainSites), random(lanHosts)),
				tunnel: greFrame(g.wan.mac, octets, random(nbma), local, tunnelKey,
					random(tunnelSites), random(lanHosts))},
			&path{name: "hairpin", octets: octets, in: g.wan, out: g.wanEnd, counted: encapsulated,
				plain: plainFrame(g.wan.mac, octets, random(plainSites), partnerOf(plainSites)),
				tunnel: greFrame(g.wan.mac, octets, random(nbma), local, tunnelKey,
					random(tunnelSites), partnerOf(tunnelSites))},
		)
	}
	return list
}

func (p *path) load(peers int) (err error) {
	frames := [variants]frame{plain: p.plain, plainIdle: p.plain, tunneled: p.tunnel, tunneledIdle: p.tunnel}
	for v, f := range frames {
		verdict := int32(xdpPass)
		if v == plainIdle || v == tunneledIdle {
			verdict = xdpDrop
		}
		if p.gens[v], err = newGenerator(f, peers, verdict); err != nil {
			return err
		}
	}
	return nil
}

func (p *path) close() {
	for _, g := range p.gens {
		if g != nil {
			g.close()
		}
	}
}

// measurePackets fills every path's times, in rounds in which each variant has
// its turn, so that what disturbs the machine disturbs all alike.
func measurePackets(g *gateway, t *tunnel, list []*path, cpu, rounds, packets int) error {
	c, err := newClock(cpu)
	if err != nil {
		return err
	}
	for round := -1; round < rounds; round++ {
		for _, p := range list {
			for v := range variants {
				n := packets
				if round < 0 {
					n = packets/10 + 1 // warm: neighbours, caches, flow entries
				}
				p.packets = uint64(packets)
				took, err := p.once(g, t, c, cpu, v, n)
				if err != nil {
					return fmt.Errorf("%s, %d octets: %w", p.name, p.octets, err)
				}
				if round >= 0 {
					p.time[v] = append(p.time[v], took)
				}
			}
		}
	}
	return nil
}

// once gives the CPU time of packets through one variant. A turn in which the
// kernel's queue of received packets overflowed was disturbed by others, and
// packets are missing in it: it is repeated.
func (p *path) once(g *gateway, t *tunnel, c *clock, cpu, v, packets int) (time.Duration, error) {
	for try := 1; ; try++ {
		before, err := overflows()
		if err != nil {
			return 0, err
		}
		turn, err := p.turn(g, t, c, cpu, v, packets)
		if err != nil {
			return 0, err
		}
		after, err := overflows()
		if err != nil {
			return 0, err
		}
		if after > before && try < 5 {
			continue
		}
		p.sent[v] += turn.sent
		p.delivered[v] += turn.delivered
		if v == tunneled {
			p.seen += turn.seen
		}
		return turn.took, nil
	}
}

// A turn is what came of packets through one variant.
type turn struct {
	took                  time.Duration
	sent, delivered, seen uint64 // seen: by our programs
}

// turn sends packets through one variant.
func (p *path) turn(g *gateway, t *tunnel, c *clock, cpu, v, packets int) (r turn, err error) {
	idle := v == plainIdle || v == tunneledIdle
	before, err := p.counters(t, idle)
	if err != nil {
		return r, err
	}
	err = g.Do(func() error {
		if err := pin(cpu); err != nil {
			return err
		}
		start, err := c.now()
		if err != nil {
			return err
		}
		if err := p.gens[v].send(p.in.index, packets); err != nil {
			return err
		}
		end, err := c.now()
		r.took = end - start
		return err
	})
	if err != nil || idle {
		return r, err
	}
	after, err := p.counters(t, idle)
	if err != nil {
		return r, err
	}
	r.sent, r.delivered = uint64(packets), after.arrived-before.arrived
	r.seen = p.counted(after.stats) - p.counted(before.stats)
	if v == plain && r.seen != 0 {
		return r, fmt.Errorf("%d packets of plain forwarding went through the tunnel", r.seen)
	}
	return r, nil
}

type counters struct {
	arrived uint64
	stats   tables.Stats
}

func (p *path) counters(t *tunnel, idle bool) (c counters, err error) {
	if idle {
		return c, nil
	}
	if c.arrived, err = p.out.arrived(); err != nil {
		return c, err
	}
	c.stats, err = t.counted()
	return c, err
}

// proven says what is missing of the packets that were sent: each must have
// arrived at the far end, and the programs must have counted each of the tunnel.
func (p *path) proven() error {
	for _, v := range []int{plain, tunneled} {
		// A neighbour's or another's stray frame may arrive too, so at least.
		if p.delivered[v] < p.sent[v] {
			return fmt.Errorf("%s, %d octets: %d packets sent, %d arrived", p.name, p.octets, p.sent[v], p.delivered[v])
		}
	}
	if p.seen != p.sent[tunneled] {
		return fmt.Errorf("%s, %d octets: %d packets sent, the programs counted %d", p.name, p.octets, p.sent[tunneled], p.seen)
	}
	return nil
}
