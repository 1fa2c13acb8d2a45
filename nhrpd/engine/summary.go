// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"
)

// A summary is a prefix that the operator wants to be answered with in place of the routed one
// (Cisco's `ip nhrp summary-map`): one shortcut for all of a site. It is answered only where
// it is ours to offer and whole: one that is not would draw packets here that belong elsewhere.

// summary gives the summary around a destination that may be answered, the widest one.
func (m *Machine) summary(destination netip.Addr) (best netip.Prefix, ok bool) {
	for _, s := range m.cfg.Summaries {
		if s = s.Masked(); s.Contains(destination) && (!ok || s.Bits() < best.Bits()) && m.granted(s) && m.whole(s) {
			best, ok = s, true
		}
	}
	return best, ok
}

// granted says whether a summary is what this site serves, and no server has refused that.
func (m *Machine) granted(s netip.Prefix) bool {
	covers := func(n netip.Prefix) bool { return n.Bits() <= s.Bits() && n.Contains(s.Addr()) }
	if tooWide(s) || !slices.ContainsFunc(m.cfg.Networks, covers) {
		return false
	}
	for _, x := range m.ranked() {
		for _, r := range x.Registrations[1:] {
			if slices.ContainsFunc(r.Refused, covers) {
				return false
			}
		}
	}
	return true
}

// whole says whether nothing in a summary is reached by the tunnel, is a client's, is in the
// overlay or is on the underlay.
func (m *Machine) whole(s netip.Prefix) bool {
	if s.Overlaps(m.cfg.Address.Masked()) || m.local.IPv4.IsValid() && s.Contains(m.local.IPv4) || m.local.IPv6.IsValid() && s.Contains(m.local.IPv6) {
		return false
	}
	if slices.ContainsFunc(m.bindings.Overlapping(s), func(q netip.Prefix) bool { return q.Bits() >= s.Bits() }) {
		return false
	}
	inside := m.env.Routes.Inside(s)
	for _, q := range inside {
		a, ok := uncovered(q.Masked(), inside)
		if !ok {
			continue // more specific ones take all of it
		}
		if r, ok := m.env.Routes.Lookup(a); ok && r.Tunnel && !r.Local {
			return false
		}
	}
	for _, x := range m.servers {
		for _, p := range x.conf.Routes {
			if p.Bits() >= s.Bits() && s.Contains(p.Addr()) {
				return false
			}
		}
	}
	return true
}

// uncovered gives an address of p that no more specific prefix of the list holds.
func uncovered(p netip.Prefix, list []netip.Prefix) (netip.Addr, bool) {
	var inside []netip.Prefix
	for _, q := range list {
		if q.Bits() > p.Bits() && p.Contains(q.Addr()) {
			inside = append(inside, q)
		}
	}
	if len(inside) == 0 {
		return p.Addr(), true
	}
	for _, half := range halves(p) {
		if slices.ContainsFunc(inside, func(q netip.Prefix) bool { return q.Masked() == half }) {
			continue
		}
		if a, ok := uncovered(half, inside); ok {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// halves are the two parts of a prefix, which is not one address.
func halves(p netip.Prefix) [2]netip.Prefix {
	upper := p.Addr().AsSlice()
	upper[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	a, _ := netip.AddrFromSlice(upper)
	return [2]netip.Prefix{netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(a, p.Bits()+1)}
}
