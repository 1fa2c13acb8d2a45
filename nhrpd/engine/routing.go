// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"
)

// routed is the routed path of a destination: that of the kernel's routes which
// NHRP did not install, and of the routes that stand for it all the same: what
// clients registered and what an NHS is configured to reach. Shortcuts are no
// part of it.
func (m *Machine) routed(destination netip.Addr) (Route, bool) {
	if destination == m.own() {
		return Route{Prefix: host(destination), Local: true}, true
	}
	r, ok := m.env.Routes.LookupWithout(destination)
	if ok && r.Local {
		return r, true
	}
	if p, b, found := m.bindings.Lookup(destination); found && (!ok || p.Bits() > r.Prefix.Bits() || r.Tunnel && p.Bits() == r.Prefix.Bits()) {
		r, ok = Route{Prefix: p, NextHop: b.Protocol, Tunnel: true, NHRP: true}, true
	}
	for _, s := range m.ranked() {
		for _, p := range s.conf.Routes {
			// A default route by the tunnel is meant to win over the underlay's.
			if p.Contains(destination) && (!ok || p.Bits() > r.Prefix.Bits() || p.Bits() == 0 && !r.Tunnel && r.Prefix.Bits() == 0) {
				r, ok = Route{Prefix: p.Masked(), NextHop: s.Protocol, Tunnel: true, NHRP: true}, true
			}
		}
	}
	return r, ok
}

// egress says whether we are where a destination leaves the overlay, for which prefix
// around it that is true as well, and whether that is stable: on a link of ours (RFC 2332,
// section 5.2.2). The prefix is the widest that has no more specific route inside, never a
// default route; beyond a further router it is the host, but for what the operator says
// that this site serves (section 6.3).
func (m *Machine) egress(destination netip.Addr) (prefix netip.Prefix, stable, ok bool) {
	r, ok := m.routed(destination)
	if !ok || r.Tunnel && !r.Local || m.local.is(destination) {
		return netip.Prefix{}, false, false
	}
	if r.Local && m.cfg.Address.Contains(destination) {
		return host(destination), true, true
	}
	p := r.Prefix.Masked()
	stable = r.Local || r.Attached && !tooWide(p)
	network, configured := m.network(destination)
	switch {
	case configured && (r.Local || tooWide(p) || !r.Attached && network.Bits() > p.Bits()):
		p = network
	case !configured && !stable && !tooWide(p):
		p = host(destination)
	}
	if s, ok := m.summary(destination); ok && s.Bits() <= p.Bits() {
		return s, stable, true
	}
	if tooWide(p) {
		return netip.Prefix{}, false, false
	}
	if p.IsSingleIP() {
		return p, stable, true
	}
	return m.around(p, destination), stable, true
}

// network is what this site serves and has an address in.
func (m *Machine) network(a netip.Addr) (netip.Prefix, bool) {
	for _, n := range m.cfg.Networks {
		if n.Contains(a) {
			return n.Masked(), true
		}
	}
	return netip.Prefix{}, false
}

// around narrows p until nothing in it, around the address, has a route of its
// own, and nothing of it is on the underlay or in the overlay's own prefix.
func (m *Machine) around(p netip.Prefix, a netip.Addr) netip.Prefix {
	bits := p.Bits()
	avoid := func(q netip.Prefix) {
		if q.Addr().BitLen() == a.BitLen() && q.Bits() > p.Bits() && !q.Contains(a) && p.Overlaps(q) {
			bits = max(bits, common(a, q.Masked().Addr())+1)
		}
	}
	for _, q := range m.env.Routes.Inside(p) {
		avoid(q)
	}
	for _, q := range m.bindings.Overlapping(p) {
		avoid(q)
	}
	avoid(m.cfg.Address.Masked())
	for _, own := range []netip.Addr{m.local.IPv4, m.local.IPv6} {
		if own.IsValid() {
			avoid(host(own))
		}
	}
	narrowed, _ := a.Prefix(bits)
	return narrowed
}

// common is the number of leading bits that two addresses of one family share.
func common(a, b netip.Addr) int {
	x, y := a.AsSlice(), b.AsSlice()
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			n := 8 * i
			for d&0x80 == 0 {
				d <<= 1
				n++
			}
			return n
		}
	}
	return 8 * len(x)
}

// hopEndpoint is where an overlay next hop is, if NHRP may be sent to it: an NHS, one
// that is mapped or a client, by rank as in wantHop.
func (m *Machine) hopEndpoint(hop netip.Addr) (Endpoint, bool) {
	for _, s := range m.ranked() {
		if s.Protocol == hop {
			return s.Bound, true
		}
	}
	if to, ok := m.mapped(hop); ok {
		return to, true
	}
	if b, ok := m.bindings.Get(host(hop)); ok {
		return b.To, true
	}
	return Endpoint{}, false
}

// servedElsewhere says that a client may not have its address from an endpoint: it is that of an
// NHS of ours, by configuration or by its own word, which is elsewhere.
func (m *Machine) servedElsewhere(protocol netip.Addr, from Endpoint) bool {
	return slices.ContainsFunc(m.servers, func(s *server) bool {
		it := s.Bound.Is(from) || !s.Up && slices.Contains(s.Addresses, from.NBMA)
		return !it && (s.Protocol == protocol || s.conf.Protocol == protocol)
	})
}

// fromServer says that an endpoint is one of our next hop servers. One that has us registered
// counts although we do not use it, or not yet again: others may reach us by it.
func (m *Machine) fromServer(e Endpoint) bool {
	for _, s := range m.servers {
		if (s.Up || m.now < s.own().Until) && s.Bound.Is(e) {
			return true
		}
	}
	return false
}

// speaksFor says whether a packet with that source protocol address may come
// from the endpoint: it is an NHS, which passes others' packets on, the client
// that registered the address, the peer of a shortcut, one whom we answered, or the hub
// of a region below us.
func (m *Machine) speaksFor(from Endpoint, protocol netip.Addr) bool {
	if m.fromServer(from) {
		return true
	}
	if to, ok := m.mapped(protocol); ok {
		return to.Is(from)
	}
	if b, ok := m.bindings.Get(host(protocol)); ok {
		return b.To.Is(from)
	}
	if t, ok := m.told.Get(protocol); ok && t.To.Is(from) {
		return true
	}
	for _, q := range m.purges.All() {
		if q.Protocol == protocol && q.To.Is(from) {
			return true
		}
	}
	for _, s := range m.via[protocol] {
		if s.To.Is(from) {
			return true
		}
	}
	return m.below(from, protocol)
}

// below says whether the way to an address of the overlay is a client of ours: that of a
// region below us, which passes on what its own clients send. A route says so, never what
// anybody registered.
func (m *Machine) below(from Endpoint, protocol netip.Addr) bool {
	if _, registered := m.bindings.Get(host(protocol)); registered {
		return false
	}
	r, ok := m.routed(protocol)
	if !ok || !r.Tunnel || r.Local || r.NextHop == protocol {
		return false
	}
	b, ok := m.bindings.Get(host(r.NextHop))
	return ok && b.To.Is(from)
}
