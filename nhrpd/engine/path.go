// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"time"
)

// path is the direct way to a peer that answers probes: that of shortcuts, of an NHS,
// or of both.
//
//	          secured                  answered
//	waiting ──────────→ tried ─────────────────────────→ direct
//	   ↑                  ↑ │ no answer                    │ silent, and no answer to probes
//	   └─ the SA is lost ─┤ ↓                              │
//	                      lost ←───────────────────────────┘
//
// Packets take it while it is direct; else they go by the hub.
type path struct {
	Endpoint  Endpoint   // as last seen
	Protocol  netip.Addr // of the peer
	Shortcuts int        // that lead there; not exported, counted again
	State     PathState
	Since     instant // of State
	Next      instant // never: nothing is to be done before Secured
	Lost      int     `json:",omitempty"` // times in a row
	Reason    string  `json:",omitempty"` // why it was lost

	ID        uint32    `json:",omitempty"` // of the first probe without an answer, the second has the next one …
	Asked     []instant `json:",omitempty"` // when each of them was sent
	Silent    bool      `json:",omitempty"` // they are sent because nothing came in
	Answered  instant   // the last one
	RoundTrip instant

	Sent, Received uint64 // packets at the last look
}

// usable says whether packets may take a shortcut: its peer has answered a probe, or
// does not know them.
func (m *Machine) usable(s *shortcut) bool {
	if !s.Probe {
		return true
	}
	p, ok := m.paths.Get(s.To.Key())
	return ok && p.State == PathDirect
}

// startPath counts one more shortcut to an endpoint that answers probes. What comes from
// there is accepted before a packet of ours goes there.
func (m *Machine) startPath(e Endpoint, protocol netip.Addr) {
	p, ok := m.paths.Get(e.Key())
	if !ok {
		p = &path{Endpoint: e, Protocol: protocol, State: PathTried, Since: m.now, Next: never}
		m.paths.Put(e.Key(), p, p.Next)
	}
	p.Endpoint, p.Protocol = e, protocol
	p.Shortcuts++
	m.admitPath(e, protocol)
	if !ok {
		m.tryPath(p)
	}
}

// endPath counts one less.
func (m *Machine) endPath(e Endpoint) {
	p, ok := m.paths.Get(e.Key())
	if !ok {
		return
	}
	if p.Shortcuts--; p.Shortcuts == 0 {
		m.leavePath(e)
	}
	m.tidyPath(p)
}

// tidyPath forgets a path that nothing takes, and says whether it did.
func (m *Machine) tidyPath(p *path) bool {
	if p.Shortcuts > 0 || m.servedBy(p.Endpoint) {
		return false
	}
	m.paths.Delete(p.Endpoint.Key())
	return true
}

// servedBy says whether an NHS that answers probes is up at an endpoint.
func (m *Machine) servedBy(e Endpoint) bool {
	for _, s := range m.servers {
		if s.Up && s.Probe && s.Bound.Key() == e.Key() {
			return true
		}
	}
	return false
}

// servePath is called when an NHS has registered us, which went both ways.
func (m *Machine) servePath(s *server) {
	p, ok := m.paths.Get(s.Bound.Key())
	if !ok {
		p = &path{Endpoint: s.Bound, State: PathDirect, Since: m.now}
	}
	p.Endpoint, p.Protocol = s.Bound, s.Protocol
	m.pathAnswered(p)
}

// setPath changes a path's state, and moves the shortcuts that take it: onto it the next
// hop is first, off it the routes are.
func (m *Machine) setPath(p *path, state PathState, reason string) {
	before := p.State
	p.Reason = reason
	if before == state {
		return
	}
	p.State, p.Since = state, m.now
	if before != PathDirect && state != PathDirect || p.Shortcuts == 0 {
		return
	}
	var list []*shortcut
	for _, s := range m.shortcuts.All() {
		if s.To.Key() == p.Endpoint.Key() {
			list = append(list, s)
		}
	}
	if state == PathDirect {
		m.report(Info, p.Endpoint, "packets to %v go directly: it has answered a probe in %v", p.Protocol, p.RoundTrip.Round(time.Microsecond))
		reason = "the direct path carries both ways"
	} else {
		m.report(Info, p.Endpoint, "packets to %v go by the hub: %s", p.Protocol, reason)
		for _, s := range list {
			m.settleRoute(s.Prefix, reason)
		}
	}
	for _, s := range list {
		m.settleHop(s.NextHop, reason)
	}
	if state == PathDirect {
		for _, s := range list {
			m.settleRoute(s.Prefix, reason)
		}
	}
}

// losePath takes packets back to the hub, and tries the path again later.
func (m *Machine) losePath(p *path, reason string) {
	m.loseServers(p.Endpoint, reason)
	if p.State == PathDirect && p.Shortcuts > 0 && !m.servedBy(p.Endpoint) && !m.hubAnswers(nil) {
		// There is nowhere better to go: while only daemons are away it may well carry data.
		p.Asked, p.Silent, p.Next = nil, false, m.now+firstPause
		m.paths.Put(p.Endpoint.Key(), p, p.Next)
		return
	}
	if p.State == PathDirect && m.now-p.Since >= pathSettled {
		p.Lost = 0
	}
	p.Lost++
	p.Asked, p.Silent, p.Next = nil, false, m.now+pause(p.Lost)
	m.paths.Put(p.Endpoint.Key(), p, p.Next)
	m.setPath(p, PathLost, reason)
	m.tidyPath(p)
	m.takeOthers(p.Endpoint, reason)
}

// hubAnswers says whether an NHS other than that one is up and is not known to be silent.
func (m *Machine) hubAnswers(but *server) bool {
	for _, s := range m.servers {
		if s == but || !s.Up {
			continue
		}
		p, ok := m.paths.Get(s.Bound.Key())
		if ok && p.State == PathDirect && !p.Silent || !ok && !s.own().Waiting {
			return true
		}
	}
	return false
}

// loseServers takes the servers at an endpoint down if another one answers. The last one
// stays: it may carry data while only its daemon is away.
func (m *Machine) loseServers(e Endpoint, reason string) {
	for _, s := range m.servers {
		if !s.Up || !s.Bound.Is(e) {
			continue
		}
		switch {
		case m.hubAnswers(s):
			m.serverDown(s, reason+", another NHS takes over")
		case s.Reason != reason:
			m.report(Warn, e, "NHS %s: %s; there is no other", s.Name, reason)
		}
		s.Reason = reason
		if !s.own().Waiting {
			m.registerNow(s)
		}
		m.fail(s)
	}
}

// pathsSecured tries the paths that an SA which has come up makes possible. It may be with
// another port than we know its peer by.
func (m *Machine) pathsSecured() {
	for _, p := range m.paths.All() {
		if p.State == PathUnsecured && m.secure(p.Endpoint) {
			p.Lost = 0
			m.tryPath(p)
		}
	}
}

// unsecured takes packets back to the hub that no SA protects any more.
func (m *Machine) unsecured(e Endpoint) {
	if !m.secure(e) {
		m.loseServers(e, noSA)
	}
	for _, p := range m.paths.All() {
		if p.State != PathUnsecured && !m.secure(p.Endpoint) {
			m.awaitSA(p)
		}
	}
	if !m.secure(e) {
		m.takeOthers(e, noSA)
	}
}

// pathsTo gives the paths to a peer: that of its identity, and one that was made before
// anybody said who is there.
func (m *Machine) pathsTo(e Endpoint) (list []*path) {
	for _, key := range e.keys() {
		if p, ok := m.paths.Get(key); ok {
			list = append(list, p)
		}
	}
	return list
}

// awaitSA takes packets back to the hub until Secured.
func (m *Machine) awaitSA(p *path) {
	p.Asked, p.Silent, p.Next = nil, false, never
	m.paths.Put(p.Endpoint.Key(), p, p.Next)
	m.setPath(p, PathUnsecured, noSA)
}

// secure says whether packets to an endpoint are as protected as they must be.
func (m *Machine) secure(e Endpoint) bool { return m.env.Secured == nil || m.env.Secured(e) }

// Reasons why a path is not taken.
const (
	noSA     = "no IPsec SA"
	noAnswer = "no answer to probes"
)
