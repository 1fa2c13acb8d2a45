// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"errors"
	"time"

	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// refused handles a response that makes no Child SA, and says whether another request
// follows at once.
func (t *createChild) refused(m *Machine, s *ikeSA, err error) bool {
	n := t.N
	var r *refusedError
	if !errors.As(err, &r) {
		// We refuse; the peer may have installed it.
		m.report(s, Warning, "%s: %v", t, err)
		s.enqueueFirst(&deleteChild{Inbound: n.Inbound})
		m.cancel(n)
		t.again(m, s)
		return false
	}
	m.cancel(n)
	t.N = nil
	old := s.inbound(t.Replaces)
	switch r.notify.Type {
	case wire.InvalidKEPayload:
		return t.otherMethod(m, s, r.notify)
	case wire.SinglePairRequired:
		if !t.Single {
			t.Single = true
			return true
		}
	case wire.TemporaryFailure:
		t.temporarily(m, s)
		return false
	case wire.ChildSANotFound:
		if old != nil && old.Stage != lingering && old.Stage != ending && old.Successor == 0 && t.Crossing == nil {
			// The peer has lost it: a new one is made at once (section 2.25.1).
			m.report(s, Notice, "the peer has no Child SA %08x any more", old.Outbound)
			m.forget(s, old, "the peer has lost it")
			s.enqueueFirst(&createChild{})
		}
		return false
	case wire.NoAdditionalSAs:
		if t.Replaces == 0 && s.usable() == nil && m.wanted(s) && !m.connection(s).Childless {
			m.report(s, Notice, "%s: %v: connecting anew", t, r)
			m.again(s) // whose first Child SA comes with IKE_AUTH
			return false
		}
	}
	m.report(s, Warning, "%s: %v", t, r)
	t.again(m, s)
	return false
}

// otherMethod repeats the request once with the key exchange that the peer asks for,
// and remembers it for the next rekey.
func (t *createChild) otherMethod(m *Machine, s *ikeSA, n *wire.Notify) bool {
	method, err := n.KeyExchangeMethod()
	if err == nil {
		policy := m.connection(s).ESP
		err = proposal.Retry(policy, proposal.FirstKeyExchange(policy, s.ChildMethod), method)
	}
	if err != nil || t.Retried {
		m.report(s, Warning, "%s: INVALID_KE_PAYLOAD again, or of no use: %v", t, err)
		t.again(m, s)
		return false
	}
	t.Retried, s.ChildMethod = true, method
	return true
}

// temporarily plans another try after TEMPORARY_FAILURE (section 2.25), unless the
// peer's own doing has made it needless.
func (t *createChild) temporarily(m *Machine, s *ikeSA) {
	pause := temporary + m.jitter(temporary)
	if t.Replaces == 0 {
		s.Later = append(s.Later, later{m.at(pause), &createChild{}})
	} else {
		old := s.inbound(t.Replaces)
		if old == nil || old.Stage == lingering || old.Stage == ending || t.Crossing != nil || old.Successor != 0 {
			t.yield(m, s)
			return
		}
		old.RekeyAt = m.at(pause)
	}
	m.touch(s)
	m.trouble(s)
}

// trouble makes a new IKE SA when a peer has said TEMPORARY_FAILURE for minutes.
func (m *Machine) trouble(s *ikeSA) {
	if s.TroubleSince == 0 {
		s.TroubleSince = m.now
	}
	if m.now >= s.TroubleSince.after(maxTemporary) {
		s.TroubleSince = m.now
		m.report(s, Warning, "the peer answers TEMPORARY_FAILURE for ever: connecting anew")
		m.again(s)
	}
}

// again plans another try of a rekey that was refused, each after a longer pause, and
// a new IKE SA when there is no more time for tries.
func (t *createChild) again(m *Machine, s *ikeSA) {
	t.N = nil
	m.changedOf(s)
	old := s.inbound(t.Replaces)
	if t.Replaces == 0 {
		m.childFailed(s, "refused")
		return
	}
	if old == nil || old.Stage != active && old.Stage != waiting || old.Successor != 0 {
		return
	}
	old.Tries++
	pause := m.pause(old.Tries)
	if old.HardAt != 0 && m.at(2*pause+30*time.Second) > old.HardAt {
		m.again(s)
	}
	old.RekeyAt = m.at(pause)
	m.touch(s)
}

// pause is that before the next try, with jitter.
func (m *Machine) pause(tries int) time.Duration {
	d := maxRetry
	if tries < 6 {
		d = firstRetry << max(tries-1, 0)
	}
	return d + m.jitter(time.Duration(float64(d)*retryJitter))
}

// childFailed plans another try to make a Child SA where one is wanted and there is
// none: the IKE SA stays meanwhile (section 1.2).
func (m *Machine) childFailed(s *ikeSA, reason string) { m.childAgain(s, reason, s.ChildTries+3) }

// childAgain is childFailed with a pause as after so many failures.
func (m *Machine) childAgain(s *ikeSA, reason string, failures int) {
	m.changedOf(s)
	if s.usable() != nil || !m.wanted(s) || s.Stage != established {
		return
	}
	s.ChildTries++
	s.Later = append(s.Later, later{m.at(m.pause(failures)), &createChild{}})
	m.touch(s)
	m.do(&Failed{Connection: s.Connection, Remote: s.Remote, Identity: s.RemoteID, Reason: reason, Retry: m.wall(s.Later[len(s.Later)-1].At)})
}
