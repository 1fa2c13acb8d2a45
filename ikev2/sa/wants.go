// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"cmp"
	"net/netip"
	"slices"

	"dmvpn/ikev2/auth"
)

// connect notes that a peer is wanted.
func (m *Machine) connect(in *Connect) {
	c := m.connections[in.Connection]
	if c == nil {
		m.do(&Failed{Connection: in.Connection, Remote: in.Remote, Identity: in.Identity, Reason: "there is no connection of that name"})
		return
	}
	for _, w := range m.index.wantsAt[in.Remote.Addr()] {
		if w.Connect.Connection == in.Connection && w.Connect.Remote == in.Remote && w.Connect.Identity == in.Identity {
			w.Connect.Local, w.Connect.Once = in.Local, w.Connect.Once && in.Once
			return
		}
	}
	m.LastID++
	w := &want{ID: m.LastID, Connect: *in}
	m.Wants = append(m.Wants, w)
	m.indexWant(w)
	m.pursue(w)
}

// pursue uses the SA that is there, or lets one be made as soon as there is room for another
// attempt.
func (m *Machine) pursue(w *want) {
	m.retry(w, 0)
	if s := m.other(w, nil); s != nil {
		m.assign(w, s)
		return
	}
	if !slices.Contains(m.Waiting, w.ID) {
		m.Waiting = append(m.Waiting, w.ID)
	}
}

// attemptNext begins for the want that has waited longest, if there is room, and says whether
// one waited.
func (m *Machine) attemptNext() bool {
	if len(m.Waiting) == 0 || len(m.index.attempts) >= m.config.Limits.Attempts {
		return false
	}
	id := m.Waiting[0]
	if m.Waiting = m.Waiting[1:]; len(m.Waiting) == 0 {
		m.Waiting = nil
	}
	i, ok := slices.BinarySearchFunc(m.Wants, id, func(w *want, id uint64) int { return cmp.Compare(w.ID, id) })
	if !ok {
		return true // taken back meanwhile
	}
	w := m.Wants[i]
	c := m.connections[w.Connect.Connection]
	if c == nil || w.RetryAt != 0 || m.SAs[w.SA] != nil {
		return true
	}
	if s := m.other(w, nil); s != nil {
		m.assign(w, s)
		return true
	}
	s := m.attempt(c, w.Connect.Local, w.Connect.Remote, w.Connect.Identity)
	if m.SAs[s.own()] == s {
		m.assign(w, s)
	}
	return true
}

// serves says whether an SA is, or becomes, what was wanted.
func (m *Machine) serves(s *ikeSA, w *want) bool {
	if s.Connection != w.Connect.Connection {
		return false
	}
	if s.Stage == connecting {
		return s.Initial != nil && sameEnd(s.Remote, w.Connect.Remote) && s.Initial.Identity == w.Connect.Identity
	}
	if w.Connect.Identity.Type != 0 {
		return w.Connect.Identity.Equal(s.RemoteID)
	}
	return sameEnd(s.Remote, w.Connect.Remote)
}

// fulfil hands an established SA to whoever wants its peer.
func (m *Machine) fulfil(s *ikeSA) {
	for _, w := range m.wantsNear(s) {
		if w.SA == s.own() || m.serves(s, w) {
			m.assign(w, s)
			m.retry(w, 0)
			w.Tries = 0
		}
	}
}

// wanted says whether a Connect stands for an SA.
func (m *Machine) wanted(s *ikeSA) bool {
	return len(s.wants) > 0
}

// replaceWant hands the wants of one SA to another.
func (m *Machine) replaceWant(s, by *ikeSA) {
	for _, w := range slices.Concat(s.wants, m.wantsNear(by)) {
		if w.SA == s.own() || w.SA.IsZero() && m.serves(by, w) {
			m.assign(w, by)
			m.retry(w, 0)
		}
	}
}

// lostBy plans what follows from the end of an SA for those who wanted it.
func (m *Machine) lostBy(s *ikeSA, reason string) {
	if o := m.SAs[s.Remakes]; o != nil {
		o.Remaking = false // the SA that was to replace another one came to nothing
		m.childFailed(o, "no other IKE SA could be made")
	}
	told := false
	for _, w := range slices.Clone(s.wants) {
		by := m.other(w, s)
		if m.assign(w, by); by != nil {
			continue
		}
		if s.Failure != "" {
			reason = s.Failure
		}
		if reason == "" {
			// No failure: the peer is on its way to us. If it does not get here, we try again.
			m.retry(w, m.at(m.pause(1)))
			continue
		}
		f := &Failed{Connection: w.Connect.Connection, Remote: w.Connect.Remote, Identity: w.Connect.Identity, Reason: reason}
		if w.Connect.Once {
			m.dropWant(w)
		} else {
			w.Tries++
			m.retry(w, m.at(m.pause(w.Tries)))
			f.Retry = m.wall(w.RetryAt)
		}
		if s.Failure != "" || s.Peer == 0 {
			m.do(f)
			told = true
		}
	}
	if !told && s.Failure != "" && s.Initiator {
		m.report(s, Warning, "connecting to %s: %s", s.Remote, s.Failure)
	}
}

// other is another SA or attempt that does what a want is for.
func (m *Machine) other(w *want, than *ikeSA) *ikeSA {
	var found *ikeSA
	for _, s := range m.near(w.Connect.Connection, w.Connect.Remote.Addr(), w.Connect.Identity) {
		if s != than && (s.Stage == established || s.Stage == connecting) && s.Contest == 0 && m.serves(s, w) &&
			(found == nil || s.Stage == established && found.Stage == connecting) {
			found = s
		}
	}
	return found
}

// disconnect takes a want back.
func (m *Machine) disconnect(in *Disconnect) {
	matches := func(a netip.AddrPort) bool {
		return a.Addr() == in.Remote.Addr() && (in.Remote.Port() == 0 || sameEnd(a, in.Remote))
	}
	var led []*ikeSA
	for _, w := range slices.Clone(m.index.wantsAt[in.Remote.Addr()]) {
		if w.Connect.Connection == in.Connection && w.Connect.Identity == in.Identity && matches(w.Connect.Remote) {
			if s := m.SAs[w.SA]; s != nil {
				led = append(led, s)
			}
			m.dropWant(w)
		}
	}
	for _, s := range slices.Clone(m.index.at[in.Remote.Addr()]) {
		if s.Connection == in.Connection && matches(s.Remote) && m.meant(s, in.Identity) && !slices.Contains(led, s) {
			led = append(led, s)
		}
	}
	for _, s := range led {
		if m.wanted(s) {
			continue
		}
		switch s.Stage {
		case connecting:
			m.die(s, "not wanted any more")
		case established:
			m.endSoon(s, "not wanted any more")
		}
	}
}

// meant says whether an SA is, or is to be, with the peer of an identity; zero: any.
func (m *Machine) meant(s *ikeSA, i auth.Identity) bool {
	switch {
	case i.Type == 0:
		return true
	case s.Stage == connecting:
		return s.Initial != nil && s.Initial.Identity == i
	}
	return i.Equal(s.RemoteID)
}
