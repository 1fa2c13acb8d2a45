// SPDX-License-Identifier: Apache-2.0

package sa

import "time"

// Who comes with an identity that another end already has is told from a twin by the
// instance number. The older end is asked; while it answers it stays, and the newer
// is refused.

// swapPause is how often an identity may change hands.
const swapPause = time.Minute

// claim looks at an SA that was just authenticated, before its Child SA is made:
// whether another end has its identity.
func (m *Machine) claim(s *ikeSA) {
	p := m.Peers[s.Peer]
	for _, o := range m.rivals(s) {
		known := s.Instance != [8]byte{} && o.Instance != [8]byte{}
		// Whoever has o would not say so: it began this one after we had o.
		anew := s.InitialContact && o.Established < s.Began
		switch {
		case known && s.Instance == o.Instance:
			// The same process: a twin, or one that replaces the other.
		case !known && !anew && sameEnd(s.Remote, o.Remote) && (s.Initiator || m.now < o.Established.after(overlap)):
			// The same host, as far as can be told.
		case anew && !s.Group && sameEnd(s.Remote, o.Remote):
			// Nobody else has this key: the peer says that it has nothing else. From elsewhere it
			// may be its clone: two of them would throw each other out for ever.
			m.report(s, Notice, "%s has begun anew at %s", s.RemoteID, s.Remote)
			m.die(o, "the peer has begun anew")
		case p.LastSwap != 0 && m.now < p.LastSwap.after(swapPause) && !sameEnd(s.Remote, o.Remote):
			s.Contest = o.ID
			m.refuseClaim(s, o)
			return
		default:
			if !sameEnd(s.Remote, o.Remote) || known {
				s.Contest = o.ID
			}
			m.ask(o)
		}
	}
}

// ask sends a probe that is given up soon, or hurries the request that is out.
func (m *Machine) ask(o *ikeSA) {
	m.touch(o)
	o.Asked = m.now
	if o.Out.Pending {
		o.Out.Limit = min(o.Out.Limit, o.Out.Repeats+probeRepeats)
		o.Out.At = m.now
		return
	}
	o.enqueueFirst(&inform{Repeats: probeRepeats})
}

// proved is called when an SA's peer shows that it is alive: who claimed its identity
// is refused, unless it is the same host.
func (m *Machine) proved(o *ikeSA) {
	if o.Asked == 0 {
		return
	}
	o.Asked = 0
	for _, s := range m.of(m.Peers[o.Peer]) {
		if s.Contest == o.ID {
			m.refuseClaim(s, o)
		}
	}
	if m.SAs[o.own()] == o && o.Stage == established {
		m.settle(o)
	}
}

func (m *Machine) refuseClaim(s, o *ikeSA) {
	m.report(s, Alarm, "%s is claimed from %s while %s answers with the same identity: refused; give each peer an identity of its own", s.RemoteID, s.Remote, o.Remote)
	m.counters.AuthFailed++
	m.touch(s)
	s.enqueueFirst(&deleteIKE{Reason: "another end has this identity"})
}

// uncontested lets those in that waited for the end of an SA.
func (m *Machine) uncontested(o *ikeSA) {
	p := m.Peers[o.Peer]
	for _, s := range m.of(p) {
		if s.Contest != o.ID || s.Stage != established {
			continue
		}
		s.Contest, p.LastSwap = 0, m.now
		m.report(s, Notice, "%s is at %s now: %s does not answer any more", s.RemoteID, s.Remote, o.Remote)
		if s.Held != nil {
			h := s.Held
			s.Held = nil
			err := m.config.Installer.Install(h)
			h.wipe()
			if err != nil {
				m.report(s, Warning, "%v: %v", errInstall, err)
				m.forget(s, s.inbound(h.Inbound), "the data plane refuses it")
				m.config.Installer.Release(h.Inbound)
				continue
			}
		}
		m.settle(s)
	}
}
