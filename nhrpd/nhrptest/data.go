// SPDX-License-Identifier: Apache-2.0

package nhrptest

import (
	"fmt"
	"net/netip"
	"strings"

	"dmvpn/nhrpd/engine"
)

// Delivery is what became of a data packet: the nodes that it passed, and why it
// was dropped, "" if it arrived.
type Delivery struct {
	Path    []string
	Dropped string
}

// String is the path, as S1 H S2.
func (d Delivery) String() string {
	s := strings.Join(d.Path, " ")
	if d.Dropped != "" {
		s += ": " + d.Dropped
	}
	return s
}

// Send sends a data packet of some octets from a node on the way of its routes,
// in no time. A node that gets it by the tunnel and sends it on by the tunnel
// tells its machine, as the data plane does.
func (n *Node) Send(source, destination string, size int) Delivery {
	return n.SendTo(netip.MustParseAddr(source), netip.MustParseAddr(destination), size)
}

// SendTo is Send between addresses.
func (n *Node) SendTo(src, dst netip.Addr, size int) Delivery {
	data := func() []byte { return inner(src, dst) }
	return n.follow(dst, func(n *Node, h hop) {
		if h.missed && n.Machine != nil {
			n.Input(engine.Miss{NextHop: h.NextHop, Data: data()})
		}
		if h.hairpin && n.Config.Redirect && n.Machine != nil {
			n.Input(engine.Redirect{Data: data()})
		}
		if h.out {
			sent := n.traffic[h.To.Key()]
			sent.Sent, sent.Bytes = sent.Sent+1, sent.Bytes+uint64(size)
			n.traffic[h.To.Key()] = sent
		}
		if h.at != nil {
			got := h.at.traffic[h.from.Key()]
			got.Received, got.Bytes = got.Received+1, got.Bytes+uint64(size)
			h.at.traffic[h.from.Key()] = got
		}
	})
}

// Follow says what would become of a packet from the node now, and changes nothing.
func (n *Node) Follow(destination netip.Addr) Delivery {
	return n.follow(destination, func(*Node, hop) {})
}

// Toward is where the node's data plane sends a packet for an address; false: nowhere by the
// tunnel.
func (n *Node) Toward(destination netip.Addr) (engine.Endpoint, bool) {
	h, reason := n.hop(destination, false)
	return h.To, h.out && reason == ""
}

// hop is one step of a packet.
type hop struct {
	NextHop netip.Addr
	missed  bool            // it has no peer
	out     bool            // it leaves by the tunnel, to To
	hairpin bool            // after it came in by it
	To      engine.Endpoint // of NextHop, or the fallback's
	from    engine.Endpoint // as To sees us
	at      *Node           // who gets it, nil if nobody does
}

// hop looks a destination up as the data plane does, and says why it is dropped here. What
// came by the tunnel never goes by the fallback: it may have come from there.
func (n *Node) hop(destination netip.Addr, transit bool) (h hop, dropped string) {
	r, ok := n.Lookup(destination)
	switch {
	case !ok:
		return h, "no route"
	case r.Local:
		return h, ""
	case !r.Tunnel:
		if r.Prefix.Bits() == 0 {
			return h, "it leaves for the Internet"
		}
		return h, ""
	}
	h.NextHop = r.NextHop
	if h.To, ok = n.Bound[r.NextHop]; !ok {
		h.missed = true
		if h.To, ok = n.Bound[n.Fallback]; !ok || transit {
			return h, "next hop " + r.NextHop.String() + " has no peer"
		}
	}
	h.out = true
	return h, ""
}

// follow goes with a packet and tells see of every step: before what is changed by it, but
// for the misses, which are told when all is over.
func (n *Node) follow(destination netip.Addr, see func(*Node, hop)) (d Delivery) {
	for ttl := 0; ; ttl++ {
		d.Path = append(d.Path, n.Name)
		if ttl == 8 {
			d.Dropped = "it runs in a circle"
			return d
		}
		h, dropped := n.hop(destination, ttl > 0)
		if h.missed {
			defer see(n, hop{NextHop: h.NextHop, missed: true})
		}
		if d.Dropped = dropped; !h.out {
			return d
		}
		if ttl > 0 {
			see(n, hop{hairpin: true})
		}
		see(n, hop{out: true, To: h.To})
		h.at, h.from = n.world.at(n, h.To)
		if h.at == nil || n.world.Cut(h.from.NBMA, h.To.NBMA) {
			d.Dropped = fmt.Sprintf("nobody is at %v", h.To.NBMA)
			return d
		}
		if !h.at.Accepted[h.from.Key()] {
			d.Path = append(d.Path, h.at.Name)
			d.Dropped = fmt.Sprintf("%v is not known there", h.from.NBMA)
			return d
		}
		see(n, hop{at: h.at, from: h.from})
		n = h.at
	}
}

// inner is an IP header with the addresses, and 8 octets of UDP.
func inner(source, destination netip.Addr) []byte {
	if source.Is6() {
		b := make([]byte, 48)
		b[0], b[5], b[6], b[7] = 0x60, 8, 17, 64
		copy(b[8:], source.AsSlice())
		copy(b[24:], destination.AsSlice())
		return b
	}
	b := make([]byte, 28)
	b[0], b[3], b[8], b[9] = 0x45, 28, 64, 17
	s, d := source.As4(), destination.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	return b
}
