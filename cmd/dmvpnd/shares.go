// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"sync"

	"dmvpn/nhrpd"
	"dmvpn/nhrpd/engine"
)

// plane is a tunnel's data plane as the NHRP of its families shares it. Its methods are safe
// for concurrent use.
type plane interface {
	Bind(engine.Bind) error
	Unbind(nextHop netip.Addr) error
	Admit(from engine.Endpoint, protocol netip.Addr) error
	Dismiss(from engine.Endpoint) error
	Traffic(engine.Endpoint) engine.Traffic
	Admitted() map[engine.Endpoint][]netip.Addr
	// Fallback names the next hop that takes what is unresolved of a family.
	Fallback(six bool, nextHop netip.Addr) error
	Carrier(up bool) error
}

// shares are the endpoints that each family of a tunnel wants to be accepted: when one does
// not any more, the other may.
type shares struct {
	mu sync.Mutex
	by [2]map[engine.Endpoint]bool // by Key; of IPv4, of IPv6
	// carriers is what each family says of the carrier, where it is there and has said so.
	carriers [2]struct{ wanted, said, up bool }
}

func newShares() *shares {
	return &shares{by: [2]map[engine.Endpoint]bool{{}, {}}}
}

// share is the data plane as the NHRP of one family has it.
type share struct {
	plane  plane
	shares *shares
	six    bool
}

var _ nhrpd.DataPlane = (*share)(nil)

// index is the place of a family.
func index(six bool) int {
	if six {
		return 1
	}
	return 0
}

// wanted says that the other family wants an endpoint. shares.mu is held.
func (s *share) wanted(e engine.Endpoint) bool { return s.shares.by[index(!s.six)][e.Key()] }

// Bind implements nhrpd.DataPlane. The link-local address is bound with a next hop of IPv6.
func (s *share) Bind(b engine.Bind) error {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	s.shares.by[index(s.six)][b.To.Key()] = true
	err := s.plane.Bind(b)
	if a := linkLocal(b.NextHop); a.IsValid() {
		b.NextHop, b.Multicast = a, false // its peer gets one copy
		err = errors.Join(err, s.plane.Bind(b))
	}
	return err
}

// Unbind implements nhrpd.DataPlane.
func (s *share) Unbind(nextHop netip.Addr) error {
	var err error
	if a := linkLocal(nextHop); a.IsValid() {
		err = s.plane.Unbind(a)
	}
	return errors.Join(err, s.plane.Unbind(nextHop))
}

// Admit implements nhrpd.DataPlane.
func (s *share) Admit(from engine.Endpoint, protocol netip.Addr) error {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	s.shares.by[index(s.six)][from.Key()] = true
	return s.plane.Admit(from, protocol)
}

// Dismiss implements nhrpd.DataPlane. What the other family wants stays.
func (s *share) Dismiss(from engine.Endpoint) error {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	delete(s.shares.by[index(s.six)], from.Key())
	if s.wanted(from) {
		return nil
	}
	return s.plane.Dismiss(from)
}

// Fallback implements nhrpd.DataPlane.
func (s *share) Fallback(nextHop netip.Addr) error { return s.plane.Fallback(s.six, nextHop) }

// Carrier implements nhrpd.DataPlane: a server of either family keeps it.
func (s *share) Carrier(up bool) error {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	c := &s.shares.carriers
	c[index(s.six)].said, c[index(s.six)].up = true, up
	if other := c[index(!s.six)]; !up && other.wanted && (other.up || !other.said) {
		return nil
	}
	return s.plane.Carrier(up)
}

// Traffic implements nhrpd.DataPlane: it is that of both families.
func (s *share) Traffic(e engine.Endpoint) engine.Traffic { return s.plane.Traffic(e) }

// Admitted implements nhrpd.DataPlane: without what the other family answers for.
func (s *share) Admitted() map[engine.Endpoint][]netip.Addr {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	out := map[engine.Endpoint][]netip.Addr{}
	places := map[engine.Endpoint]bool{}
	for key := range s.shares.by[index(!s.six)] {
		places[key.Place()] = true
	}
	mine := s.shares.by[index(s.six)]
	for e, hops := range s.plane.Admitted() {
		var own []netip.Addr
		for _, hop := range hops {
			// Link-local ones come and go with their global ones.
			if hop.Is6() == s.six && (hop.Is4() || !hop.IsLinkLocalUnicast()) {
				own = append(own, hop)
			}
		}
		if len(own) > 0 || mine[e.Key()] || !s.wanted(e) && !places[e] {
			out[e] = own
		}
	}
	return out
}
