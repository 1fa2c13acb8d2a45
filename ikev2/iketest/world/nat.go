// SPDX-License-Identifier: Apache-2.0

package world

import (
	"maps"
	"net/netip"
)

// NAT stands before one or more ends, whose inside addresses may be equal. It keeps one
// outside port for each inside endpoint, and lets in only what comes from where the
// inside endpoint has sent to (RFC 4787: endpoint-independent mapping, address and port-
// dependent filtering).
type NAT struct {
	Outside netip.Addr
	// Open lets everything in that has a mapping.
	Open bool
	// Count of packets that were let in to nobody.
	Dropped int

	next  uint16
	ports map[inside]uint16
	holes map[hole]bool
	world *World
}

type inside struct {
	end   *End
	local netip.AddrPort
}

type hole struct {
	inside
	remote netip.AddrPort
}

// NAT puts ends behind a new NAT.
func (w *World) NAT(outside string, ends ...*End) *NAT {
	n := &NAT{Outside: netip.MustParseAddr(outside), next: 20000, ports: map[inside]uint16{}, holes: map[hole]bool{}, world: w}
	for _, e := range ends {
		e.nat = n
	}
	return n
}

// Forget drops all mappings, as a NAT does that was silent for too long or restarts.
func (n *NAT) Forget() {
	n.world.log("the NAT at %s forgets", n.Outside)
	clear(n.ports)
	clear(n.holes)
}

// Swap exchanges the outside ports of two ends' endpoints that have the same port inside.
func (n *NAT) Swap(a, b *End) {
	n.world.log("the NAT at %s exchanges %s and %s", n.Outside, a.Name, b.Name)
	for x, port := range n.ports {
		y := inside{b, netip.AddrPortFrom(b.Address, x.local.Port())}
		if x.end == a && n.ports[y] != 0 {
			n.ports[x], n.ports[y] = n.ports[y], port
		}
	}
}

// Port is the outside port of an end's port, as a mapping has it or will have it.
func (n *NAT) Port(e *End, port uint16) netip.AddrPort {
	at := inside{e, netip.AddrPortFrom(e.Address, port)}
	if n.ports[at] == 0 {
		n.next++
		n.ports[at] = n.next
	}
	return netip.AddrPortFrom(n.Outside, n.ports[at])
}

// Reached is where others reach a port of the end.
func (e *End) Reached(port uint16) netip.AddrPort {
	if e.nat == nil {
		return netip.AddrPortFrom(e.Address, port)
	}
	return e.nat.Port(e, port)
}

// source is where a packet of an end seems to come from, outside of its NAT, which
// opens a hole for the answers.
func (e *End) source(local, remote netip.AddrPort) netip.AddrPort {
	if e.nat == nil {
		return local
	}
	e.nat.holes[hole{inside{e, local}, remote}] = true
	return e.nat.Port(e, local.Port())
}

// route finds who gets a packet, and at which endpoint; nil for nobody.
func (w *World) route(source, remote netip.AddrPort) (*End, netip.AddrPort) {
	for _, e := range w.Ends {
		switch {
		case e.nat == nil && e.Address == remote.Addr():
			return e, remote
		case e.nat == nil || e.nat.Outside != remote.Addr():
			continue
		}
		for at, port := range e.nat.ports {
			if at.end == e && port == remote.Port() && (e.nat.Open || e.nat.holes[hole{at, source}]) {
				return e, at.local
			}
		}
	}
	for _, e := range w.Ends {
		if e.nat != nil && e.nat.Outside == remote.Addr() {
			e.nat.Dropped++
			w.log("the NAT drops a packet from %s to %s", source, remote)
			break
		}
	}
	return nil, netip.AddrPort{}
}

// Behind puts an end behind a NAT that is there already, or before all.
func (e *End) Behind(n *NAT) { e.nat = n }

// ForgetOnly drops the mappings of one end.
func (n *NAT) ForgetOnly(e *End) {
	n.world.log("the NAT at %s forgets %s", n.Outside, e.Name)
	maps.DeleteFunc(n.ports, func(at inside, _ uint16) bool { return at.end == e })
	maps.DeleteFunc(n.holes, func(h hole, _ bool) bool { return h.end == e })
}

// Forward lets the NAT send all that comes to its ports 500 and 4500 to an end's.
func (n *NAT) Forward(e *End) {
	n.Open = true
	for _, port := range []uint16{500, 4500} {
		n.ports[inside{e, netip.AddrPortFrom(e.Address, port)}] = port
	}
}
