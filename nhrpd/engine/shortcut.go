// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"net/netip"
	"slices"

	"dmvpn/nhrpd/wire"
)

// takeAnswer makes a shortcut of the best entry of an answer that fits its request, or
// says why none does. The others wait.
func (m *Machine) takeAnswer(q *request, list []alternative) {
	reason, best := "", netip.Addr{}
	if len(list) > 0 {
		best = list[0].NextHop
	}
	for len(list) > 0 {
		why := m.unfit(list[0], q.Destination)
		if why == "" {
			break
		}
		reason = cmp.Or(reason, why)
		list = list[1:]
	}
	r, ok := m.routed(q.Destination)
	if len(list) > 0 {
		if reason = ""; !ok || !r.Tunnel || r.Local {
			reason = "the destination is not reached by the tunnel any more"
		}
	}
	if reason != "" {
		m.drop("answer")
		m.noAnswer(q, best, 0, reason, negativeNone)
		return
	}
	s := m.shortcutBy(list[0], q.Destination, r.NextHop)
	s.Prefix = m.acceptable(list[0], q.Destination, r)
	for _, a := range list[1:] {
		if m.unfit(a, q.Destination) == "" && m.acceptable(a, q.Destination, r) == s.Prefix {
			s.Others = append(s.Others, a)
		}
	}
	old, had := m.shortcutFor(q.Destination)
	m.storeShortcut(s)
	if had && old.Destination == s.Destination && old.Prefix != s.Prefix {
		m.removeShortcut(old, "answered by "+s.Prefix.String()+" now", false)
	}
}

// shortcutBy begins a shortcut; via is the next hop of the routed path.
func (m *Machine) shortcutBy(a alternative, destination, via netip.Addr) *shortcut {
	return &shortcut{
		Destination: destination, NextHop: a.NextHop, To: a.To, Claimed: a.Claimed, Via: via, Route: via != a.NextHop,
		Probe: a.Probe, MTU: a.MTU, Holding: a.Until - m.now, Since: m.now, Answered: m.now, Until: a.Until,
	}
}

// acceptable is the part of the answered prefix that we take: all of it, or the
// host where it reaches beyond what can be one site's, holds addresses of the
// underlay, or covers what is ours.
func (m *Machine) acceptable(a alternative, destination netip.Addr, routed Route) netip.Prefix {
	single := host(destination)
	c := wire.CIE{PrefixLength: a.Bits}
	p := c.Prefix(destination)
	if !p.IsValid() || p == single {
		return single
	}
	if tooWide(p) || p.Overlaps(m.cfg.Address.Masked()) || m.holdsUnderlay(p, a.To) {
		m.count("answer-cut-to-host")
		return single
	}
	for _, n := range m.cfg.Networks {
		if p.Overlaps(n.Masked()) {
			m.count("answer-cut-to-host")
			return single
		}
	}
	// A routed prefix that is narrower would win over a wider shortcut.
	if bits := routed.Prefix.Bits(); bits > p.Bits() {
		p, _ = destination.Prefix(bits)
	}
	return p
}

// shortcutFor finds the shortcut that covers an address.
func (m *Machine) shortcutFor(a netip.Addr) (*shortcut, bool) {
	_, s, ok := m.shortcuts.Lookup(a)
	return s, ok
}

// storeShortcut enters a shortcut and makes it: the peer first, then the route.
func (m *Machine) storeShortcut(s *shortcut) {
	old, known := m.shortcuts.Get(s.Prefix)
	if !known {
		for m.shortcuts.Len()+m.negatives.Len() >= m.cfg.Limits.Cached {
			k, _, ok := m.negatives.First()
			if !ok {
				m.drop("shortcut-limit")
				return
			}
			m.negatives.Delete(k)
		}
	}
	if known {
		if old.To.Is(s.To) && old.NextHop == s.NextHop {
			s.Since = old.Since
		}
		m.unlink(old)
	}
	m.via[s.NextHop] = append(m.via[s.NextHop], s)
	m.shortcuts.Put(s.Prefix, s, s.Until)
	s.Refresh = m.now + max(s.Holding*2/3, shortestRefresh)
	m.refreshes.Set(s.Prefix, s.Refresh)
	m.negatives.Delete(s.Destination)
	m.startUse(s.To)
	if s.Probe {
		m.startPath(s.To, s.NextHop)
	}
	const reason = "resolved"
	m.settleHop(s.NextHop, reason)
	m.settleRoute(s.Prefix, reason)
	if !known {
		m.report(Info, s.To, "shortcut to %v by %v", s.Prefix, s.NextHop)
		return
	}
	if old.NextHop != s.NextHop {
		m.settleHop(old.NextHop, "resolved otherwise")
	}
	m.endUse(old.To)
	if old.Probe {
		m.endPath(old.To)
	}
}

func (m *Machine) unlink(s *shortcut) {
	list := slices.DeleteFunc(m.via[s.NextHop], func(x *shortcut) bool { return x == s })
	m.via[s.NextHop] = list
	if len(list) == 0 {
		delete(m.via, s.NextHop)
	}
}

// removeShortcut takes a shortcut back: traffic returns to the routed path
// first, and only then does its next hop go. If it was the last to its peer and
// tell is set, the peer learns that what we told it is void as well, so that the
// direct path ends at both ends; its packets are accepted until it has answered,
// or what it was told has expired.
func (m *Machine) removeShortcut(s *shortcut, reason string, tell bool) {
	m.shortcuts.Delete(s.Prefix)
	m.refreshes.Remove(s.Prefix)
	m.unlink(s)
	if id, ok := m.asked[s.Destination]; ok {
		if q, ok := m.requests.Get(id); ok && q.Refresh {
			m.endRequest(q)
		}
	}
	m.settleRoute(s.Prefix, reason)
	m.settleHop(s.NextHop, reason)
	if s.Probe {
		m.endPath(s.To)
	}
	m.report(Info, s.To, "shortcut to %v by %v ended: %s", s.Prefix, s.NextHop, reason)
	if m.endUse(s.To) && tell {
		m.voidTold(s.NextHop, s.To)
	}
}

func (m *Machine) expireShortcuts() {
	for {
		p, until, ok := m.shortcuts.First()
		if !ok || until > m.now {
			return
		}
		s, _ := m.shortcuts.Get(p)
		m.removeShortcut(s, "its holding time is over", false)
	}
}

// refreshShortcuts asks again for shortcuts in use before they end (two thirds
// of the holding time); one out of use is looked at again until it expires.
func (m *Machine) refreshShortcuts() {
	for {
		p, ok := m.refreshes.Due(m.now)
		if !ok {
			return
		}
		s, ok := m.shortcuts.Get(p)
		if !ok {
			continue
		}
		s.Refresh = m.now + max((s.Until-m.now)/3, shortestRefresh)
		if s.Refresh < s.Until {
			m.refreshes.Set(p, s.Refresh)
		}
		if _, asked := m.asked[s.Destination]; !asked && m.inUse(s.To) {
			m.ask(s.Destination, true)
		}
	}
}

// routesChanged looks whether shortcuts still follow the routed path, and
// whether what we told others is still true.
func (m *Machine) routesChanged() {
	for _, s := range m.allShortcuts() {
		r, ok := m.routed(s.Destination)
		switch {
		case !ok || !r.Tunnel || r.Local:
			m.removeShortcut(s, "the destination is not reached by the tunnel any more", true)
		case r.Prefix.Bits() > s.Prefix.Bits():
			m.removeShortcut(s, "a more specific route leads elsewhere", true)
		case r.NextHop != s.Via:
			s.Via = r.NextHop
			s.Route = r.NextHop != s.NextHop
			m.settleRoute(s.Prefix, "the routed path changed")
			if _, asked := m.asked[s.Destination]; !asked {
				m.ask(s.Destination, true)
			}
		}
	}
	m.reviewTold()
}

// forgetShortcuts ends those of a configuration that had any, and what is asked for.
func (m *Machine) forgetShortcuts() {
	for _, q := range m.requests.All() {
		m.endRequest(q)
	}
	for _, s := range m.allShortcuts() {
		m.removeShortcut(s, "shortcuts are no longer configured", true)
	}
}

func (m *Machine) allShortcuts() (list []*shortcut) {
	for _, s := range m.shortcuts.All() {
		list = append(list, s)
	}
	return list
}

// leaveShortcuts ends every shortcut, because peers know us where we are no
// longer, and tells those who were told by way of the NHS.
func (m *Machine) leaveShortcuts(reason string) {
	for _, s := range m.allShortcuts() {
		m.removeShortcut(s, reason, false)
	}
	for _, q := range m.requests.All() {
		m.endRequest(q)
	}
	for _, t := range m.told.All() {
		m.forgetTold(t)
		m.startPurge(t, prefixes(t.Answers), false)
	}
}
