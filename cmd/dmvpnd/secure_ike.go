// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"dmvpn/ikev2/sa"
	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// met gives the end of a peer that IKE has authenticated. One that has no SA that is used
// is, from now on, where this one is; one that has moves when IKE says so.
func (s *secure) met(p sa.Peer) (*end, error) {
	place := endpointOf("", p.Remote)
	e, replaced := s.meet(p.Identity.Name(), place)
	if lost := s.own(e, p.ID); lost != nil {
		s.tunnel.daemon.quietly("release", s.release(lost))
	}
	s.tunnel.authorizer.proved(e.identity, p.Claims)
	if !e.up {
		if err := s.moved(e, place); err != nil {
			return nil, err
		}
	}
	s.ask(e)
	if replaced != nil {
		s.ask(replaced)
	}
	return e, s.admit(e)
}

// moved takes an end to another place, with everything that it has.
func (s *secure) moved(e *end, to engine.Endpoint) error {
	s.place(e, to)
	if e.id == 0 {
		return nil
	}
	return s.plain.tables.Move(e.id, at(to))
}

// enter counts one more Child SA of a peer, and gives the peer's place in the tables.
func (s *secure) enter(p sa.Peer) (tables.PeerID, error) {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.met(p)
	if err != nil {
		return 0, err
	}
	e.children++
	return e.id, nil
}

// leave counts one less.
func (s *secure) leave(peer uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.peers[peer]; e != nil && e.children > 0 {
		e.children--
		s.tunnel.daemon.quietly("dismiss", s.tidy(e))
	}
}

// activated changes what a peer's packets leave by.
func (s *secure) activated(peer uint64, a *esp.Association) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.peers[peer]
	if e == nil || e.id == 0 {
		return
	}
	s.tunnel.currentPump().Secure(e.id, a)
	if a != nil || e.up {
		return
	}
	for hop := range e.hops { // it was bound before it was up, and never is
		s.tunnel.daemon.quietly("unbind", s.plain.Unbind(hop))
	}
}

// up lets NHRP use a peer, where it is now.
func (s *secure) up(p sa.Peer, a *esp.Association) error {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.met(p)
	if err != nil {
		return err
	}
	if err := s.moved(e, endpointOf("", p.Remote)); err != nil {
		return err
	}
	e.up, e.trouble = true, trouble{}
	s.tunnel.currentPump().Secure(e.id, a)
	for hop := range e.hops {
		err = errors.Join(err, s.effect(e, hop))
	}
	return err
}

// down takes a peer's packets back to the hub.
func (s *secure) down(p sa.Peer) error {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.peers[p.ID]; e != nil {
		return s.release(e)
	}
	return nil
}

// release takes the packets of an end that IKE has no more.
func (s *secure) release(e *end) (err error) {
	e.up = false
	if e.asked != nil {
		e.tried(destination(*e.asked))
	}
	for hop := range e.hops {
		err = errors.Join(err, s.plain.Unbind(hop))
	}
	if e.id != 0 {
		s.tunnel.currentPump().Secure(e.id, nil)
	}
	return errors.Join(err, s.tidy(e))
}

// path gives the association that packets to an endpoint leave by.
func (s *secure) path(to engine.Endpoint) (*esp.Association, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(to); e != nil {
		if a := s.current(e); a != nil {
			return a, nil
		}
	}
	return nil, errNoSA
}

// current is the association that an end's packets leave by, nil for none. There may be one before
// IKE has said that the end is up: a registration that came by it is answered, and takes effect.
func (s *secure) current(e *end) *esp.Association {
	if e.peer == 0 || e.id == 0 {
		return nil
	}
	return s.tunnel.daemon.installer.database.Current(e.peer)
}

// secured says whether there is an SA with an endpoint.
func (s *secure) secured(at engine.Endpoint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(at)
	return e != nil && e.up
}

// identity is who IKE says that an association's packets are from, "" if it has the peer no
// more.
func (s *secure) identity(a *esp.Association) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.peers[a.Peer]; e != nil {
		return e.identity
	}
	return ""
}
