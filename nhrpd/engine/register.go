// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// server is a next hop server of ours: the client's side of registration.
type server struct {
	conf  NHS
	index int

	Name          string       // NHS.NBMA, to know it again after a restart
	Addresses     []netip.Addr // of the name
	At            int          // which of them is tried
	Resolving     bool         `json:",omitempty"`
	ResolveNext   instant      // when to ask for the name again, 0: not
	ResolvePause  instant
	Protocol      netip.Addr // configured or learned
	Public        netip.Addr // our NBMA address as the server sees it, invalid: as we do
	Probe         bool       `json:",omitempty"` // it answers probes
	Up            bool
	Bound         Endpoint // where data to it goes while it is up
	Since         instant  // of Up's last change
	Registrations []*registration
	Refreshed     instant // last registration that an error caused
	Standby       bool    `json:",omitempty"` // better ones of its cluster are up
	Failed        bool    `json:",omitempty"` // it did not answer, or lost its path, and was not used since
	Returns       instant `json:",omitempty"` // when it is used if it still answers, 0: it does not
	Requests      uint64
	Replies       uint64
	Reason        string // of the last failure, "" since the last success
}

// registration is one Registration Request to a server: that of our own
// address, or one of prefixes. It is repeated with the same id.
type registration struct {
	Prefixes   []netip.Prefix `json:",omitempty"` // none: our own address
	ID         uint32
	Source     netip.Addr // our NBMA address in it
	Waiting    bool       `json:",omitempty"` // for an answer
	Tries      int        `json:",omitempty"`
	Next       instant    // 0: nothing is to be sent
	Registered bool       `json:",omitempty"`
	Until      instant
	Reason     string         `json:",omitempty"` // of a refusal
	Refused    []netip.Prefix `json:",omitempty"`
}

func newServer(index int, conf NHS, networks []netip.Prefix) *server {
	s := &server{conf: conf, index: index, Name: conf.NBMA, Protocol: conf.Protocol}
	s.Registrations = []*registration{{}}
	for part := range slices.Chunk(networks, entriesPerTry) {
		s.Registrations = append(s.Registrations, &registration{Prefixes: slices.Clone(part)})
	}
	return s
}

func (s *server) own() *registration { return s.Registrations[0] }

// to is the endpoint that is tried, false if there is none.
func (s *server) to() (Endpoint, bool) {
	if len(s.Addresses) == 0 {
		return Endpoint{}, false
	}
	return Endpoint{NBMA: s.Addresses[s.At%len(s.Addresses)]}, true
}

// target is the endpoint that is tried: the next one of a family that we have an address
// of. false: there is none.
func (m *Machine) target(s *server) (Endpoint, bool) {
	for range s.Addresses {
		if to, _ := s.to(); m.local.to(to.NBMA).IsValid() {
			return to, true
		}
		s.At++
	}
	return Endpoint{}, false
}

// next is when the server wants something done.
func (s *server) next() (instant, bool) {
	at, ok := s.ResolveNext, s.ResolveNext != 0
	for _, r := range s.Registrations {
		if r.Next != 0 && (!ok || r.Next < at) {
			at, ok = r.Next, true
		}
	}
	return at, ok
}

// startServer begins with a server that nothing is known of.
func (m *Machine) startServer(s *server) {
	if a, err := netip.ParseAddr(s.conf.NBMA); err == nil {
		s.Addresses = []netip.Addr{a.Unmap()}
		return
	}
	m.askName(s)
}

// askName asks for the addresses of a server's name; resolved takes the answer.
func (m *Machine) askName(s *server) {
	s.Resolving = true
	s.ResolvePause = min(max(2*s.ResolvePause, firstPause), longestPause)
	s.ResolveNext = m.now + s.ResolvePause + longestPause // if no answer ever comes
	m.do(Resolve{Name: s.conf.NBMA})
}

func (m *Machine) resolved(in Resolved) {
	for _, s := range m.servers {
		if s.Name != in.Name || !s.Resolving {
			continue
		}
		s.Resolving = false
		var usable []netip.Addr
		for _, a := range in.Addresses {
			if a = a.Unmap(); validNBMA(a) {
				usable = append(usable, a)
			}
		}
		if len(usable) == 0 {
			reason := in.Err
			if reason == "" {
				reason = "it has no address"
			}
			s.Reason = "name: " + reason
			s.ResolveNext = m.now + s.ResolvePause
			m.report(Warn, Endpoint{}, "NHS %s: %s; asked again in %v", s.Name, reason, s.ResolvePause)
			continue
		}
		// Everybody tries IPv4 first: who is in two families shares no shortcuts.
		slices.SortStableFunc(usable, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
		s.ResolveNext, s.ResolvePause = 0, 0
		before, had := s.to()
		s.Addresses = usable
		// Stay with the address that is in use as long as the name has it.
		s.At = max(0, slices.Index(usable, before.NBMA))
		if now, _ := s.to(); !had || now != before {
			m.registerNow(s)
		}
	}
}

// registerNow makes every registration with a server anew.
func (m *Machine) registerNow(s *server) {
	if s.Standby {
		return
	}
	for _, r := range s.Registrations {
		r.Waiting, r.Tries, r.Next = false, 0, 0
	}
	s.own().Next = m.now
}

// serverDue sends what is due to a server.
func (m *Machine) serverDue(s *server) {
	if s.ResolveNext != 0 && s.ResolveNext <= m.now {
		m.askName(s)
	}
	for i, r := range s.Registrations {
		if r.Next == 0 || r.Next > m.now {
			continue
		}
		if _, ok := m.target(s); !ok {
			r.Next = 0 // resolved or localNBMA begins again
			continue
		}
		if i == 0 && r.Waiting {
			if m.unanswered(s, r); s.Standby {
				return
			}
		}
		if i > 0 && !s.Up && s.Returns == 0 {
			r.Waiting, r.Tries, r.Next, r.Registered = false, 0, 0, false
			continue
		}
		if i > 0 && r.Waiting && r.Tries == networksTries {
			m.networksUnanswered(s, r)
		}
		m.sendRegistration(s, r)
	}
}

// unanswered looks at what the silence of a server means, before the next try.
func (m *Machine) unanswered(s *server, r *registration) {
	if r.Tries >= switchTries {
		s.Reason = "no answer"
		if !s.Failed || s.Returns != 0 {
			m.fail(s)
		}
	}
	if s.Up {
		others := slices.ContainsFunc(m.servers, func(o *server) bool { return o != s && o.Up && !o.own().Waiting })
		switch {
		case m.now >= r.Until:
			m.serverDown(s, "the registration expired without an answer")
		case others && r.Tries >= switchTries:
			// Without another NHS the old path is kept: it may well carry data
			// while only the NHS's daemon is away.
			m.serverDown(s, "no answer, another NHS takes over")
		}
	}
	if r.Tries%switchTries == 0 {
		m.tryAnother(s)
	}
}

// tryAnother goes on to a server's next address, and asks for its name again.
func (m *Machine) tryAnother(s *server) {
	s.At++
	if _, err := netip.ParseAddr(s.conf.NBMA); err != nil && !s.Resolving {
		m.askName(s)
	}
}

// networksUnanswered says what is so for now: packets are lost, or the server is
// one that takes no prefixes (FRR answers such a registration with 4 or 13, or
// not). The tries go on at the longest pauses.
func (m *Machine) networksUnanswered(s *server, r *registration) {
	r.Reason, r.Registered = "no answer", false
	m.report(Info, s.Bound, "NHS %s does not answer the registration of %v", s.Name, r.Prefixes)
}

// sendRegistration sends a registration, for the first time or again
// (RFC 2332, section 5.2.3).
func (m *Machine) sendRegistration(s *server, r *registration) {
	to, _ := s.to()
	if !r.Waiting || r.Source != m.local.to(to.NBMA) {
		r.Waiting, r.Tries, r.ID, r.Source = true, 0, m.nextID(), m.local.to(to.NBMA)
	}
	p := m.request(wire.RegistrationRequest, s.Protocol, to)
	if !s.Protocol.IsValid() {
		p.DestinationProtocol = m.own() // whoever is the NHS there answers
	}
	p.RequestID, p.Flags = r.ID, wire.FlagNAT
	if len(r.Prefixes) == 0 {
		if m.cfg.Unique {
			p.Flags |= wire.FlagRegistrationUnique
		}
		p.CIEs = []wire.CIE{{PrefixLength: wire.HostPrefix, HoldingTime: m.holdingSeconds(), MTU: m.cfg.MTU}}
	}
	for _, network := range r.Prefixes {
		p.CIEs = append(p.CIEs, wire.CIE{
			PrefixLength: uint8(network.Bits()), HoldingTime: m.holdingSeconds(), MTU: m.cfg.MTU,
			Protocol: network.Masked().Addr(),
		})
	}
	m.announce(p, wire.ProbeRequester, true)
	m.sayGroup(p)
	m.sayMulticast(p)
	r.Tries++
	r.Next = m.now + m.spread(pause(r.Tries))
	if s.Up && r == s.own() && r.Until > m.now {
		r.Next = min(r.Next, r.Until) // with its end the server is down
	}
	s.Requests++
	m.send(to, p)
}

// pause is the time after a try until the next: 1, 2, 4 … 64 s.
func pause(tries int) instant {
	return min(firstPause<<min(tries-1, 6), longestPause)
}

// spread takes up to a quarter off a long pause, so that clients that lost a server at the
// same time do not all come back at the same time.
func (m *Machine) spread(pause instant) instant {
	if pause < spreadPause {
		return pause
	}
	return pause - instant(m.env.Random()%uint64(pause/4))
}

// renewal is when a registration is made again: after a third of its holding
// time, up to a tenth of it earlier, so that clients spread.
func (m *Machine) renewal(holding instant) instant {
	third := max(holding/renewals, time.Second)
	return m.now + third - instant(m.env.Random()%uint64(third/10+1))
}
