// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"net/netip"
)

// unlisted stands for the length of a network that no list has.
const unlisted = -1

// listing is the length of the narrowest listed network that a prefix lies in, unlisted if
// there is none.
func (a Allowance) listing(p netip.Prefix) int {
	bits := unlisted
	for _, n := range a.Networks {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			bits = max(bits, n.Bits())
		}
	}
	return bits
}

// collision says what a network of an identity's overlaps that is not its own, "" if
// nothing. bits is its listing. A part of what another one holds would take that part's
// traffic, and what is around it the rest: the operator alone says who may have which.
// Who is listed more narrowly may have what lies in both lists; in one list, or none, it is
// who came first, and stays when it is judged again.
func (m *Machine) collision(identity string, p netip.Prefix, bits int) string {
	if p.Overlaps(m.cfg.Address.Masked()) {
		return "only its own address is a client's in the overlay's prefix"
	}
	for _, n := range m.cfg.Networks {
		if around := p.Bits() < n.Bits(); n.Overlaps(p) && !(around && bits != unlisted) {
			return fmt.Sprintf("it overlaps %v, which is ours", n)
		}
	}
	since := m.now
	if b, ok := m.bindings.Get(p); ok && b.To.Identity == identity {
		since = b.Since
	} else if reason := m.routedElsewhere(identity, p); reason != "" && bits == unlisted {
		return reason
	}
	for _, q := range m.bindings.Overlapping(p) {
		b, ok := m.bindings.Get(q)
		if !ok || b.To.Identity == "" || b.To.Identity == identity {
			continue
		}
		held, first := m.listed(b), b.Since > since
		if around := p.Bits() < q.Bits(); bits > held || bits == held && first || around && bits < held && (bits != unlisted || first) {
			continue
		}
		if p == q {
			return "it is held by " + b.To.Identity
		}
		return fmt.Sprintf("it overlaps %v, held by %s", q, b.To.Identity)
	}
	return ""
}

// routedElsewhere says whose a network is by our routes, if they lead to somewhere else than an identity: to
// a link of ours or, by a routing daemon's word, to another client. A route to a further router says little, for it may
// be for many.
func (m *Machine) routedElsewhere(identity string, p netip.Prefix) string {
	r, ok := m.env.Routes.LookupWithout(p.Addr())
	if !ok || r.Prefix.Bits() > p.Bits() || tooWide(r.Prefix) {
		return ""
	}
	if r.Attached {
		return fmt.Sprintf("it is in %v, on a link of ours", r.Prefix)
	}
	if b, ok := m.bindings.Get(host(r.NextHop)); ok && r.Tunnel && !r.Local && b.To.Identity != identity {
		return fmt.Sprintf("it is in %v, routed to %v", r.Prefix, r.NextHop)
	}
	return ""
}

// listed is the listing of what is registered.
func (m *Machine) listed(b *binding) int {
	if m.env.Allowed == nil {
		return unlisted
	}
	a, _ := m.env.Allowed(b.To.Identity)
	return a.listing(b.Prefix)
}

// displace ends the binding of an identity in whose list a prefix lies less narrowly than in
// that of who registers it now, and was authorized to.
func (m *Machine) displace(b *binding) {
	old, ok := m.bindings.Get(b.Prefix)
	if ok && !b.host() && !old.host() && b.To.Identity != "" && old.To.Identity != "" && !old.To.Is(b.To) && m.listed(b) > m.listed(old) {
		m.removeBinding(old, b.To.Identity+" registered it, and is listed more narrowly")
	}
}
