// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"errors"
	"fmt"
	"slices"

	"dmvpn/ikev2/wire"
)

// createChildRequest answers CREATE_CHILD_SA: a Child SA, the rekey of one, or the rekey
// of the IKE SA. An error wraps wire.ErrSyntax.
func (m *Machine) createChildRequest(s *ikeSA, payloads []wire.Payload) ([]wire.Payload, error) {
	offer, ok := wire.Find[*wire.SA](payloads)
	nonce, hasNonce := wire.Find[wire.Nonce](payloads)
	if !ok || !hasNonce || len(offer.Proposals) == 0 {
		return nil, fmt.Errorf("no SA payload or no nonce: %w", wire.ErrSyntax)
	}
	n := &negotiation{Ni: slices.Clone(nonce), Nr: m.draw(nonceSize)}
	var answer []wire.Payload
	var err error
	if offer.Proposals[0].Protocol == wire.ProtocolIKE {
		answer, err = m.answerRekeyIKE(s, n, offer, payloads)
	} else {
		if err = m.mayMakeChild(s, n, payloads); err == nil {
			answer, err = m.answerChild(s, n, payloads, true)
		}
	}
	if err == nil {
		return answer, nil
	}
	m.cancel(n)
	if errors.Is(err, wire.ErrSyntax) {
		return nil, err
	}
	m.report(s, Notice, "CREATE_CHILD_SA refused: %v", err)
	return []wire.Payload{notifyOf(err)}, nil
}

// mayMakeChild judges a request for a Child SA by what is going on here (section 2.25),
// and finds the one that is rekeyed.
func (m *Machine) mayMakeChild(s *ikeSA, n *negotiation, payloads []wire.Payload) error {
	if s.Stage != established || s.Contest != 0 || s.Asked != 0 && len(m.of(m.Peers[s.Peer])) > 1 {
		return refused(wire.TemporaryFailure, "the IKE SA is %s", s.Stage)
	}
	if _, ok := s.Running.(*rekeyIKE); ok || m.SAs[s.Crossing] != nil || s.chainOfIKE() {
		return refused(wire.TemporaryFailure, "the IKE SA is being rekeyed")
	}
	rekey := wire.FindNotify(payloads, wire.RekeySA)
	if rekey == nil {
		return nil
	}
	if len(rekey.SPI) != 4 {
		return refused(wire.InvalidSyntax, "REKEY_SA with an SPI of %d octets", len(rekey.SPI))
	}
	spi := spiOf(rekey.SPI)
	old := s.outbound(spi)
	unknown := !slices.ContainsFunc(s.Children, func(c *childSA) bool { return c.Outbound == spi })
	if _, making := s.Running.(*createChild); making && unknown && rekey.Protocol == wire.ProtocolESP {
		// The response on its way may have made it.
		return refused(wire.TemporaryFailure, "Child SA %08x may be one that is being made", spi)
	}
	if rekey.Protocol != wire.ProtocolESP || old == nil {
		return childNotFound(rekey.Protocol, rekey.SPI)
	}
	if old.Stage == ending || old.Stage == outdated || old.Successor != 0 {
		return refused(wire.TemporaryFailure, "Child SA %08x is %s", spi, old.Stage)
	}
	if t := s.rekeying(old.Inbound); t != nil && t.followed() {
		return refused(wire.TemporaryFailure, "Child SA %08x is being rekeyed", spi)
	}
	if slices.ContainsFunc(s.Chains, func(c *negotiation) bool { return !c.ike() && c.Replaces == old.Inbound }) {
		return refused(wire.TemporaryFailure, "Child SA %08x is being rekeyed", spi)
	}
	n.Replaces = old.Inbound
	return nil
}

// chainOfIKE says whether the peer rekeys the IKE SA with IKE_FOLLOWUP_KE to come.
func (s *ikeSA) chainOfIKE() bool {
	return slices.ContainsFunc(s.Chains, func(n *negotiation) bool { return n.ike() })
}
