// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// buildAuth sends IKE_AUTH: who we are, and the first Child SA.
func (t *initiate) buildAuth(m *Machine, s *ikeSA) *request {
	c, i := m.connection(s), s.Initial
	id := c.Local.Payload(false)
	payloads := []wire.Payload{id}
	if c.Trust != nil {
		payloads = append(payloads, &wire.CertificateRequest{Encoding: wire.CertificateX509, Authorities: c.Trust.Authorities()})
	}
	if i.Identity.Type != 0 {
		payloads = append(payloads, i.Identity.Payload(true))
	}
	proof, err := m.prove(s, c, id, i.Identity, s.Out.Next)
	if err != nil {
		m.fail(s, err.Error())
		return nil
	}
	payloads = append(payloads, proof...)
	if m.firstContact(s) {
		payloads = append(payloads, &wire.Notify{Type: wire.InitialContact})
	}
	payloads = append(payloads, m.greeting(s, c)...)
	payloads = append(payloads, m.replaces(s)...)
	if !c.Childless {
		n := &negotiation{Initiator: true, Ni: s.Ni, Nr: i.Nr}
		offer, err := m.offerChild(s, n, false)
		if err != nil {
			m.fail(s, err.Error())
			return nil
		}
		i.Child = n
		payloads = append(payloads, offer...)
	}
	i.AuthSent = true
	return &request{exchange: wire.IKEAuth, payloads: payloads}
}

// greeting are the notifications that both sides put into IKE_AUTH.
func (m *Machine) greeting(s *ikeSA, c *Connection) []wire.Payload {
	return append([]wire.Payload{m.instance(c)}, m.token(s.SPIi, s.SPIr)...)
}

// readGreeting takes the peer's.
func (s *ikeSA) readGreeting(payloads []wire.Payload) (tag []byte) {
	s.Instance, tag = readInstance(payloads)
	s.readToken(payloads)
	return tag
}

// processAuth takes the responder's proof and, with it, the first Child SA.
func (t *initiate) processAuth(m *Machine, s *ikeSA, response []wire.Payload) {
	c, i := m.connection(s), s.Initial
	id, ok := wire.Find[*wire.Identification](response)
	if !ok || !id.Responder {
		m.counters.AuthFailed++
		m.refusedAuth(s, refusal(response, "the peer sent no IDr"))
		return
	}
	identity := auth.IdentityOf(id)
	group, err := m.check(s, c, id, response, s.Out.Header.MessageID)
	if err == nil && i.Identity.Type != 0 && !identity.Equal(i.Identity) {
		err = wrongPeer(identity, i.Identity)
	}
	if err != nil {
		m.counters.AuthFailed++
		m.report(s, Warning, "%v", err)
		m.farewell(s, &wire.Notify{Type: wire.AuthenticationFailed})
		m.fail(s, err.Error())
		return
	}
	s.RemoteID, s.Group = identity, group
	s.readGreeting(response)
	n, childless := i.Child, c.Childless
	i.Child = nil
	m.establish(s)
	if s.Stage != established || childless {
		m.cancel(n)
		if childless && s.Stage == established {
			s.enqueueFirst(&createChild{})
		}
		m.settle(s)
		return
	}
	if err := m.acceptChild(s, n, response); err != nil {
		m.report(s, Warning, "the first Child SA: %v", err)
		m.cancel(n)
		m.childFailed(s, err.Error())
		return
	}
	m.settle(s)
}

// offerChild makes the payloads that propose a Child SA. exchange says that it may
// have a key exchange of its own.
func (m *Machine) offerChild(s *ikeSA, n *negotiation, exchange bool) ([]wire.Payload, error) {
	c := m.connection(s)
	spi, err := m.config.Installer.Reserve()
	if err != nil {
		return nil, err
	}
	n.Inbound, n.Mode = spi, c.Mode
	here, there := m.policy(s)
	if old := s.inbound(n.Replaces); old != nil && c.Mode == Tunnel && (s.NATLocal || s.NATRemote) {
		here, there = old.Here, old.There // which only one of us can know by itself
	}
	n.Here, n.There = here, there
	var payloads []wire.Payload
	if c.Mode == Transport {
		payloads = append(payloads, &wire.Notify{Type: wire.UseTransportMode})
	}
	return append(payloads, proposal.Offer(c.ESP, spiOctets(spi), exchange),
		&wire.Selectors{List: here}, &wire.Selectors{Responder: true, List: there}), nil
}
