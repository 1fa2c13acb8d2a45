// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"fmt"
	"slices"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// answerRekeyIKE is the responder's part of a rekey of the IKE SA (section 1.3.2).
func (m *Machine) answerRekeyIKE(s *ikeSA, n *negotiation, offer *wire.SA, payloads []wire.Payload) ([]wire.Payload, error) {
	if err := m.mayRekeyIKE(s); err != nil {
		return nil, err
	}
	ke, ok := wire.Find[*wire.KeyExchange](payloads)
	if !ok {
		return nil, refused(wire.InvalidSyntax, "a rekey of the IKE SA needs a key exchange")
	}
	choice, err := proposal.Select(m.connection(s).IKE, offer, ke.Method, proposal.Context{Protocol: wire.ProtocolIKE, SPISize: 8, Exchange: true, Further: true})
	if err != nil {
		return nil, selected(err)
	}
	if choice.KeyExchange != ke.Method {
		return nil, &refusedError{notify: wire.NewInvalidKE(choice.KeyExchange)}
	}
	theirs := wire.SPI(choice.SPI)
	if theirs.IsZero() || !nonceFits(n.Ni, choice.Suite.PRF) {
		return nil, refused(wire.InvalidSyntax, "SPI 0 or a short nonce")
	}
	data, shared, err := crypto.Respond(ke.Method, ke.Data, m.config.Random)
	if err != nil {
		return nil, err
	}
	n.Choice, n.SPIi, n.SPIr, n.Secrets = *choice, theirs, m.drawSPI(), []crypto.Secret{shared}
	answer := []wire.Payload{choice.Answer(wire.ProtocolIKE, n.SPIr[:]), wire.Nonce(n.Nr), &wire.KeyExchange{Method: ke.Method, Data: data}}
	answer = append(answer, m.token(n.SPIi, n.SPIr)...)
	if !n.done() {
		return append(answer, m.link(s, n)), nil
	}
	return answer, m.finishRekeyIKE(s, n)
}

// mayRekeyIKE judges the request by what is going on here (section 2.25.2).
func (m *Machine) mayRekeyIKE(s *ikeSA) error {
	if s.Stage != established || s.Contest != 0 {
		return refused(wire.TemporaryFailure, "the IKE SA is %s", s.Stage)
	}
	switch t := s.Running.(type) {
	case *createChild, *deleteChild:
		return refused(wire.TemporaryFailure, "busy: %s", t)
	case *rekeyIKE:
		if t.followed() {
			return refused(wire.TemporaryFailure, "busy: %s", t)
		}
	}
	if m.SAs[s.Crossing] != nil || len(s.Chains) > 0 {
		return refused(wire.TemporaryFailure, "a rekey is under way")
	}
	return nil
}

// finishRekeyIKE makes the IKE SA of a peer's rekey. While our own rekey is on the way
// nothing moves to it yet.
func (m *Machine) finishRekeyIKE(s *ikeSA, n *negotiation) error {
	ni, nr := slices.Clone(n.Ni), slices.Clone(n.Nr)
	next, err := m.succeed(s, n)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	m.touch(next)
	if t, ok := s.Running.(*rekeyIKE); ok {
		t.Crossing = &crossing{Ni: ni, Nr: nr}
		s.Crossing = next.own()
		return nil
	}
	m.then(func() {
		m.adopt(s, next)
		s.GoneAt = m.at(tombstone)
	})
	return nil
}
