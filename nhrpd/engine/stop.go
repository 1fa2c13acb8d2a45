// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"

	"dmvpn/nhrpd/wire"
)

// Stopped says that what Stop began has ended: everything is taken back, and the machine does
// nothing any more.
func (m *Machine) Stopped() bool { return m.stopped }

// stop purges what was registered and answered. The replies are awaited, for a while: who misses
// the purge sends to us for a whole holding time. Until then all stands as it is.
func (m *Machine) stop() {
	m.ending = m.now + stopTime
	for _, q := range m.purges.All() { // first, for some go by a server, which is about to forget us
		q.Tries = 0
		m.repeatPurge(q)
	}
	for _, t := range m.told.All() {
		m.forgetTold(t)
		m.startPurge(t, prefixes(t.Answers), true)
	}
	m.purgeRegistrations()
	m.endStop()
}

// purgeRegistrations takes our registrations back from every server that has one, or may have:
// its answer is still on its way, or was lost.
func (m *Machine) purgeRegistrations() {
	for _, s := range m.servers {
		var at []Endpoint
		own := s.own()
		if s.Up || !s.Standby && m.now < own.Until && own.Reason == "" { // what one refused may be another's now
			at = append(at, s.Bound)
		}
		if own.Waiting {
			if to, ok := m.target(s); ok && !slices.ContainsFunc(at, to.Is) {
				at = append(at, to)
			}
		}
		protocol := s.Protocol
		if !protocol.IsValid() {
			protocol = m.own() // whoever is the NHS there, as with the registration
		}
		for _, to := range at {
			m.purgeOwn(protocol, to, m.ending)
		}
	}
}

// stopping is Handle from Stop on. What comes to us is not what we begin with any more; who
// stops at the same time has its answer, and others' replies are passed on.
func (m *Machine) stopping(input Input) {
	if in, ok := input.(Packet); ok {
		switch typeOf(in.Data) {
		case wire.PurgeRequest, wire.PurgeReply, wire.ErrorIndication:
			m.packet(in)
		default:
			m.drop("stopping")
		}
	}
	m.retryPurges()
	m.endStop()
}

// endStop takes back what stands, if no reply is awaited any more.
func (m *Machine) endStop() {
	if m.purges.Len() > 0 && m.now < m.ending && m.local.exist() {
		return
	}
	silent := 0
	for _, q := range m.purges.All() {
		if silent++; silent == 1 {
			m.report(Info, q.To, "%v does not answer that we purge %v: it may keep it until its holding time ends", q.Protocol, q.Prefixes)
		}
		m.count("purge-unanswered")
	}
	if silent > 1 {
		m.report(Info, Endpoint{}, "in all %d purges were not answered", silent)
	}
	m.withdrawAll()
	m.stopped = true
}
