// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Import takes up what another machine of the same tunnel exported, before the
// first Handle. The time since then counts, where the wall clock did not go back.
// Servers are taken up as far as the configuration still has them. The next
// Handle says again everything that stands: every Bind, Admit, InstallRoute and
// the Fallback; and a RemoveRoute of every shortcut that has no route. After an error the machine is as it was.
func (m *Machine) Import(now time.Time, state []byte) error {
	if m.started {
		return fmt.Errorf("nhrp: state is imported before the first input, not after")
	}
	var e exported
	if err := json.Unmarshal(state, &e); err != nil {
		return fmt.Errorf("nhrp: state: %w", err)
	}
	if e.Version != exportVersion {
		return fmt.Errorf("nhrp: state: version %d, this program knows %d", e.Version, exportVersion)
	}
	if e.Address != m.cfg.Address {
		return fmt.Errorf("nhrp: state: it is that of %v, the tunnel's address is %v", e.Address, m.cfg.Address)
	}
	if err := e.check(); err != nil {
		return err
	}
	if !e.Started { // it knows nothing yet
		m.lastID = e.LastID
		return nil
	}
	elapsed := min(max(now.Round(0).Sub(e.Wall), 0), longestClock/2)
	m.now = min(e.Clock+elapsed, longestClock)
	m.epoch = now.Add(-m.now)
	m.started, m.stopped, m.again = true, e.Stopped, true
	if e.Ending != 0 {
		m.ending = min(max(e.Ending, 1), m.now+stopTime)
	}
	m.local, m.lastID, m.fallback, m.late = newLocals(e.Local, e.Local6), e.LastID, e.Fallback, e.Late
	m.carrier, m.last = e.Carrier, m.local.orElse(newLocals(e.Last, e.Last6))
	if e.Counters != nil {
		m.counts = e.Counters
	}
	m.importEntries(&e)
	m.importRates(&e)
	m.importServers(e.Servers)
	return nil
}

// SkipIDs makes request ids go on well beyond what was imported: the state may
// be older than the last request before a crash (RFC 2332, section 5.2.3). What was under way
// goes on with such ids, probes begin anew, and the carrier stays as it is for a while.
func (m *Machine) SkipIDs() {
	m.holdCarrier()
	m.lastID += skippedSteps * idStep
	m.renumber()
	for key, p := range m.paths.All() {
		if p.Asked, p.Silent = nil, false; p.Next != never {
			p.Next = m.now
			m.paths.Put(key, p, p.Next)
		}
	}
}

// renumber gives what waits for an answer a new id: it may have been answered since, and
// others been asked.
func (m *Machine) renumber() {
	for _, s := range m.servers {
		for _, r := range s.Registrations {
			if r.Waiting {
				r.ID = m.nextID()
			}
		}
	}
	for id, q := range m.requests.All() {
		m.requests.Delete(id)
		q.ID = m.nextID()
		m.requests.Put(q.ID, q, q.Next)
		m.asked[q.Destination] = q.ID
	}
	for id, q := range m.purges.All() {
		m.purges.Delete(id)
		q.ID = m.nextID()
		m.purges.Put(q.ID, q, q.Next)
	}
}

// longestClock is the most that a machine takes up: its clock has room for twice as much, and
// for every timer after it.
const longestClock = 100 * 365 * 24 * time.Hour

// check refuses state that no machine has written.
func (e *exported) check() error {
	if e.Clock < 0 || e.Clock > 2*longestClock {
		return fmt.Errorf("nhrp: state: a clock of %v", e.Clock)
	}
	if slices.Contains(e.Servers, nil) || slices.Contains(e.Bindings, nil) || slices.Contains(e.Shortcuts, nil) ||
		slices.Contains(e.Negatives, nil) || slices.Contains(e.Requests, nil) || slices.Contains(e.Told, nil) || slices.Contains(e.Left, nil) ||
		slices.Contains(e.Purges, nil) || slices.Contains(e.Accepted, nil) || slices.Contains(e.Uses, nil) || slices.Contains(e.Paths, nil) || slices.Contains(e.Rated, nil) {
		return fmt.Errorf("nhrp: state: an empty entry")
	}
	for _, b := range e.Bindings {
		if !b.Prefix.IsValid() || !b.Protocol.IsValid() {
			return fmt.Errorf("nhrp: state: a binding without address")
		}
	}
	for _, s := range e.Shortcuts {
		if !s.Prefix.IsValid() || !s.NextHop.IsValid() {
			return fmt.Errorf("nhrp: state: a shortcut without address")
		}
	}
	for _, u := range e.Uses {
		if len(u.Samples) == 0 {
			return fmt.Errorf("nhrp: state: a use without a sample")
		}
	}
	for _, p := range e.Paths {
		if !slices.Contains([]PathState{PathUnsecured, PathTried, PathDirect, PathLost}, p.State) || p.Lost < 0 || !p.Protocol.IsValid() {
			return fmt.Errorf("nhrp: state: a path that is none")
		}
	}
	for _, s := range e.Servers {
		if len(s.Registrations) == 0 || slices.Contains(s.Registrations, nil) {
			return fmt.Errorf("nhrp: state: a server without registration")
		}
	}
	return nil
}

// importEntries fills the tables, and counts again what is counted.
func (m *Machine) importEntries(e *exported) {
	for _, a := range e.Accepted {
		a.Hops, a.Told, a.Path = 0, 0, false
		m.accepted.Put(a.Endpoint.Key(), a, a.Until)
	}
	for _, b := range e.Bound {
		m.bound[b.NextHop] = peering{b.To, b.MTU, b.Server, b.Groups}
		m.hold(b.To)
	}
	for _, r := range e.Routes {
		m.routes[r.Prefix] = r.NextHop
	}
	for _, b := range e.Bindings {
		m.remember(b)
	}
	for _, u := range e.Uses {
		u.Shortcuts = 0
		m.uses.Put(u.Endpoint.Key(), u, u.Next)
	}
	for _, p := range e.Paths {
		if p.Shortcuts = 0; m.cfg.Probe > 0 {
			m.paths.Put(p.Endpoint.Key(), p, p.Next)
		}
	}
	for _, s := range e.Shortcuts {
		s.Probe = s.Probe && m.cfg.Probe > 0
		m.shortcuts.Put(s.Prefix, s, s.Until)
		m.via[s.NextHop] = append(m.via[s.NextHop], s)
		if s.Refresh < s.Until {
			m.refreshes.Set(s.Prefix, s.Refresh)
		}
		m.startUse(s.To)
		if s.Probe {
			m.importPath(s)
		}
	}
	for _, n := range e.Negatives {
		m.negatives.Put(n.Destination, n, n.Until)
	}
	for _, q := range e.Requests {
		m.requests.Put(q.ID, q, q.Next)
		m.asked[q.Destination] = q.ID
	}
	for _, t := range e.Told {
		m.told.Put(t.Protocol, t, t.Until)
		if a, ok := m.accepted.Get(t.To.Key()); ok {
			a.Told++
			m.accepted.Put(t.To.Key(), a, m.acceptedUntil(a))
		}
	}
	for _, l := range e.Left {
		m.left.Put(l.Protocol, l, l.Until)
	}
	for _, q := range e.Purges {
		m.purges.Put(q.ID, q, q.Next)
	}
}

// importPath counts one more shortcut of a path, which state without it gets.
func (m *Machine) importPath(s *shortcut) {
	p, ok := m.paths.Get(s.To.Key())
	if !ok {
		p = &path{Endpoint: s.To, Protocol: s.NextHop, State: PathTried, Next: m.now}
		m.paths.Put(s.To.Key(), p, p.Next)
	}
	p.Shortcuts++
	a, ok := m.accepted.Get(s.To.Key())
	if !ok {
		a = &acceptance{Endpoint: s.To}
	}
	a.Path = true
	m.accepted.Put(s.To.Key(), a, m.acceptedUntil(a))
}

func (m *Machine) importRates(e *exported) {
	for _, r := range e.Rated {
		m.limits.endpoints.Put(r.Endpoint.Key(), r, r.Quiet)
	}
	for _, p := range e.Pairs {
		m.limits.pairs.Put(p.pair, p.Until, p.Until)
	}
	m.limits.redirects, m.limits.strangers = e.Redirects, e.Strangers
}

// importServers takes up the servers that are still configured: by name, as
// their order may have changed. What a server that is gone had is taken back by
// the next Handle.
func (m *Machine) importServers(saved []*server) {
	for i, s := range m.servers {
		j := slices.IndexFunc(saved, func(o *server) bool {
			return o.Name == s.Name && (!s.conf.Protocol.IsValid() || o.Protocol == s.conf.Protocol)
		})
		if j < 0 {
			s.Standby = m.cfg.MaxConnections > 0
			m.fresh = append(m.fresh, s)
			continue
		}
		o := saved[j]
		saved = slices.Delete(slices.Clone(saved), j, j+1)
		o.conf, o.index = s.conf, s.index
		o.Probe = o.Probe && m.cfg.Probe > 0
		if !sameNetworks(o.Registrations, s.Registrations) {
			o.Registrations = append([]*registration{o.own()}, s.Registrations[1:]...)
			o.own().Next, o.own().Waiting, o.own().Tries = m.now, false, 0
		}
		m.servers[i] = o
	}
}

func sameNetworks(a, b []*registration) bool {
	return slices.EqualFunc(a, b, func(x, y *registration) bool { return slices.Equal(x.Prefixes, y.Prefixes) })
}

// resume begins with servers that the import did not know, and says everything
// that stands.
func (m *Machine) resume() {
	if m.ending != 0 {
		m.repeatAll()
		return
	}
	m.review()
	m.repeatAll()
	for _, s := range m.fresh {
		m.startServer(s)
		m.registerNow(s)
	}
	m.fresh = nil
	m.elect()
	if !m.cfg.Shortcut {
		m.forgetShortcuts()
	}
	for _, p := range m.paths.All() {
		if !m.tidyPath(p) && p.State != PathUnsecured && !m.secure(p.Endpoint) {
			m.awaitSA(p)
		}
	}
	const reason = "no longer configured"
	for _, p := range slices.SortedFunc(maps.Keys(m.routes), netip.Prefix.Compare) {
		m.settleRoute(p, reason)
	}
	m.settleFallback()
	for _, s := range m.servers {
		for _, p := range s.conf.Routes {
			m.settleRoute(p, "configured")
		}
	}
	for _, hop := range slices.SortedFunc(maps.Keys(m.bound), netip.Addr.Compare) {
		m.settleHop(hop, reason)
	}
	m.settleMaps()
}
