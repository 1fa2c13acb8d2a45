// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"dmvpn/ikev2/sa"
	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// enter counts one more Child SA of a peer, and gives the peer's place in the tables.
func (s *secure) enter(p sa.Peer) (tables.PeerID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.end(endpointOf(p.Remote))
	if err := s.admit(e); err != nil {
		return 0, err
	}
	if e.peer != p.ID {
		defer s.sources.changed()
	}
	e.peer, e.identity = p.ID, p.Identity.Name()
	s.tunnel.authorizer.proved(e.identity, p.Claims)
	e.children++
	return e.id, nil
}

// leave counts one less.
func (s *secure) leave(peer uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.of(peer) {
		if e.children > 0 {
			e.children--
			s.tunnel.daemon.quietly("dismiss", s.tidy(e))
			return
		}
	}
}

// of gives the ends of one peer: it has two for a while after it moved.
func (s *secure) of(peer uint64) (all []*end) {
	for _, e := range s.ends {
		if e.peer == peer {
			all = append(all, e)
		}
	}
	return all
}

// activated changes what a peer's packets leave by.
func (s *secure) activated(peer uint64, a *esp.Association) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.of(peer) {
		if e.id != 0 {
			s.tunnel.currentPump().Secure(e.id, a)
		}
	}
}

// up lets NHRP use a peer.
func (s *secure) up(p sa.Peer, a *esp.Association) error {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.end(endpointOf(p.Remote))
	if err := s.admit(e); err != nil {
		return err
	}
	e.peer, e.identity, e.up = p.ID, p.Identity.Name(), true
	s.tunnel.currentPump().Secure(e.id, a)
	var err error
	for hop := range e.hops {
		err = errors.Join(err, s.bind(e, hop))
	}
	if other := s.expected(e); other != nil {
		if err := s.admit(other); err != nil {
			return err
		}
		other.peer, other.identity, other.up = e.peer, e.identity, true
		s.tunnel.currentPump().Secure(other.id, a)
		for hop := range other.hops {
			err = errors.Join(err, s.bind(other, hop))
		}
	}
	return err
}

// expected is the end that NHRP wants where a NAT gave its owner another port towards us
// than towards the hub: the only one at that address without an SA. nil: there is none.
func (s *secure) expected(e *end) (found *end) {
	if len(e.hops) > 0 || e.admitted || e.at.Port == 0 {
		return nil
	}
	for _, o := range s.ends {
		if o == e || o.at.NBMA != e.at.NBMA || o.peer != 0 || len(o.hops) == 0 && !o.admitted {
			continue
		}
		if found != nil {
			return nil
		}
		found = o
	}
	return found
}

// down takes a peer's packets back to the hub.
func (s *secure) down(p sa.Peer) (err error) {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.of(p.ID) {
		e.up = false
		for hop := range e.hops {
			err = errors.Join(err, s.plain.Unbind(hop))
		}
		if e.id != 0 {
			s.tunnel.currentPump().Secure(e.id, nil)
		}
		err = errors.Join(err, s.tidy(e))
	}
	return err
}

// path gives the association that packets to an endpoint leave by.
func (s *secure) path(to engine.Endpoint) (*esp.Association, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Not only when it is up: a registration may be here before IKE has said so.
	if e := s.ends[to.Place()]; e != nil && e.peer != 0 {
		if a := s.tunnel.daemon.installer.database.Current(e.peer); a != nil {
			return a, nil
		}
	}
	return nil, errNoSA
}

// identity is who IKE says that an association's packets are from.
func (s *secure) identity(a *esp.Association) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.of(a.Peer) {
		return e.identity
	}
	return ""
}
