// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"dmvpn/ikev2/wire"
)

// Two peers that begin at once make two IKE SAs. RFC 7296 has no rule for that; ours:
//
// An attempt that is overtaken before its IKE_AUTH ends without a word. After it both
// go on, both are installed, and then the one with the higher Ni is kept; both ends
// see the same two. The loser's initiator deletes it when the survivor has a Child
// SA; if it does not, the loser's responder drops it after a while. A peer of another
// kind, which keeps both, is told by us whoever began.
//
// Of two that the same end began the later one is kept: it meant to replace the other.
// One of our kind that replaces another one says so in IKE_AUTH, and deletes it.

// overlap is how close two attempts of peers without instance numbers must be to be
// taken for twins.
const overlap = 30 * time.Second

// closing says whether our D waits for its turn.
func (s *ikeSA) closing() bool { return slices.ContainsFunc(s.Queue, isClosing) }

// rivals are the other IKE SAs of a peer that serve it.
func (m *Machine) rivals(s *ikeSA) []*ikeSA {
	var all []*ikeSA
	for _, o := range m.of(m.Peers[s.Peer]) {
		if o != s && o.Origin != s.Origin && o.Stage == established && o.Contest == 0 && !o.closing() {
			all = append(all, o)
		}
	}
	return all
}

// sameEnd says whether two endpoints may be one host's: ports 500 and 4500 are its own,
// others a NAT's.
func sameEnd(a, b netip.AddrPort) bool {
	return a.Addr() == b.Addr() && (a.Port() == b.Port() || own(a.Port()) && own(b.Port()))
}

func own(port uint16) bool { return port == portIKE || port == portNATT }

// settle leaves one IKE SA of a peer, once it has a Child SA.
func (m *Machine) settle(s *ikeSA) {
	if s.Stage != established || s.Contest != 0 || s.closing() {
		return
	}
	m.fulfil(s)
	m.overtake(s)
	m.changedOf(s)
	for _, o := range m.rivals(s) {
		if o.Asked != 0 {
			continue // it is being asked whether it lives
		}
		keep, lose := s, o
		if o.outranks(s) {
			keep, lose = o, s
		}
		c := keep.usable()
		if c == nil {
			continue // not before the survivor can carry traffic
		}
		if c.Unproven {
			if keep.deletes(lose) && !c.Exchanged {
				m.ascertain(keep)
			}
			continue // not before the peer is known to have the Child SA
		}
		m.use(keep, c)
		m.supersede(lose, keep)
		if !keep.deletes(lose) && c.Exchanged {
			m.show(keep) // the peer deletes the other one when it knows that we have this
		}
		if lose == s {
			return
		}
	}
}

// outranks says which of two IKE SAs of a peer is kept: the one that was made to replace
// the other, the later one of the same end's, the one with the higher Ni.
func (s *ikeSA) outranks(o *ikeSA) bool {
	switch {
	case s.Replaces == o.SPIi:
		return true
	case o.Replaces == s.SPIi:
		return false
	case s.Initiator == o.Initiator:
		return s.ID > o.ID
	}
	return bytes.Compare(s.Ni, o.Ni) > 0
}

// deletes says whether it is we who delete an IKE SA that this one serves instead of: we
// are the initiator of the loser, or made this one to replace it, or the peer is of
// another kind. It knows nothing of our rule, and may send by the loser for ever.
func (s *ikeSA) deletes(lose *ikeSA) bool {
	if s.Replaces == lose.SPIi {
		return s.Initiator
	}
	return lose.Initiator || lose.Instance == [8]byte{}
}

// ascertain asks a peer that may not have our response of IKE_AUTH yet: who answers
// has it.
func (m *Machine) ascertain(s *ikeSA) {
	if !s.Out.Pending && len(s.tasks()) == 0 {
		m.touch(s)
		s.enqueue(&inform{})
	}
}

// show plans a request whatever else is on its way: behind the response that made our
// Child SA, it proves that we have it.
func (m *Machine) show(s *ikeSA) {
	m.touch(s)
	s.enqueue(&inform{})
}

// confirm notes that the peer has the Child SAs of our responses, for it goes on behind
// them. A response of its own proves that only of IKE_AUTH; with a window of one its next
// request, or a packet, does of all.
func (m *Machine) confirm(s *ikeSA, all bool) {
	for _, c := range s.Children {
		if !c.Unproven || c.Exchanged && !all {
			continue
		}
		c.Unproven = false
		if c.Stage == waiting {
			c.Stage = active
		}
		m.settle(s)
		if o, _ := m.current(m.Peers[s.Peer]); o != nil && o.Stage != established && s.Stage == established {
			m.use(s, c)
		}
	}
}

// usable is a Child SA that packets can leave by.
func (s *ikeSA) usable() *childSA {
	for _, c := range s.Children {
		if (c.Stage == active || c.Stage == waiting) && !c.Redundant {
			return c
		}
	}
	return nil
}

// supersede lets an IKE SA go because another one serves its peer.
func (m *Machine) supersede(lose, keep *ikeSA) {
	m.report(lose, Debug, "IKE SA %s serves %s; this one goes", keep.own(), lose.RemoteID)
	m.touch(lose)
	var rest []task
	for _, t := range lose.Queue {
		if isClosing(t) {
			rest = append(rest, t)
		} else {
			t.abandon(m, lose)
		}
	}
	lose.Queue, lose.Later = rest, nil
	// The running task stays: its response is awaited, for the window has room for one.
	lose.Stage, lose.Successor = replaced, keep.own()
	lose.RekeyAt, lose.ReauthAt = 0, 0
	if keep.deletes(lose) {
		lose.enqueue(&deleteIKE{Reason: "another IKE SA serves the peer"})
	} else {
		lose.GoneAt = m.at(graceOfLoser)
	}
}

// reinstate takes IKE SAs back into use that waited for their end because of one that
// ends now itself.
func (m *Machine) reinstate(s *ikeSA) {
	for _, o := range m.of(m.Peers[s.Peer]) {
		if o.Stage != replaced || o.Successor != s.own() || o.Origin == s.Origin || s.deletes(o) && len(o.Queue) == 0 {
			continue // or our D is on the way
		}
		m.report(o, Debug, "this one serves %s after all", o.RemoteID)
		o.Stage, o.Successor, o.GoneAt, o.Queue = established, wire.SPI{}, 0, nil
		m.schedule(o)
		m.touch(o)
		m.settle(o)
	}
}

// overtake ends attempts of ours that an established SA makes needless, if the peer has
// not been told of them in IKE_AUTH.
func (m *Machine) overtake(s *ikeSA) {
	for _, a := range slices.Clone(m.index.attempts) {
		if !a.Initial.AuthSent && a.Connection == s.Connection && m.aims(a.Remote, a.Initial, s) {
			m.report(a, Debug, "%s was faster", s.RemoteID)
			m.die(a, "")
		}
	}
}

// aims says whether an attempt was to reach an SA's peer.
func (m *Machine) aims(remote netip.AddrPort, i *initial, s *ikeSA) bool {
	if i.Identity.Type != 0 {
		return i.Identity.Equal(s.RemoteID)
	}
	return sameEnd(remote, s.Remote)
}

// firstContact says whether INITIAL_CONTACT is true of an attempt: we hold no other SA
// and no other attempt with that peer (section 2.4).
func (m *Machine) firstContact(s *ikeSA) bool {
	id := s.Initial.Identity
	for _, o := range m.near(s.Connection, s.Remote.Addr(), id) {
		if o == s || o.Stage == closed || o.Connection != "" && o.Connection != s.Connection {
			continue
		}
		if sameEnd(o.Remote, s.Remote) || o.Stage != connecting && m.aims(s.Remote, s.Initial, o) {
			return false
		}
	}
	return !slices.ContainsFunc(m.index.attempts, func(o *ikeSA) bool {
		return o != s && id.Type != 0 && o.Connection == s.Connection && o.Initial.Identity.Equal(id)
	})
}

// twinOf says whether another SA or attempt may reach the peer that one aimed at.
func (m *Machine) twinOf(s *ikeSA) bool {
	for _, o := range m.index.at[s.Remote.Addr()] {
		if o != s && o.Stage != closed && (o.Connection == s.Connection || o.Connection == "") && sameEnd(o.Remote, s.Remote) {
			return true
		}
	}
	return false
}

// refusedAuth ends an attempt that the peer refused in IKE_AUTH. If there is another way
// to it, that is no failure: the peer may have settled a crossing otherwise.
func (m *Machine) refusedAuth(s *ikeSA, reason string) {
	if t, ok := s.Running.(*initiate); ok {
		// An IKE_SA_INIT that we had to repeat: the peer may have answered the one before.
		repeated := s.Initial.Rounds > 0
		if t.another(m, s, reason) || repeated && t.restart(m, s) {
			return
		}
	}
	if m.twinOf(s) {
		m.report(s, Debug, "IKE_AUTH: %s; another IKE SA serves the peer or is on its way", reason)
		m.die(s, "")
		return
	}
	m.report(s, Warning, "IKE_AUTH: %s", reason)
	m.fail(s, reason)
}
