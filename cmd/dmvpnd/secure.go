// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"sync"

	"dmvpn/cmd/internal/ike"
	"dmvpn/ikev2"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// errNoSA says that there is no IPsec SA with an endpoint yet; one is asked for.
var errNoSA = errors.New("no IPsec SA yet")

// secure is the data plane of a protected tunnel, as nhrpd wants it, over what IKE has
// with the same endpoints. What NHRP binds takes effect while there is an SA: until
// then, and when it is lost, packets go by way of the hub. Its methods are called by the
// loops of NHRP and of IKE.
type secure struct {
	tunnel *tunnel
	plain  *dataPlane

	mu       sync.Mutex
	ends     map[engine.Endpoint]*end
	ids      map[tables.PeerID]*end // those that have a place in the tables
	servers  int                    // next hops that are servers'
	fallback netip.Addr

	sources sources
}

// end is one endpoint, as NHRP and as IKE knows it.
type end struct {
	at       engine.Endpoint
	id       tables.PeerID              // 0: none yet
	hops     map[netip.Addr]engine.Bind // bound by NHRP
	server   int                        // of hops, those that are a server's
	admitted bool
	asked    bool // IKE is asked for an SA

	peer     uint64 // IKE's; 0: none
	identity string
	up       bool
	children int // Child SAs that are installed
}

func newSecure(t *tunnel, plain *dataPlane) *secure {
	return &secure{tunnel: t, plain: plain, ends: map[engine.Endpoint]*end{}, ids: map[tables.PeerID]*end{}}
}

// endpointOf is where NHRP sees a peer of IKE's. IKE's own ports stand for no port: they
// are no NAT's.
func endpointOf(a netip.AddrPort) engine.Endpoint {
	e := engine.Endpoint{NBMA: a.Addr().Unmap()}
	if a.Port() != ike.Port && a.Port() != ike.PortNATT {
		e.Port = a.Port()
	}
	return e
}

func (s *secure) end(at engine.Endpoint) *end {
	at = at.Place()
	e := s.ends[at]
	if e == nil {
		e = &end{at: at, hops: map[netip.Addr]engine.Bind{}}
		s.ends[at] = e
	}
	return e
}

// admit gives the end its place in the tables.
func (s *secure) admit(e *end) error {
	if e.id != 0 {
		return nil
	}
	id, err := s.plain.tables.Admit(s.plain.tunnel, at(e.at), netip.Addr{}, 0)
	if e.id = id; id != 0 {
		s.ids[id] = e
	}
	return err
}

// tidy forgets an end that nobody knows any more.
func (s *secure) tidy(e *end) error {
	if len(e.hops) > 0 || e.admitted || e.up || e.children > 0 {
		return nil
	}
	delete(s.ends, e.at)
	if !s.known(e.identity) {
		s.tunnel.authorizer.left(e.identity)
	}
	s.release(e)
	if e.id == 0 {
		return nil
	}
	delete(s.ids, e.id)
	s.sources.gone(e.id)
	s.tunnel.currentPump().Secure(e.id, nil)
	return s.plain.tables.Dismiss(s.plain.tunnel, at(e.at))
}

// known says that an end is the identity's.
func (s *secure) known(identity string) bool {
	for _, e := range s.ends {
		if e.identity == identity {
			return true
		}
	}
	return false
}

// ask makes IKE want the end.
func (s *secure) ask(e *end) {
	if e.asked || s.tunnel.isServer(e.at.NBMA) {
		return // that IKE is wanted of the servers stands from the start
	}
	e.asked = true
	s.tunnel.daemon.ike.Service().Connect(s.want(e))
}

// release takes ask back when NHRP does not want the end any more.
func (s *secure) release(e *end) {
	if !e.asked || len(e.hops) > 0 || e.admitted {
		return
	}
	e.asked = false
	s.tunnel.daemon.ike.Service().Disconnect(s.want(e))
}

// want goes to port 4500 from ours, the mapping that a NAT before us has for the hub.
func (s *secure) want(e *end) ikev2.Want {
	w := ikev2.Want{Connection: s.tunnel.config.Name, Host: e.at.NBMA.String(), Port: ike.PortNATT}
	if e.at.Port != 0 {
		w.Port = e.at.Port
	}
	s.tunnel.mu.Lock()
	w.Local = netip.AddrPortFrom(s.tunnel.underlay.Address, ike.PortNATT)
	s.tunnel.mu.Unlock()
	return w
}

// Bind implements nhrpd.DataPlane.
func (s *secure) Bind(b engine.Bind) error {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	nextHop, to := b.NextHop, b.To.Place()
	for _, other := range s.ends {
		if _, ok := other.hops[nextHop]; ok && other.at != to {
			s.drop(other, nextHop)
			defer func() { s.tunnel.daemon.quietly("dismiss", s.tidy(other)) }()
		}
	}
	e := s.end(to)
	s.drop(e, nextHop)
	if e.hops[nextHop] = b; b.Server {
		e.server++
		s.servers++
	}
	s.ask(e)
	if !e.up {
		return s.plain.Unbind(nextHop) // it goes by way of the hub, not to where it was
	}
	return s.bind(e, nextHop)
}

// drop takes a next hop off an end.
func (s *secure) drop(e *end, nextHop netip.Addr) {
	if e.hops[nextHop].Server {
		e.server--
		s.servers--
	}
	delete(e.hops, nextHop)
}

func (s *secure) bind(e *end, nextHop netip.Addr) error {
	if err := s.plain.Bind(e.hops[nextHop]); err != nil {
		return err
	}
	return s.settleFallback()
}

// settleFallback makes the fallback take effect when its next hop has an SA.
func (s *secure) settleFallback() error { return s.plain.Fallback(s.fallback) }

// Unbind implements nhrpd.DataPlane.
func (s *secure) Unbind(nextHop netip.Addr) error {
	defer s.sources.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.plain.Unbind(nextHop)
	for _, e := range s.ends {
		if _, ok := e.hops[nextHop]; ok {
			s.drop(e, nextHop)
			s.release(e)
			err = errors.Join(err, s.tidy(e))
		}
	}
	return err
}

// Admit implements nhrpd.DataPlane. Both ends of a shortcut ask for an SA: behind NATs
// one direction alone may not get through.
func (s *secure) Admit(from engine.Endpoint, _ netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.end(from)
	e.admitted = true
	s.ask(e)
	return nil
}

// Dismiss implements nhrpd.DataPlane.
func (s *secure) Dismiss(from engine.Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.ends[from.Place()]
	if e == nil {
		return s.plain.Dismiss(from) // of a run before
	}
	e.admitted = false
	s.release(e)
	return s.tidy(e)
}

// Fallback implements nhrpd.DataPlane.
func (s *secure) Fallback(nextHop netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fallback = nextHop
	return s.settleFallback()
}

// Traffic implements nhrpd.DataPlane.
func (s *secure) Traffic(e engine.Endpoint) engine.Traffic { return s.plain.Traffic(e) }

// Admitted implements nhrpd.DataPlane: what stands in the tables, from a run before
// too, and what waits for an SA.
func (s *secure) Admitted() map[engine.Endpoint][]netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.plain.Admitted()
	for at, e := range s.ends {
		if len(e.hops) == 0 && !e.admitted {
			continue
		}
		var hops []netip.Addr
		for hop := range e.hops {
			hops = append(hops, hop)
		}
		out[at] = hops
	}
	return out
}
