// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"time"

	"dmvpn/nhrpd/wire"
)

// registrationReply takes the answer to a registration of ours (RFC 2332,
// section 5.2.4). It must be for what is outstanding: id, both source addresses
// and the endpoint.
func (m *Machine) registrationReply(in Packet, p *wire.Packet) {
	s, r := m.outstanding(p)
	if s == nil {
		m.drop("unsolicited-reply")
		return
	}
	if to, _ := s.to(); !to.Is(in.From) || !s.isServer(p.DestinationProtocol, m.own()) {
		m.drop("reply-from-elsewhere")
		return
	}
	s.Replies++
	r.Waiting, r.Tries = false, 0
	if r == s.own() {
		m.ownRegistered(s, r, in, p)
	} else {
		m.networksRegistered(s, r, p)
	}
}

// isServer says whether a reply's destination may be the server's: it is what
// was asked for, or what a server that was not known by address calls itself.
func (s *server) isServer(destination, own netip.Addr) bool {
	return !s.conf.Protocol.IsValid() || destination == s.conf.Protocol || destination == own
}

// outstanding finds the registration that a packet with our id and our source
// is about.
func (m *Machine) outstanding(p *wire.Packet) (*server, *registration) {
	for _, s := range m.servers {
		for _, r := range s.Registrations {
			if r.Waiting && r.ID == p.RequestID && r.Source == p.SourceNBMA && m.own() == p.SourceProtocol {
				return s, r
			}
		}
	}
	return nil, nil
}

// ownRegistered takes the answer to the registration of our own address.
func (m *Machine) ownRegistered(s *server, r *registration, in Packet, p *wire.Packet) {
	c := p.CIEs[0]
	if c.Code.NAK() {
		m.registrationRefused(s, r, in.From, c.Code)
		return
	}
	protocol := s.conf.Protocol
	if !protocol.IsValid() {
		if protocol = m.responder(p); !protocol.IsValid() {
			r.Next = m.now + longestPause
			s.Reason = "it does not say its protocol address"
			m.report(Warn, in.From, "NHS %s registered us but does not say who it is; configure its protocol address", s.Name)
			return
		}
	}
	holding := m.cfg.HoldingTime
	if given := instant(c.HoldingTime) * time.Second; given > 0 {
		holding = min(holding, given)
	}
	s.Reason, s.Probe = "", m.answersProbes(p)
	r.Registered, r.Until, r.Reason = true, m.now+holding, ""
	r.Next = m.renewal(holding)
	if m.returns(s) {
		// It is asked a few times whether it still answers.
		r.Next = min(r.Next, s.Returns, m.now+max(m.cfg.Fallback/4, firstPause))
		// Others may use it before we do: it has our networks, and what it sends us is accepted.
		s.Bound = in.From
		m.admit(in.From, protocol, r.Until, false, "it has us registered")
		m.registerNetworks(s, false)
		return
	}
	public := m.observed(p)
	moved := s.Since != 0 && s.Public != public
	s.Public, s.Failed, s.Returns = public, false, 0
	m.serverUp(s, protocol, in.From)
	if moved && !m.cfg.Authenticated { // else IKE tells those who know us there
		m.leaveShortcuts("our address behind a NAT changed")
	}
	m.registerNetworks(s, true)
	m.elect()
}

// registerNetworks registers our prefixes with a server that has our own address; again also
// those that it has already.
func (m *Machine) registerNetworks(s *server, again bool) {
	for _, r := range s.Registrations[1:] {
		if again || !r.Registered && !r.Waiting {
			r.Waiting, r.Tries, r.Next = false, 0, m.now
		}
	}
}

// responder is the protocol address by which an NHS calls itself: in the
// Responder Address, else in the destination of its reply.
func (m *Machine) responder(p *wire.Packet) netip.Addr {
	candidates := []netip.Addr{p.DestinationProtocol}
	if c, ok := firstEntry(p, wire.ExtensionResponderAddress); ok {
		candidates = []netip.Addr{c.Protocol, p.DestinationProtocol}
	}
	for _, a := range candidates {
		if a.IsValid() && a != m.own() && m.cfg.Address.Contains(a) {
			return a
		}
	}
	return netip.Addr{}
}

// observed is our NBMA address as the NHS sees it: the entry for our own
// protocol address in Cisco's NAT extension; invalid where it is as we see it.
func (m *Machine) observed(p *wire.Packet) netip.Addr {
	for _, c := range entries(p, wire.ExtensionNATAddress) {
		if c.Protocol == m.own() && !m.local.is(c.NBMA) && validNBMA(c.NBMA) {
			return c.NBMA
		}
	}
	return netip.Addr{}
}

// registrationRefused takes a NAK: after 14 nothing of the other's is purged,
// and the next try is far away; 5 may be over soon.
func (m *Machine) registrationRefused(s *server, r *registration, from Endpoint, code wire.Code) {
	wait := pauseRefused
	if code == wire.CodeInsufficientResources {
		wait = pauseNoRoom
	}
	wait = m.later(wait)
	s.Reason, r.Reason = code.String(), code.String()
	r.Registered, r.Next = false, m.now+wait
	m.report(Warn, from, "NHS %s refuses our registration of %v: %v; tried again in %v", s.Name, m.own(), code, wait.Round(time.Second))
	m.serverDown(s, "registration refused: "+code.String())
	m.fail(s)
	// It may be another who has that address now.
	m.tryAnother(s)
}

// later is a pause, or up to a quarter more.
func (m *Machine) later(pause instant) instant {
	return pause + instant(m.env.Random()%uint64(pause/4))
}

// networksRegistered takes the answer to a registration of prefixes, each of
// which was judged alone. What the server had no room for is tried again soon.
func (m *Machine) networksRegistered(s *server, r *registration, p *wire.Packet) {
	r.Next, r.Refused, r.Reason = 0, nil, ""
	r.Registered = true
	for _, c := range p.CIEs {
		if !c.Code.NAK() {
			continue
		}
		refused := c.Prefix(c.Protocol)
		if len(r.Refused) < len(r.Prefixes) {
			r.Refused = append(r.Refused, refused)
		}
		if r.Reason == "" {
			m.report(Info, s.Bound, "NHS %s does not take %v from us: %v", s.Name, refused, c.Code)
		}
		r.Reason = c.Code.String()
		r.Registered = false
		if c.Code == wire.CodeInsufficientResources && r.Next == 0 {
			r.Next = m.now + m.later(pauseNoRoom)
		}
	}
	r.Until = s.own().Until
}

// serverUp makes a server that has registered us the way to what it serves.
func (m *Machine) serverUp(s *server, protocol netip.Addr, at Endpoint) {
	was, before, bound := s.Up, s.Protocol, s.Bound
	s.Up, s.Protocol, s.Bound = true, protocol, at
	if p, ok := m.paths.Get(bound.Key()); ok {
		m.tidyPath(p)
	}
	if s.Probe {
		m.servePath(s)
	}
	if was && before == protocol && bound == at {
		return
	}
	if !was {
		s.Since = m.now
	}
	m.report(Info, at, "NHS %s is up as %v", s.Name, protocol)
	if b, ok := m.bindings.Get(host(protocol)); ok && !b.To.Is(at) {
		m.removeBinding(b, "it is the address of NHS "+s.Name)
	}
	m.settleHop(protocol, "NHS "+s.Name+" registered us")
	m.settleServer(s, "NHS "+s.Name+" is up")
	if was && before != protocol {
		m.settleHop(before, "NHS "+s.Name+" has another protocol address")
	}
	for _, o := range m.servers { // one that was kept because there was no other
		if p, ok := m.paths.Get(o.Bound.Key()); ok && o != s && o.Up && p.State == PathLost {
			m.serverDown(o, p.Reason+", another NHS takes over")
		}
	}
}

// serverDown takes the routes off a server; what was resolved lives on to the
// end of its holding time.
func (m *Machine) serverDown(s *server, reason string) {
	if !s.Up {
		return
	}
	s.Up, s.Since = false, m.now
	if own := s.own(); own.Registered { // others may reach us by it still
		m.admit(s.Bound, s.Protocol, own.Until, false, "it has us registered")
	}
	for _, r := range s.Registrations {
		r.Registered = false
	}
	m.report(Warn, s.Bound, "NHS %s is down: %s", s.Name, reason)
	m.settleServer(s, "NHS "+s.Name+" is down")
	m.settleHop(s.Protocol, "NHS "+s.Name+" is down")
	if !s.conf.Protocol.IsValid() {
		s.Protocol = netip.Addr{}
	}
	if p, ok := m.paths.Get(s.Bound.Key()); ok {
		m.tidyPath(p)
	}
}

// settleServer moves what goes by the servers: the fallback and their routes.
func (m *Machine) settleServer(s *server, reason string) {
	m.settleFallback()
	for _, p := range s.conf.Routes {
		m.settleRoute(p, reason)
	}
}

// registerAgain registers once more with the server at an endpoint, because an
// error made it doubtful that it knows us; not again and again.
func (m *Machine) registerAgain(at Endpoint) {
	for _, s := range m.servers {
		if s.Up && s.Bound.Is(at) && !s.own().Waiting && (s.Refreshed == 0 || m.now-s.Refreshed >= pauseRenewal) {
			s.Refreshed = m.now
			m.registerNow(s)
		}
	}
}
