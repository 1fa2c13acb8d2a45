// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// confine takes off an answer that passes what its sender, an authenticated client, is not known
// to reach: the requester would send it what is for others. Of the prefix stays what the client has
// registered or is routed to it here, and of that what nobody else is known to reach.
func (m *Machine) confine(in Packet, p *wire.Packet) {
	if in.From.Identity == "" || m.fromServer(in.From) {
		return
	}
	for i := range p.CIEs {
		c := &p.CIEs[i]
		claimed := c.Prefix(p.DestinationProtocol)
		if c.Code.NAK() || !claimed.IsValid() {
			continue
		}
		if bits := m.reachedBy(in.From, p.DestinationProtocol, claimed); bits > claimed.Bits() {
			c.PrefixLength = uint8(bits)
			m.count("answer-cut")
			m.complain(in.From, "answer to %v: of %v only the %d bits around %v lead to the responder", p.SourceProtocol, claimed, bits, p.DestinationProtocol)
		}
	}
}

// reachedBy is the length of the widest prefix around a destination, within one, all of which
// is reached by a client as far as we know.
func (m *Machine) reachedBy(e Endpoint, destination netip.Addr, within netip.Prefix) int {
	bits := destination.BitLen()
	if to, ok := m.onward(destination); !ok || !to.Is(e) {
		return bits
	}
	r, _ := m.routed(destination) // there is one: it leads onward
	bits = r.Prefix.Bits()
	for _, q := range m.bindings.Overlapping(host(destination)) {
		if b, ok := m.bindings.Get(q); ok && b.To.Is(e) {
			bits = min(bits, q.Bits())
		}
	}
	bits = max(bits, within.Bits())
	p, _ := destination.Prefix(bits)
	avoid := func(q netip.Prefix) {
		if q.Addr().BitLen() == destination.BitLen() && q.Bits() > p.Bits() && !q.Contains(destination) && p.Overlaps(q) {
			bits = max(bits, common(destination, q.Masked().Addr())+1)
		}
	}
	for _, q := range m.bindings.Overlapping(p) {
		if b, ok := m.bindings.Get(q); ok && !b.To.Is(e) {
			avoid(q)
		}
	}
	for _, n := range m.cfg.Networks {
		avoid(n)
	}
	if r.NHRP { // registered: routes inside, which takes long to look for, are as a rule its own
		return bits
	}
	for _, q := range m.env.Routes.Inside(p) {
		if to, ok := m.onward(q.Addr()); !ok || !to.Is(e) {
			avoid(q)
		}
	}
	return bits
}

// isAnothers says that a next hop is known as somebody else's than an endpoint's.
func (m *Machine) isAnothers(hop netip.Addr, e Endpoint) bool {
	if to, ok := m.hopEndpoint(hop); ok {
		return !to.Is(e)
	}
	if t, ok := m.told.Get(hop); ok && !t.To.Is(e) {
		return true
	}
	for _, s := range m.via[hop] {
		if !s.To.Is(e) {
			return true
		}
	}
	return false
}

// unvouched narrows an answer that came past our servers, straight from an authenticated peer, to
// the host that was asked for: nobody has looked whether more is its own. What the operator lists
// for the peer is.
func (m *Machine) unvouched(from Endpoint, destination netip.Addr, list []alternative) {
	for i := range list {
		a := &list[i]
		c := wire.CIE{PrefixLength: a.Bits}
		p := c.Prefix(destination)
		if !p.IsValid() || p == host(destination) {
			continue
		}
		if m.env.Allowed != nil {
			if x, ok := m.env.Allowed(from.Identity); ok && x.listing(p) != unlisted {
				continue
			}
		}
		a.Bits = uint8(destination.BitLen())
		m.count("answer-cut-to-host")
	}
}
