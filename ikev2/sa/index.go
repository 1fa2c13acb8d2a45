// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"
	"slices"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/wire"
)

// index finds what a datagram is about without a walk over everything that there is. It
// follows from the state: Import makes it anew. Lists are in the order of their numbers,
// so that equal states give equal actions.
type index struct {
	at       map[netip.Addr][]*ikeSA // by remote address
	attempts []*ikeSA                // those in stage connecting
	inbound  map[uint32]*ikeSA       // whose Child SA has the SPI
	peers    map[whom][]*peer
	wantsAt  map[netip.Addr][]*want // by remote address
	wantsFor map[whom][]*want       // those with an identity
	drawn    map[wire.SPI]bool      // by our rekeys of IKE SAs that are on the way
}

// whom is an identity of a connection; equal identities have equal ones.
type whom struct{ connection, identity string }

func whomOf(connection string, i auth.Identity) whom { return whom{connection, i.Folded()} }

func newIndex() index {
	return index{
		at: map[netip.Addr][]*ikeSA{}, inbound: map[uint32]*ikeSA{}, peers: map[whom][]*peer{},
		wantsAt: map[netip.Addr][]*want{}, wantsFor: map[whom][]*want{}, drawn: map[wire.SPI]bool{},
	}
}

// put adds to one of the lists of a map; take takes away, and the list with its last one.
func put[K comparable, V any](lists map[K][]V, k K, v V) { lists[k] = append(lists[k], v) }

func take[K comparable, V comparable](lists map[K][]V, k K, v V) {
	l := lists[k]
	if i := slices.Index(l, v); i >= 0 {
		l = slices.Delete(l, i, i+1)
	}
	if lists[k] = l; len(l) == 0 {
		delete(lists, k)
	}
}

// put adds an IKE SA, which need not be the youngest: one may move to an address.
func (x *index) put(s *ikeSA) {
	a := s.Remote.Addr()
	x.at[a] = byNumber(x.at[a], s)
	if s.Stage == connecting {
		x.attempts = byNumber(x.attempts, s)
	}
	for _, c := range s.Children {
		x.inbound[c.Inbound] = s
	}
	if t, ok := s.Running.(*rekeyIKE); ok && t.N != nil {
		x.drawn[t.N.SPIi] = true
	}
}

func byNumber(list []*ikeSA, s *ikeSA) []*ikeSA {
	i := len(list)
	for i > 0 && list[i-1].ID > s.ID {
		i--
	}
	return slices.Insert(list, i, s)
}

// noAttempt is called when an IKE SA is about to leave stage connecting.
func (x *index) noAttempt(s *ikeSA) {
	if i := slices.Index(x.attempts, s); i >= 0 {
		x.attempts = slices.Delete(x.attempts, i, i+1)
	}
}

// add makes an IKE SA one of the machine's.
func (m *Machine) add(s *ikeSA) {
	m.SAs[s.own()] = s
	m.index.put(s)
	s.timer.number, s.timer.run = s.ID, func() { m.runSA(s) }
	if m.config.Known != nil {
		m.config.Known(s.own(), true)
	}
}

// remove takes one away that has no Child SAs, Initial or wants any more.
func (m *Machine) remove(s *ikeSA) {
	delete(m.SAs, s.own())
	m.load.leave(s.Admitted)
	take(m.index.at, s.Remote.Addr(), s)
	m.plan(&s.timer, 0)
	if m.config.Known != nil {
		m.config.Known(s.own(), false)
	}
}

// relocate gives an IKE SA other endpoints.
func (m *Machine) relocate(s *ikeSA, local, remote netip.AddrPort) {
	if s.Remote.Addr() != remote.Addr() && m.SAs[s.own()] == s {
		take(m.index.at, s.Remote.Addr(), s)
		m.index.at[remote.Addr()] = byNumber(m.index.at[remote.Addr()], s)
	}
	s.Local, s.Remote = local, remote
}

// peerOf finds the peer with an identity, nil if no SA with it is authenticated.
func (m *Machine) peerOf(connection string, i auth.Identity) *peer {
	for _, p := range m.index.peers[whomOf(connection, i)] {
		if p.Identity.Equal(i) {
			return p
		}
	}
	return nil
}

// near gives the IKE SAs with an address, and those with the peer of an identity if there
// is one, in the order of their numbers.
func (m *Machine) near(connection string, a netip.Addr, i auth.Identity) []*ikeSA {
	all := slices.Clone(m.index.at[a])
	if i.Type == 0 {
		return all
	}
	if p := m.peerOf(connection, i); p != nil {
		for _, s := range m.of(p) {
			if s.Remote.Addr() != a {
				all = byNumber(all, s)
			}
		}
	}
	return all
}

// indexWant makes a want that is in Wants findable.
func (m *Machine) indexWant(w *want) {
	w.timer.number, w.timer.run = w.ID, func() { m.pursue(w) }
	put(m.index.wantsAt, w.Connect.Remote.Addr(), w)
	if i := w.Connect.Identity; i.Type != 0 {
		put(m.index.wantsFor, whomOf(w.Connect.Connection, i), w)
	}
}

// dropWant forgets a want.
func (m *Machine) dropWant(w *want) {
	m.assign(w, nil)
	m.plan(&w.timer, 0)
	m.Wants = slices.DeleteFunc(m.Wants, func(o *want) bool { return o == w })
	take(m.index.wantsAt, w.Connect.Remote.Addr(), w)
	if i := w.Connect.Identity; i.Type != 0 {
		take(m.index.wantsFor, whomOf(w.Connect.Connection, i), w)
	}
}

// assign says which IKE SA serves a want or is to; nil: none.
func (m *Machine) assign(w *want, s *ikeSA) {
	if old := m.SAs[w.SA]; old != nil {
		old.wants = slices.DeleteFunc(old.wants, func(o *want) bool { return o == w })
	}
	if w.SA = (wire.SPI{}); s != nil {
		w.SA = s.own()
		s.wants = append(s.wants, w)
	}
}

// wantsNear are the wants that an IKE SA serves or may serve, in the order of their
// numbers.
func (m *Machine) wantsNear(s *ikeSA) []*want {
	all := slices.Concat(s.wants, m.index.wantsAt[s.Remote.Addr()])
	if s.RemoteID.Type != 0 {
		all = append(all, m.index.wantsFor[whomOf(s.Connection, s.RemoteID)]...)
	}
	slices.SortFunc(all, func(a, b *want) int { return int(a.ID) - int(b.ID) })
	return slices.Compact(all)
}
