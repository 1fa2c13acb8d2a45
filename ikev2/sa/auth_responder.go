// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"fmt"
	"slices"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

func wrongPeer(got, want auth.Identity) error {
	return fmt.Errorf("ike: the peer is %s, not %s: %w", got, want, auth.ErrFailed)
}

// authRequest takes a peer's proof, gives ours, and makes the first Child SA.
func (m *Machine) authRequest(s *ikeSA, in *Datagram, h wire.Header, payloads []wire.Payload) {
	i := s.Initial
	if s.Stage != halfOpen || i.Round < len(s.Choice.Further) {
		m.counters.OutOfWindow++
		return
	}
	c, err := m.authenticate(s, payloads, h.MessageID)
	if err != nil {
		m.counters.AuthFailed++
		m.report(s, Warning, "from %s: %v", in.Remote, err)
		m.respond(s, h.Exchange, []wire.Payload{&wire.Notify{Type: wire.AuthenticationFailed}}, in.Local, in.Remote)
		m.close(s)
		return
	}
	_, hasSA := wire.Find[*wire.SA](payloads)
	hasTS := func(responder bool) bool {
		return slices.ContainsFunc(payloads, func(p wire.Payload) bool {
			x, ok := p.(*wire.Selectors)
			return ok && x.Responder == responder
		})
	}
	if c.Childless && (hasSA || hasTS(false) || hasTS(true)) || hasSA != hasTS(false) || hasSA != hasTS(true) {
		m.invalidSyntax(s, in, h, fmt.Errorf("Child payloads are missing, or there where none are wanted: %w", wire.ErrSyntax))
		return
	}
	// The address of a NATed peer on port 4500 is known from this message on.
	m.relocate(s, in.Local, in.Remote)
	id := c.Local.Payload(true)
	answer := []wire.Payload{id}
	proof, err := m.prove(s, c, id, s.RemoteID, h.MessageID)
	if err != nil {
		m.report(s, Warning, "%v", err)
		m.respond(s, h.Exchange, []wire.Payload{&wire.Notify{Type: wire.AuthenticationFailed}}, in.Local, in.Remote)
		m.close(s)
		return
	}
	answer = append(answer, proof...)
	answer = append(answer, m.greeting(s, c)...)
	if wire.FindNotify(payloads, wire.MOBIKESupported) != nil && c.Mode == Tunnel {
		s.MOBIKE = true
		answer = append(answer, &wire.Notify{Type: wire.MOBIKESupported})
	}
	s.InitialContact = wire.FindNotify(payloads, wire.InitialContact) != nil
	ni, nr := s.Ni, i.Nr
	m.establish(s)
	m.readReplaces(s, payloads)
	if hasSA {
		n := &negotiation{Ni: ni, Nr: nr}
		child, err := m.answerChild(s, n, payloads, false)
		if err != nil {
			m.report(s, Warning, "the first Child SA: %v", err)
			m.cancel(n)
			child = []wire.Payload{notifyOf(err)}
		}
		answer = append(answer, child...)
	}
	m.respond(s, h.Exchange, answer, in.Local, in.Remote)
	m.runAfter()
	m.settle(s)
}

// authenticate finds the connection that the peer means and checks its proof.
func (m *Machine) authenticate(s *ikeSA, payloads []wire.Payload, messageID uint32) (*Connection, error) {
	var id, wanted *wire.Identification
	for _, p := range payloads {
		if x, ok := p.(*wire.Identification); ok {
			if x.Responder {
				wanted = x
			} else if id == nil {
				id = x
			}
		}
	}
	if id == nil {
		return nil, fmt.Errorf("ike: no IDi: %w", auth.ErrFailed)
	}
	_, tag := readInstance(payloads)
	candidates := m.candidates(s, wanted, tag)
	if len(candidates) == 0 {
		return nil, fmt.Errorf("ike: %s wants a responder that we are not: %w", auth.IdentityOf(id), auth.ErrFailed)
	}
	var last error
	for _, c := range candidates {
		group, err := m.check(s, c, id, payloads, messageID)
		if err == nil && !permits(c.IKE, s.Choice) {
			err = fmt.Errorf("ike: %s came with algorithms that %s does not allow: %w", auth.IdentityOf(id), c.Name, auth.ErrFailed)
		}
		if err == nil {
			s.Connection, s.LocalID, s.RemoteID, s.Group = c.Name, c.Local, auth.IdentityOf(id), group
			s.readGreeting(payloads)
			return c, nil
		}
		last = err
	}
	return nil, last
}

// candidates are the connections that a request may mean, those with its tag first.
func (m *Machine) candidates(s *ikeSA, wanted *wire.Identification, tag []byte) []*Connection {
	var same, other []*Connection
	for _, c := range m.config.Connections {
		switch {
		case c.Address.IsValid() && c.Address != s.Local.Addr().Unmap():
		case wanted != nil && !c.Local.Equal(auth.IdentityOf(wanted)):
		case bytes.Equal(c.Tag, tag):
			same = append(same, c)
		case len(tag) == 0 || len(c.Tag) == 0:
			other = append(other, c)
		}
	}
	return append(same, other...)
}

// permits says whether a policy allows what another connection's chose.
func permits(policy []proposal.Proposal, c proposal.Choice) bool {
	return slices.ContainsFunc(policy, func(p proposal.Proposal) bool {
		if !slices.Contains(p.Encryption, proposal.Cipher{ID: c.Suite.Encryption, KeyLength: c.Suite.KeyLength}) ||
			!slices.Contains(p.PRF, c.Suite.PRF) || !slices.Contains(p.KeyExchange, c.KeyExchange) ||
			!c.Suite.AEAD() && !slices.Contains(p.Integrity, c.Suite.Integrity) {
			return false
		}
		left := slices.Clone(c.Further)
		for _, list := range p.Additional {
			switch {
			case len(left) > 0 && slices.Contains(list, left[0]):
				left = left[1:]
			case len(list) > 0 && !slices.Contains(list, wire.KeyExchangeNone):
				return false
			}
		}
		return len(left) == 0
	})
}
