// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Broken says what of a machine does not fit together: a limit that is passed, an
// index that is not what it is an index of, an order to the data plane that
// does not follow from what the machine knows. It holds between any two inputs.
func (m *Machine) Broken() error {
	if !m.started || m.again {
		return nil
	}
	return errors.Join(m.overLimits(), m.miscounted(), m.unsettled(), m.restless())
}

func (m *Machine) overLimits() error {
	l := m.cfg.Limits
	var errs []error
	most := func(what string, have, limit int) {
		if have > limit {
			errs = append(errs, fmt.Errorf("%d %s, the limit is %d", have, what, limit))
		}
	}
	most("bindings", m.bindings.Len(), l.Bindings)
	for e, n := range m.owned {
		most("bindings of "+e.NBMA.String(), n, l.BindingsPerPeer)
	}
	most("shortcuts and negative entries", m.shortcuts.Len()+m.negatives.Len(), l.Cached)
	most("requests", m.requests.Len(), l.Pending)
	most("requesters told", m.told.Len(), l.Cached)
	for _, t := range m.told.All() {
		most("answers told to "+t.Protocol.String(), len(t.Answers), answersPerTold)
	}
	most("paths", m.paths.Len(), l.Cached+len(m.servers))
	most("purges", m.purges.Len(), 2*l.Cached)
	most("endpoints accepted", m.accepted.Len(), l.Bindings+2*l.Cached+len(m.servers))
	most("late ids", len(m.late), lateReplies)
	most("endpoints rated", m.limits.endpoints.Len(), endpointsRated)
	most("pairs redirected", m.limits.pairs.Len(), redirectPairs)
	most("violations", m.violations.Len(), violationsKept)
	most("counters", len(m.counts), 200)
	return errors.Join(errs...)
}

func (m *Machine) miscounted() error {
	var errs []error
	differ := func(what string, have, want any) {
		if fmt.Sprint(have) != fmt.Sprint(want) {
			errs = append(errs, fmt.Errorf("%s: %v, but there are %v", what, have, want))
		}
	}
	owned, clients := map[Endpoint]int{}, map[netip.Addr][]*binding{}
	for _, b := range m.bindings.All() {
		owned[b.To.Key()]++
		clients[b.Protocol] = append(clients[b.Protocol], b)
		if _, ok := m.bindings.Get(host(b.Protocol)); !ok {
			errs = append(errs, fmt.Errorf("%v is registered by %v, who is not", b.Prefix, b.Protocol))
		}
	}
	for _, list := range clients {
		slices.SortFunc(list, compareBindings)
	}
	differ("bindings by endpoint", m.owned, owned)
	differ("bindings by client", m.clients, clients)
	for identity, b := range m.identities {
		if stored, _ := m.bindings.Get(b.Prefix); stored != b || b.To.Identity != identity || !b.host() {
			errs = append(errs, fmt.Errorf("%s has %v, which is not so", identity, b.Prefix))
		}
	}
	via, uses := map[netip.Addr]int{}, map[Endpoint]int{}
	for _, s := range m.shortcuts.All() {
		via[s.NextHop]++
		uses[s.To.Key()]++
	}
	byHop, counted := map[netip.Addr]int{}, map[Endpoint]int{}
	for hop, list := range m.via {
		byHop[hop] = len(list)
	}
	for e, u := range m.uses.All() {
		counted[e] = u.Shortcuts
	}
	differ("shortcuts by next hop", byHop, via)
	differ("shortcuts by endpoint", counted, uses)
	if m.refreshes.Len() > m.shortcuts.Len() {
		differ("refreshes", m.refreshes.Len(), m.shortcuts.Len())
	}
	asked := map[netip.Addr]uint32{}
	for id, q := range m.requests.All() {
		asked[q.Destination] = id
	}
	differ("requests by destination", m.asked, asked)
	hops := map[Endpoint]int{}
	for _, p := range m.bound {
		hops[p.To.Key()]++
	}
	told := map[Endpoint]int{}
	for _, t := range m.told.All() {
		told[t.To.Key()]++
	}
	paths := map[Endpoint]int{}
	for _, s := range m.shortcuts.All() {
		if s.Probe {
			paths[s.To.Key()]++
		}
	}
	for e, p := range m.paths.All() {
		differ("shortcuts of the path to "+e.NBMA.String(), p.Shortcuts, paths[e])
		if p.Shortcuts == 0 && !m.servedBy(e) {
			errs = append(errs, fmt.Errorf("nothing takes the path to %v", e))
		}
		if len(p.Asked) > mostTries {
			errs = append(errs, fmt.Errorf("%d probes to %v", len(p.Asked), e))
		}
	}
	for e := range paths {
		if _, ok := m.paths.Get(e.Key()); !ok {
			errs = append(errs, fmt.Errorf("shortcuts take the path to %v, which is none", e))
		}
	}
	for e, a := range m.accepted.All() {
		differ("path to "+e.NBMA.String(), a.Path, paths[e] > 0)
		if a.Hops != hops[e] {
			differ("next hops at "+e.NBMA.String(), a.Hops, hops[e])
		}
		if a.Told != told[e] {
			differ("requesters at "+e.NBMA.String(), a.Told, told[e])
		}
		delete(hops, e)
	}
	if len(hops) > 0 {
		errs = append(errs, fmt.Errorf("bound, and not accepted: %v", hops))
	}
	return errors.Join(errs...)
}

// unsettled says where the data plane was told otherwise than it should be.
func (m *Machine) unsettled() error {
	var errs []error
	hops := map[netip.Addr]bool{}
	for _, s := range m.servers {
		hops[s.Protocol] = s.Up
	}
	for _, b := range m.bindings.All() {
		hops[b.Protocol] = true
	}
	for hop := range m.via {
		hops[hop] = true
	}
	for hop := range m.bound {
		hops[hop] = true
	}
	for hop := range hops {
		want, wanted := m.wantHop(hop)
		if have, bound := m.bound[hop]; wanted != bound || want != have {
			errs = append(errs, fmt.Errorf("next hop %v is %v %v, should be %v %v", hop, bound, have, wanted, want))
		}
	}
	prefixes := map[netip.Prefix]bool{}
	for p, b := range m.bindings.All() {
		prefixes[p] = !b.host()
	}
	for p := range m.shortcuts.All() {
		prefixes[p] = true
	}
	for p, hop := range m.routes {
		prefixes[p] = true
		if _, ok := m.bound[hop]; !ok {
			errs = append(errs, fmt.Errorf("the route to %v leads to %v, who is not bound", p, hop))
		}
	}
	for p := range prefixes {
		want, _, wanted := m.wantRoute(p)
		if have, installed := m.routes[p]; wanted != installed || want != have {
			errs = append(errs, fmt.Errorf("the route to %v is %v %v, should be %v %v", p, installed, have, wanted, want))
		}
	}
	return errors.Join(errs...)
}

// restless says that a machine wants a tick for what it has done already.
func (m *Machine) restless() error {
	if next, ok := m.Next(); ok && !next.After(m.epoch.Add(m.now)) {
		return fmt.Errorf("at %v the next tick is wanted at %v", m.now, next.Sub(m.epoch))
	}
	return nil
}

// Entries counts what is stored of others, but for what is remembered of their
// rates: that is forgotten when there is something new.
func (m *Machine) Entries() int {
	return m.bindings.Len() + m.shortcuts.Len() + m.negatives.Len() + m.requests.Len() + m.told.Len() + m.purges.Len() +
		m.accepted.Len() + m.uses.Len() + m.refreshes.Len() + len(m.asked) + len(m.bound) + len(m.routes) + len(m.owned) + len(m.clients) + len(m.via) + m.paths.Len()
}
