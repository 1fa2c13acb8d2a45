// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"sync/atomic"
	"time"

	"dmvpn/loader/tables"
)

// DefaultMulticastRate is how many copies a second a tunnel sends where nothing else is
// configured.
const DefaultMulticastRate = 10000

// multicast bounds and counts the copies of multicast and broadcast. What stays on the link
// (RFC 5771, section 4; RFC 4291, section 2.7: hellos of routing protocols) has a share of
// its own, which a stream of the rest does not use up.
type multicast struct {
	link, wide bucket

	packets, copies, limited, nobody atomic.Uint64
}

func newMulticast(rate, burst int) multicast {
	if rate == 0 {
		rate = DefaultMulticastRate
	}
	return multicast{link: bucket{rate: float64(rate), burst: float64(burst)}, wide: bucket{rate: float64(rate), burst: float64(burst)}}
}

// MulticastCount is what became of a tunnel's multicast and broadcast since the pump was made.
type MulticastCount struct {
	Packets uint64 // that were copied
	Copies  uint64 // of them, handed on to be sent
	Limited uint64 // packets dropped because there were too many
	Nobody  uint64 // packets dropped because nobody gets any
}

// Multicast gives the counters. It is safe for concurrent use.
func (p *Pump) Multicast() MulticastCount {
	m := &p.multicast
	return MulticastCount{m.packets.Load(), m.copies.Load(), m.limited.Load(), m.nobody.Load()}
}

// replicate sends a copy to everyone who gets multicast, or to nobody: if there were too
// many, those at the end of the list would never get any.
func (p *Pump) replicate(s *sealer, v vnet, packet inner) {
	m, t := &p.multicast, p.config.Tables
	var to []tables.PeerID
	if p.config.Multicast != nil && packet.leaves() {
		p.greetings.remember(time.Now(), v, packet)
		to = p.config.Multicast(packet.six())
	}
	if len(to) == 0 {
		m.nobody.Add(1)
		t.CountDrop(0, tables.DropMulticast, len(packet.b))
		return
	}
	share := &m.wide
	if packet.onLink() {
		share = &m.link
	}
	if !share.takeMany(time.Now(), len(to)) {
		m.limited.Add(1)
		t.CountDrop(0, tables.DropMulticastRate, len(packet.b))
		return
	}
	m.packets.Add(1)
	m.copies.Add(uint64(len(to)))
	s.end() // what went before leaves before
	for _, id := range to {
		p.sendAll(id, v, packet)
	}
}

// leaves says whether a packet may leave the node: groups of scope 0 and 1 do not (RFC 4291,
// section 2.7).
func (p inner) leaves() bool { return !p.six() || p.b[25]&0x0f > 1 }

// onLink says whether a packet is for a group of the link alone, 224.0.0.0/24 or ff02::/16.
func (p inner) onLink() bool {
	if p.six() {
		return p.b[24] == 0xff && p.b[25]&0x0f == 2
	}
	return p.b[16] == 224 && p.b[17] == 0 && p.b[18] == 0
}
