// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// What the data plane is told follows from what the machine knows: settleHop,
// settleRoute and settleFallback compare the two and say the difference.

// wantHop says which endpoint a next hop is, by rank: a configured NHS, one
// that is mapped, a client that registered, our own resolution.
func (m *Machine) wantHop(hop netip.Addr) (peering, bool) {
	for _, s := range m.servers {
		if s.Up && s.Protocol == hop {
			return peering{To: s.Bound, Server: true, Multicast: m.copied(hop, s.Bound, true)}, true
		}
	}
	if to, ok := m.mapped(hop); ok {
		return peering{To: to, Multicast: m.copied(hop, to, false)}, true
	}
	if b, ok := m.bindings.Get(host(hop)); ok {
		return peering{To: b.To, MTU: b.MTU, Multicast: m.copied(hop, b.To, !b.NoGroups)}, true
	}
	var newest *shortcut
	for _, s := range m.via[hop] {
		if !m.usable(s) {
			continue
		}
		if newest == nil || cmp.Or(cmp.Compare(s.Since, newest.Since), s.Prefix.Compare(newest.Prefix)) > 0 {
			newest = s
		}
	}
	if newest == nil {
		return peering{}, false
	}
	return peering{To: newest.To, MTU: newest.MTU, Multicast: m.copied(hop, newest.To, false)}, true
}

func (p peering) bind(hop netip.Addr, reason string) Bind {
	return Bind{NextHop: hop, To: p.To, MTU: p.MTU, Server: p.Server, Multicast: p.Multicast, Reason: reason}
}

func (m *Machine) settleHop(hop netip.Addr, reason string) {
	want, wanted := m.wantHop(hop)
	have, bound := m.bound[hop]
	if wanted == bound && want == have && !m.doubts.hops[hop] {
		return
	}
	delete(m.doubts.hops, hop)
	if !wanted {
		if !bound {
			return
		}
		delete(m.bound, hop)
		m.do(Unbind{NextHop: hop, Reason: reason})
		m.release(have.To)
		return
	}
	m.bound[hop] = want
	m.hold(want.To)
	m.do(want.bind(hop, reason))
	if bound {
		m.release(have.To)
	}
}

// wantRoute says which next hop a prefix has, and by whose word: of a client that registered it,
// of a shortcut, of the best NHS that is up and is configured to reach it.
func (m *Machine) wantRoute(p netip.Prefix) (hop netip.Addr, by Endpoint, ok bool) {
	if b, ok := m.bindings.Get(p); ok && !b.host() {
		return b.Protocol, b.To, true
	}
	if s, ok := m.shortcuts.Get(p); ok && s.Route && m.usable(s) {
		return s.NextHop, s.To, true
	}
	for _, s := range m.ranked() {
		if slices.Contains(s.conf.Routes, p) {
			return s.Protocol, Endpoint{}, true
		}
	}
	return netip.Addr{}, Endpoint{}, false
}

func (m *Machine) settleRoute(p netip.Prefix, reason string) {
	want, by, wanted := m.wantRoute(p)
	have, installed := m.routes[p]
	switch {
	case wanted && (!installed || want != have || m.doubts.routes[p]):
		m.routes[p] = want
		delete(m.doubts.routes, p)
		m.do(InstallRoute{Prefix: p, NextHop: want, By: by, Reason: reason})
	case !wanted && installed:
		delete(m.routes, p)
		delete(m.doubts.routes, p)
		m.do(RemoveRoute{Prefix: p, Reason: reason})
	}
}

// ranked gives the servers that are up, the best one first.
func (m *Machine) ranked() []*server {
	var up []*server
	for _, s := range m.servers {
		if s.Up {
			up = append(up, s)
		}
	}
	slices.SortStableFunc(up, func(a, b *server) int { return cmp.Compare(a.conf.Priority, b.conf.Priority) })
	return up
}

// settleFallback makes the best server that is up the one that takes what is
// unresolved.
func (m *Machine) settleFallback() {
	var want netip.Addr
	if up := m.ranked(); len(up) > 0 {
		want = up[0].Protocol
	}
	if want != m.fallback {
		m.fallback = want
		m.do(Fallback{NextHop: want})
	}
}

// admit accepts GRE from an endpoint for a time, because a requester there is
// answered, who may be another one than before.
func (m *Machine) admit(from Endpoint, protocol netip.Addr, until instant, another bool, reason string) {
	a, ok := m.accepted.Get(from.Key())
	if !ok {
		m.makeRoom()
		a = &acceptance{Endpoint: from}
		m.do(Admit{From: from, Protocol: protocol, Reason: reason})
	} else if a.Endpoint != from {
		a.Endpoint = from
		m.do(Admit{From: from, Protocol: protocol, Reason: "it moved"})
	} else if another {
		m.do(Admit{From: from, Protocol: protocol, Reason: reason})
	}
	a.Until = max(a.Until, until)
	if another {
		a.Told++
	}
	m.accepted.Put(from.Key(), a, m.acceptedUntil(a))
}

// leave counts one requester less at an endpoint, and gives how many are left.
func (m *Machine) leave(e Endpoint) int {
	a, ok := m.accepted.Get(e.Key())
	if !ok {
		return 0
	}
	a.Told--
	m.accepted.Put(e.Key(), a, m.acceptedUntil(a))
	return a.Told
}

// makeRoom dismisses endpoints that are accepted for what is on its way alone, as
// long as one more would be too many; the one that ends first goes first.
func (m *Machine) makeRoom() {
	for m.accepted.Len() >= m.cfg.Limits.Bindings+2*m.cfg.Limits.Cached {
		key, until, ok := m.accepted.First()
		if !ok || until == never {
			return
		}
		a, _ := m.accepted.Get(key)
		m.accepted.Delete(key)
		m.do(Dismiss{From: a.Endpoint, Reason: "there is no room for so many"})
	}
}

// hold and release count the next hops that are bound to an endpoint. The last
// one that goes leaves the endpoint accepted for what is on its way.
func (m *Machine) hold(e Endpoint) {
	a, ok := m.accepted.Get(e.Key())
	if !ok {
		m.makeRoom()
		a = &acceptance{}
	}
	a.Endpoint = e
	a.Hops++
	m.accepted.Put(e.Key(), a, m.acceptedUntil(a))
}

func (m *Machine) release(e Endpoint) {
	if a, ok := m.accepted.Get(e.Key()); ok {
		a.Hops--
		a.Until = max(a.Until, m.now+drainTime)
		m.accepted.Put(e.Key(), a, m.acceptedUntil(a))
	}
}

// admitPath and leavePath keep an endpoint accepted while shortcuts lead there.
func (m *Machine) admitPath(e Endpoint, protocol netip.Addr) {
	a, ok := m.accepted.Get(e.Key())
	if !ok {
		m.makeRoom()
		a = &acceptance{Endpoint: e}
		m.do(Admit{From: e, Protocol: protocol, Reason: "resolved"})
	} else if a.Endpoint != e {
		a.Endpoint = e
		m.do(Admit{From: e, Protocol: protocol, Reason: "it moved"})
	}
	a.Path = true
	m.accepted.Put(e.Key(), a, m.acceptedUntil(a))
}

func (m *Machine) leavePath(e Endpoint) {
	if a, ok := m.accepted.Get(e.Key()); ok {
		a.Path = false
		a.Until = max(a.Until, m.now+drainTime)
		m.accepted.Put(e.Key(), a, m.acceptedUntil(a))
	}
}

// drain ends the time for which an endpoint is accepted, but for what is on its way.
func (m *Machine) drain(e Endpoint) {
	if a, ok := m.accepted.Get(e.Key()); ok {
		a.Until = min(a.Until, m.now+drainTime)
		m.accepted.Put(e.Key(), a, m.acceptedUntil(a))
	}
}

// never is a deadline that does not come.
const never = instant(1<<63 - 1)

func (m *Machine) acceptedUntil(a *acceptance) instant {
	if a.Hops > 0 || a.Told > 0 || a.Path {
		return never
	}
	return a.Until
}

func (m *Machine) expireAcceptances() {
	for {
		key, a, ok := m.accepted.Due(m.now)
		if !ok {
			return
		}
		m.accepted.Delete(key)
		m.do(Dismiss{From: a.Endpoint, Reason: "nobody is told to use it any more"})
	}
}

// repeatAll says everything that stands: the caller of a machine that was
// imported may know nothing of it.
func (m *Machine) repeatAll() {
	const reason = "known from before the restart"
	for _, hop := range slices.SortedFunc(maps.Keys(m.bound), netip.Addr.Compare) {
		p := m.bound[hop]
		m.do(p.bind(hop, reason))
	}
	for _, a := range m.accepted.All() {
		if a.Hops == 0 {
			m.do(Admit{From: a.Endpoint, Reason: reason})
		}
	}
	for _, t := range m.told.All() {
		m.do(Admit{From: t.To, Protocol: t.Protocol, Reason: reason})
	}
	for _, p := range slices.SortedFunc(maps.Keys(m.routes), netip.Prefix.Compare) {
		_, by, _ := m.wantRoute(p)
		m.do(InstallRoute{Prefix: p, NextHop: m.routes[p], By: by, Reason: reason})
	}
	// A route that came between the export and a crash would outlive its shortcut.
	for _, s := range m.shortcuts.All() {
		if _, ok := m.routes[s.Prefix]; !ok {
			m.do(RemoveRoute{Prefix: s.Prefix, Reason: "not there before the restart, as far as is known"})
		}
	}
	if m.fallback.IsValid() {
		m.do(Fallback{NextHop: m.fallback})
	}
	if m.cfg.IfState && m.carrier.Known {
		m.do(Carrier{Up: m.carrier.Up})
	}
}

// withdrawAll takes everything back: routes first, so that nothing is sent to a
// next hop that is no more.
func (m *Machine) withdrawAll() {
	const reason = "the daemon withdraws"
	for _, p := range slices.SortedFunc(maps.Keys(m.routes), netip.Prefix.Compare) {
		m.do(RemoveRoute{Prefix: p, Reason: reason})
	}
	if m.fallback.IsValid() {
		m.do(Fallback{})
	}
	for _, hop := range slices.SortedFunc(maps.Keys(m.bound), netip.Addr.Compare) {
		m.do(Unbind{NextHop: hop, Reason: reason})
	}
	for _, a := range m.accepted.All() {
		m.do(Dismiss{From: a.Endpoint, Reason: reason})
	}
	for _, s := range m.servers {
		s.Up = false
	}
	m.tables = newTables()
}

// host is the prefix of one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
