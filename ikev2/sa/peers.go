// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"slices"

	"dmvpn/ikev2/wire"
)

// describe is what others are told of an SA's peer.
func (m *Machine) describe(s *ikeSA) Peer {
	return Peer{ID: s.Peer, Connection: s.Connection, Identity: s.RemoteID, Group: s.Group, Claims: s.Claims, Local: s.Local, Remote: s.Remote, NATLocal: s.NATLocal, NATRemote: s.NATRemote}
}

// join finds or makes the peer of an SA that was just authenticated.
func (m *Machine) join(s *ikeSA) {
	p := m.peerOf(s.Connection, s.RemoteID)
	if p == nil {
		m.LastID++
		p = &peer{ID: m.LastID, Connection: s.Connection, Identity: s.RemoteID}
		m.Peers[p.ID] = p
		put(m.index.peers, whomOf(p.Connection, p.Identity), p)
	}
	s.Peer = p.ID
	p.SAs = append(p.SAs, s.own())
}

// leave takes an SA from its peer, which goes with the last one.
func (m *Machine) leave(s *ikeSA, reason string) {
	p := m.Peers[s.Peer]
	if p == nil {
		return
	}
	p.Reason = reason
	m.reinstate(s)
	p.SAs = slices.DeleteFunc(p.SAs, func(spi wire.SPI) bool { return spi == s.own() })
	m.dirty(p)
	m.uncontested(s)
}

// of gives a peer's IKE SAs, in the order in which they joined.
func (m *Machine) of(p *peer) []*ikeSA {
	var all []*ikeSA
	for _, spi := range p.SAs {
		if s := m.SAs[spi]; s != nil {
			all = append(all, s)
		}
	}
	return all
}

// dirty notes that a peer's Child SAs may have changed.
func (m *Machine) dirty(p *peer) {
	if p != nil && !p.changed {
		p.changed = true
		m.changed = append(m.changed, p)
	}
}

// changedOf is dirty for an SA's peer.
func (m *Machine) changedOf(s *ikeSA) { m.dirty(m.Peers[s.Peer]) }

// current finds the Child SA that a peer's packets leave by.
func (m *Machine) current(p *peer) (*ikeSA, *childSA) {
	for _, s := range m.of(p) {
		if c := s.inbound(p.Current); c != nil && c.Stage != lingering {
			return s, c
		}
	}
	return nil, nil
}

// use makes a Child SA the one that its peer's packets leave by.
func (m *Machine) use(s *ikeSA, c *childSA) {
	p := m.Peers[s.Peer]
	m.dirty(p)
	if c.Stage == waiting {
		c.Stage = active
	}
	if p.Current == c.Inbound {
		return
	}
	p.Current = c.Inbound
	m.config.Installer.Activate(c.Inbound)
}

// review looks at a peer whose Child SAs changed: something must be used as long as
// anything can be, and Up and Down alternate.
func (m *Machine) review(p *peer) {
	if _, c := m.current(p); c == nil {
		p.Current = 0
		if s, best := m.best(p); best != nil {
			m.use(s, best)
		}
	}
	s, c := m.current(p)
	switch {
	case c != nil && !p.Up:
		p.Up, p.Told = true, m.describe(s)
		m.do(&Up{Peer: p.Told})
		m.report(s, Notice, "peer %s is up", p.Identity)
	case c == nil && p.Up && !m.expecting(p):
		p.Up = false
		m.do(&Down{Peer: p.Told, Reason: p.Reason})
	case c != nil && (p.Told.Remote != s.Remote || p.Told.Local != s.Local):
		old := p.Told.Remote
		p.Told = m.describe(s)
		if old != s.Remote {
			m.do(&Moved{Peer: p.Told, Old: old})
		}
	}
	if len(p.SAs) == 0 {
		delete(m.Peers, p.ID)
		take(m.index.peers, whomOf(p.Connection, p.Identity), p)
	}
}

// best is the Child SA to use when the one in use is gone.
func (m *Machine) best(p *peer) (bestSA *ikeSA, best *childSA) {
	for _, s := range m.of(p) {
		if s.Contest != 0 || s.Stage == closed {
			continue
		}
		for _, c := range s.Children {
			if c.Stage == lingering || c.Stage == ending || c.Redundant {
				continue
			}
			if best == nil || better(s, c, bestSA, best) {
				bestSA, best = s, c
			}
		}
	}
	return bestSA, best
}

func better(s *ikeSA, c *childSA, than *ikeSA, best *childSA) bool {
	if (s.Stage == established) != (than.Stage == established) {
		return s.Stage == established
	}
	if (c.Stage == outdated) != (best.Stage == outdated) {
		return best.Stage == outdated
	}
	return c.Made >= best.Made
}

// expecting says whether a rekey under way may still give the peer a Child SA, so
// that its loss is not told yet.
func (m *Machine) expecting(p *peer) bool {
	for _, s := range m.of(p) {
		if t, ok := s.Running.(*createChild); ok && t.Replaces != 0 && s.Out.Pending {
			return true
		}
	}
	return false
}
