// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"sync"

	"dmvpn/cmd/internal/ike"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// errNoSA says that there is no IPsec SA with an endpoint yet; one is asked for.
var errNoSA = errors.New("no IPsec SA yet")

// secure is the data plane of a protected tunnel, as nhrpd wants it, over what IKE has
// with the same peers. What NHRP binds takes effect while there is an SA: until then, and
// when it is lost, packets go by way of the hub. Its methods are called by the loops of
// NHRP and of IKE.
type secure struct {
	tunnel *tunnel
	plain  *dataPlane

	mu sync.Mutex
	directory
	fallbacks [2]netip.Addr // of IPv4, of IPv6

	sources sources
}

func newSecure(t *tunnel, plain *dataPlane) *secure {
	return &secure{tunnel: t, plain: plain, directory: newDirectory()}
}

// endpointOf is where NHRP sees a peer of IKE's. IKE's own ports stand for no port: they
// are no NAT's.
func endpointOf(identity string, a netip.AddrPort) engine.Endpoint {
	e := engine.Endpoint{NBMA: a.Addr().Unmap(), Identity: identity}
	if a.Port() != ike.Port && a.Port() != ike.PortNATT {
		e.Port = a.Port()
	}
	return e
}

// admit gives the end its place in the tables: that of a run before, if nobody else has
// taken it.
func (s *secure) admit(e *end) error {
	if e.id != 0 {
		return nil
	}
	admit := s.plain.tables.Admit
	if id, ok := s.plain.tables.ID(s.plain.tunnel, at(e.at)); ok && s.ids[id] != nil {
		admit = s.plain.tables.AdmitAnew
	}
	id, err := admit(s.plain.tunnel, at(e.at), netip.Addr{}, 0)
	if e.id = id; id != 0 {
		s.ids[id] = e
	}
	return err
}

// tidy forgets an end that nobody knows any more.
func (s *secure) tidy(e *end) error {
	s.ask(e)
	if e.wanted() || e.met() {
		return nil
	}
	s.forget(e)
	s.tunnel.authorizer.left(e.identity)
	if e.id == 0 {
		return nil
	}
	s.sources.gone(e.id)
	s.tunnel.currentPump().Secure(e.id, nil)
	return s.plain.tables.Remove(e.id)
}

// Bind implements plane.
func (s *secure) Bind(b engine.Bind) error {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.want(b.To)
	before := s.hops[b.NextHop]
	s.bind(e, b)
	s.ask(e)
	if before != nil && before != e {
		defer func() { s.tunnel.daemon.quietly("dismiss", s.tidy(before)) }()
	}
	if !e.up && s.current(e) == nil {
		return s.plain.Unbind(b.NextHop) // it goes by way of the hub, not to where it was
	}
	return s.effect(e, b.NextHop)
}

// effect makes packets to a next hop go to its end.
func (s *secure) effect(e *end, hop netip.Addr) error {
	b := e.hops[hop]
	if err := s.plain.tables.Describe(e.id, described(hop), int(b.MTU)); err != nil {
		return err
	}
	if err := s.plain.tables.Bind(s.plain.tunnel, hop, e.id); err != nil {
		return err
	}
	s.plain.listens(hop, e.id, b.Multicast)
	return s.settleFallback()
}

// settleFallback makes the fallbacks take effect when their next hop has an SA.
func (s *secure) settleFallback() error {
	return errors.Join(s.plain.Fallback(false, s.fallbacks[0]), s.plain.Fallback(true, s.fallbacks[1]))
}

// Unbind implements plane.
func (s *secure) Unbind(nextHop netip.Addr) error {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.plain.Unbind(nextHop)
	if e := s.unbind(nextHop); e != nil {
		err = errors.Join(err, s.tidy(e))
	}
	return err
}

// Admit implements plane. Both ends of a shortcut ask for an SA: behind NATs
// one direction alone may not get through.
func (s *secure) Admit(from engine.Endpoint, protocol netip.Addr) error {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.want(from)
	e.admitted[from.Key()] = from
	if protocol.IsValid() {
		s.owns(e, protocol)
	}
	s.ask(e)
	return nil
}

// Dismiss implements plane.
func (s *secure) Dismiss(from engine.Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(from)
	if e == nil {
		if id, ok := s.plain.tables.ID(s.plain.tunnel, at(from)); ok && s.ids[id] == nil { // of a run before
			return s.plain.tables.Remove(id)
		}
		return nil
	}
	delete(e.admitted, from.Key())
	if e.server == 0 && len(e.admitted) == 0 {
		e.passesOn = false
	}
	s.unclaim(e, from)
	return s.tidy(e)
}

// Fallback implements plane.
func (s *secure) Fallback(six bool, nextHop netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fallbacks[index(six)] = nextHop
	return s.settleFallback()
}

// Carrier implements plane.
func (s *secure) Carrier(up bool) error { return s.plain.Carrier(up) }

// Traffic implements plane.
func (s *secure) Traffic(by engine.Endpoint) engine.Traffic {
	s.mu.Lock()
	var id tables.PeerID
	if e := s.find(by); e != nil {
		id = e.id
	}
	s.mu.Unlock()
	return s.plain.traffic(id)
}

// Admitted implements plane: what NHRP wants, and what stands in the tables from
// a run before.
func (s *secure) Admitted() map[engine.Endpoint][]netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.plain.admitted(func(id tables.PeerID) bool { return s.ids[id] == nil })
	for e := range s.all {
		for _, by := range e.admitted {
			if _, ok := out[by]; !ok {
				out[by] = nil
			}
		}
		for hop, b := range e.hops {
			out[b.To] = append(out[b.To], hop)
		}
	}
	return out
}
