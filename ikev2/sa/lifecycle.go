// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"time"

	"dmvpn/ikev2/wire"
)

// tombstone is how long an IKE SA that is gone answers copies of its last request.
const tombstone = 30 * time.Second

// touch notes that an SA changed: its tasks go on and its timers are looked at when
// the input has been handled.
func (m *Machine) touch(s *ikeSA) {
	if !s.touched {
		s.touched = true
		m.touched = append(m.touched, s)
	}
}

// establish makes an authenticated SA one of its peer's.
func (m *Machine) establish(s *ikeSA) {
	if !s.Initiator {
		s.Digest = s.Initial.Digest
	}
	m.leaveInitial(s)
	m.load.leave(s.Admitted)
	s.Admitted = admission{}
	if !s.Initiator {
		m.Recent[s.Digest] = s.own()
	}
	s.Stage, s.Established, s.Heard, s.GoneAt = established, m.now, m.now, 0
	c := m.connection(s)
	m.schedule(s)
	if r := c.Lifetimes.Reauthentication; r > 0 {
		s.ReauthAt = m.ahead(r, c.Lifetimes.Jitter)
	}
	m.keepOpen(s)
	m.touch(s)
	m.join(s)
	m.claim(s)
}

// die ends an IKE SA at once, without a word, and what depends on it.
func (m *Machine) die(s *ikeSA, reason string) {
	if m.SAs[s.own()] != s {
		return
	}
	wasOpen := s.Stage == established
	m.bury(s, reason)
	m.remove(s)
	if s.Keys != nil {
		s.Keys.Wipe()
	}
	if wasOpen {
		m.report(s, Notice, "IKE SA with %s ended: %s", s.RemoteID, reason)
	}
}

// goneBy ends an IKE SA that still answers copies of the request that ended it.
func (m *Machine) goneBy(s *ikeSA, reason string) {
	m.bury(s, reason)
	s.Stage, s.GoneAt = closed, m.at(tombstone)
	m.report(s, Notice, "IKE SA with %s ended: %s", s.RemoteID, reason)
}

// close ends a half-open SA that was refused.
func (m *Machine) close(s *ikeSA) {
	m.bury(s, "refused")
	s.Stage, s.GoneAt = closed, m.at(m.config.Limits.HalfOpenTime)
}

// bury ends everything but the SA itself.
func (m *Machine) bury(s *ikeSA, reason string) {
	m.touch(s)
	m.leaveInitial(s)
	m.forgetInitial(s, s.Digest)
	stage := s.Stage
	s.Stage = closed
	m.abandonAll(s)
	s.answered()
	for _, c := range s.Children {
		m.drop(s, c)
		delete(m.index.inbound, c.Inbound)
	}
	s.Children = nil
	for _, n := range s.Chains {
		m.cancel(n)
	}
	s.Chains, s.Later, s.In.Fragments = nil, nil, fragments{}
	s.RekeyAt, s.HardAt, s.ReauthAt, s.KeepaliveAt = 0, 0, 0, 0
	if s.Peer != 0 {
		m.leave(s, reason)
	}
	if x := m.SAs[s.Crossing]; x != nil && stage != established {
		s.Crossing = wire.SPI{}
	}
	m.lostBy(s, reason)
}

// drop removes a Child SA from the data plane.
func (m *Machine) drop(s *ikeSA, c *childSA) {
	if s.Held != nil && s.Held.Inbound == c.Inbound {
		m.config.Installer.Release(c.Inbound)
		s.Held.wipe()
		s.Held = nil
		return
	}
	m.vacate(s, c)
	m.config.Installer.Remove(c.Inbound)
}

// vacate lets packets leave by another Child SA, if there is one, before one goes.
func (m *Machine) vacate(s *ikeSA, c *childSA) {
	p := m.Peers[s.Peer]
	if p == nil || p.Current != c.Inbound {
		return
	}
	if o, best := m.best(p); best != nil {
		m.use(o, best)
	}
}

// fail ends an attempt of ours.
func (m *Machine) fail(s *ikeSA, reason string) {
	if m.SAs[s.own()] != s {
		return
	}
	if t, ok := s.Running.(*initiate); ok && t.another(m, s, reason) {
		return
	}
	s.Failure = reason
	m.die(s, reason)
}

// farewell tells the peer that we end, or why, without waiting for an answer.
func (m *Machine) farewell(s *ikeSA, what wire.Payload) {
	h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: wire.Informational, Initiator: s.Initiator, MessageID: s.Out.Next}
	packets, err := m.seal(s, h, []wire.Payload{what})
	if err == nil {
		m.transmit(s, packets)
	}
}
