// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"

	"dmvpn/cmd/internal/ike"
	"dmvpn/ikev2"
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
)

// ask makes IKE want an end as long as NHRP does, and where NHRP says that it is. That IKE
// is wanted of the servers stands from the start.
func (s *secure) ask(e *end) {
	before := e.asked
	e.asked = nil
	if e.wanted() && e.server == 0 {
		// Without an address of its family there is nowhere to ask from.
		if w := s.wish(e); w.Local.Addr().IsValid() {
			e.asked = &w
		}
	}
	if before != nil && e.asked != nil && sameWish(*before, *e.asked) {
		return
	}
	// The new wish first: an SA that serves both stays.
	service := s.tunnel.daemon.ike.Service()
	if e.asked != nil {
		if service.Connect(*e.asked); !e.up {
			e.tried(destination(*e.asked))
		} else if before != nil && e.hint != e.at {
			s.doubt(e)
		}
	}
	if before != nil {
		service.Disconnect(*before)
	}
}

// askAgain asks for those whom there was no address of ours to ask from. Who was asked for stays so
// while an address is away: it may be back in a moment.
func (s *secure) askAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := range s.all {
		if e.asked == nil {
			s.ask(e)
		}
	}
}

// sameWish says whether two wishes are one to IKE; our address it follows by itself.
func sameWish(a, b ikev2.Want) bool {
	return a.Host == b.Host && a.Port == b.Port && a.Identity == b.Identity
}

// doubt makes IKE look whether an end is still where it was: NHRP says that it is elsewhere.
func (s *secure) doubt(e *end) {
	if a := s.tunnel.daemon.installer.database.Current(e.peer); a != nil {
		p := a.Path()
		s.tunnel.daemon.ike.Service().Hint(&sa.Unreachable{Local: p.Local, Remote: p.Remote})
	}
}

// destination is where a wish of ours is sent.
func destination(w ikev2.Want) netip.AddrPort {
	a, _ := netip.ParseAddr(w.Host) // it was made of one
	return netip.AddrPortFrom(a, w.Port)
}

// wish goes to port 4500 from ours, the mapping that a NAT before us has for the hub.
func (s *secure) wish(e *end) ikev2.Want {
	w := ikev2.Want{Connection: s.tunnel.config.Name, Host: e.hint.NBMA.String(), Port: ike.PortNATT}
	if e.hint.Port != 0 {
		w.Port = e.hint.Port
	}
	// One that no configuration can name is anybody: its end comes by its name all the same.
	if who, err := auth.ParseIdentity(e.identity); e.identity != "" && err == nil {
		w.Identity = who
	}
	s.tunnel.mu.Lock()
	w.Local = netip.AddrPortFrom(s.tunnel.underlay.For(e.hint.NBMA), ike.PortNATT)
	s.tunnel.mu.Unlock()
	return w
}
