// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"errors"
	"fmt"
	"slices"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// answerChild is the responder's part of a Child SA: in IKE_AUTH, or with a key exchange
// of its own in CREATE_CHILD_SA. n comes with the nonces, and with Replaces in a rekey.
// If all is agreed on the Child SA is installed; else the answer has a link for
// IKE_FOLLOWUP_KE, and n waits for it.
func (m *Machine) answerChild(s *ikeSA, n *negotiation, payloads []wire.Payload, exchange bool) ([]wire.Payload, error) {
	c := m.connection(s)
	offer, ok := wire.Find[*wire.SA](payloads)
	if !ok {
		return nil, fmt.Errorf("no SA payload: %w", wire.ErrSyntax)
	}
	ke, hasKE := wire.Find[*wire.KeyExchange](payloads)
	method := wire.KeyExchangeNone
	if hasKE {
		method = ke.Method
	}
	choice, err := proposal.Select(c.ESP, offer, method, proposal.Context{Protocol: wire.ProtocolESP, SPISize: 4, Exchange: exchange, Further: exchange})
	if err != nil {
		return nil, selected(err)
	}
	n.Choice, n.Outbound = *choice, spiOf(choice.SPI)
	if n.Outbound == 0 {
		return nil, fmt.Errorf("SPI 0: %w", wire.ErrSyntax)
	}
	if choice.KeyExchange != wire.KeyExchangeNone && choice.KeyExchange != method {
		return nil, &refusedError{notify: wire.NewInvalidKE(choice.KeyExchange)}
	}
	transport, err := m.answerMode(s, n, payloads)
	if err != nil {
		return nil, err
	}
	if err := m.answerSelectors(s, n, payloads); err != nil {
		return nil, err
	}
	if len(s.Children) >= m.config.Limits.Children {
		return nil, refused(wire.NoAdditionalSAs, "%d Child SAs", len(s.Children))
	}
	var answer []wire.Payload
	if exchange {
		answer = append(answer, wire.Nonce(n.Nr))
	}
	n.Secrets = []crypto.Secret{nil}
	if choice.KeyExchange != wire.KeyExchangeNone {
		data, shared, err := crypto.Respond(method, ke.Data, m.config.Random)
		if err != nil {
			return nil, err
		}
		n.Secrets[0] = shared
		answer = append(answer, &wire.KeyExchange{Method: method, Data: data})
	}
	if n.Inbound, err = m.config.Installer.Reserve(); err != nil {
		return nil, fmt.Errorf("%w: %w", errInstall, err)
	}
	answer = append([]wire.Payload{choice.Answer(wire.ProtocolESP, spiOctets(n.Inbound))}, answer...)
	answer = append(answer, &wire.Selectors{List: n.There}, &wire.Selectors{Responder: true, List: n.Here})
	answer = append(answer, transport...)
	if !n.done() {
		return append(answer, m.link(s, n)), nil
	}
	return answer, m.finishAnswer(s, n, exchange)
}

// answerMode agrees on transport or tunnel mode (section 1.3.1).
func (m *Machine) answerMode(s *ikeSA, n *negotiation, payloads []wire.Payload) ([]wire.Payload, error) {
	n.Mode = m.connection(s).Mode
	asked := wire.FindNotify(payloads, wire.UseTransportMode) != nil
	switch {
	case n.Mode == Tunnel:
		return nil, nil
	case !asked:
		return nil, refused(wire.NoProposalChosen, "the peer wants tunnel mode, the connection is for transport mode")
	}
	return []wire.Payload{&wire.Notify{Type: wire.UseTransportMode}}, nil
}

// answerSelectors narrows what the peer wants carried (sections 2.9 and 2.23.1).
func (m *Machine) answerSelectors(s *ikeSA, n *negotiation, payloads []wire.Payload) error {
	here, there := m.policy(s)
	var mine, theirs []wire.Selector
	for _, p := range payloads {
		if x, ok := p.(*wire.Selectors); ok {
			if x.Responder {
				mine = x.List
			} else {
				theirs = x.List
			}
		}
	}
	if mine == nil || theirs == nil {
		return fmt.Errorf("no TSi or no TSr: %w", wire.ErrSyntax)
	}
	if n.Mode == Transport {
		mine, theirs = s.substituted(mine, theirs)
	}
	if n.Mode == Tunnel {
		here, there = m.hidden(s, here, there, mine, theirs)
	}
	n.Here, n.There = narrow(mine, here), narrow(theirs, there)
	if len(n.Here) == 0 || len(n.There) == 0 {
		return refused(wire.TSUnacceptable, "%s and %s, the policy is %s and %s", theirs, mine, there, here)
	}
	// A rekey carries at least what the old one did, as far as that is still wanted.
	if old := s.inbound(n.Replaces); old != nil && covers(here, old.Here) && covers(there, old.There) &&
		!(covers(n.Here, old.Here) && covers(n.There, old.There)) {
		return refused(wire.TSUnacceptable, "less than the Child SA that is rekeyed carries")
	}
	return nil
}

// substituted puts the addresses that this end knows into transport mode's selectors
// where a NAT changed them.
func (s *ikeSA) substituted(mine, theirs []wire.Selector) ([]wire.Selector, []wire.Selector) {
	if s.NATLocal {
		mine = substitute(mine, s.Local.Addr())
	}
	if s.NATRemote {
		theirs = substitute(theirs, s.Remote.Addr())
	}
	return mine, theirs
}

// finishAnswer installs what the peer's exchange made.
func (m *Machine) finishAnswer(s *ikeSA, n *negotiation, exchange bool) error {
	k, err := m.install(s, n)
	if err != nil {
		return err
	}
	n.Inbound = 0 // it is the Child SA's now
	m.touch(s)
	old := s.inbound(n.Replaces)
	if old == nil {
		k.Unproven, k.Exchanged = true, exchange
		if exchange {
			k.Low = slices.Clone(lower(n.Ni, n.Nr))
		}
		m.then(func() { m.useFirst(s, k); m.settle(s) })
		return nil
	}
	// Packets leave by the new one when the peer says that it has it: by deleting the old
	// one, or by sending on the new one (section 2.8).
	old.Successor = k.Inbound
	if t := s.rekeying(old.Inbound); t != nil {
		t.Crossing = &crossing{Inbound: k.Inbound, Ni: n.Ni, Nr: n.Nr}
		return nil
	}
	old.Stage, old.RekeyAt = outdated, 0
	return nil
}

// childAnswered is the initiator's check of what came back about a Child SA. An
// error that is no *refusedError means that the peer may have installed it.
func (m *Machine) childAnswered(s *ikeSA, n *negotiation, response []wire.Payload, exchange bool) error {
	c := m.connection(s)
	if r := peerRefused(response); r != nil {
		if _, made := wire.Find[*wire.SA](response); made {
			return fmt.Errorf("the peer says %s, and answers with a Child SA", r.notify.Type)
		}
		return r
	}
	answer, ok := wire.Find[*wire.SA](response)
	if !ok {
		return refused(wire.NoProposalChosen, "the peer's answer has no Child SA")
	}
	choice, err := proposal.Check(c.ESP, answer, proposal.Context{Protocol: wire.ProtocolESP, SPISize: 4, Exchange: exchange, Further: exchange})
	if err != nil {
		return err
	}
	n.Choice, n.Outbound = *choice, spiOf(choice.SPI)
	if echoed := wire.FindNotify(response, wire.UseTransportMode) != nil; echoed != (n.Mode == Transport) {
		return fmt.Errorf("the peer's answer is not for %s mode", n.Mode)
	}
	var mine, theirs []wire.Selector
	for _, p := range response {
		if x, ok := p.(*wire.Selectors); ok {
			if x.Responder {
				theirs = x.List
			} else {
				mine = x.List
			}
		}
	}
	if n.Mode == Transport {
		mine, theirs = s.substituted(mine, theirs)
	}
	if len(mine) == 0 || len(theirs) == 0 || !covers(n.Here, mine) || !covers(n.There, theirs) {
		return errors.New("the peer's traffic selectors are not within ours")
	}
	if old := s.inbound(n.Replaces); old != nil && covers(n.Here, old.Here) && covers(n.There, old.There) &&
		!(covers(mine, old.Here) && covers(theirs, old.There)) {
		return errors.New("the peer's traffic selectors are less than the Child SA that is rekeyed carries")
	}
	n.Here, n.There = mine, theirs
	n.Secrets = []crypto.Secret{nil}
	if choice.KeyExchange == wire.KeyExchangeNone {
		return nil
	}
	ke, ok := wire.Find[*wire.KeyExchange](response)
	if !ok || n.KE == nil || ke.Method != choice.KeyExchange || ke.Method != n.KE.Method {
		return errors.New("the peer's answer has not the KE payload that it chose")
	}
	n.Secrets[0], err = n.KE.Finish(ke.Data)
	return err
}

// acceptChild finishes the initiator's part of the first Child SA.
func (m *Machine) acceptChild(s *ikeSA, n *negotiation, response []wire.Payload) error {
	err := m.childAnswered(s, n, response, false)
	if err == nil {
		var k *childSA
		if k, err = m.install(s, n); err == nil {
			k.Stage = active
			m.useFirst(s, k)
			return nil
		}
	}
	var r *refusedError
	if !errors.As(err, &r) {
		s.enqueue(&deleteChild{Inbound: n.Inbound})
	}
	return err
}

// useFirst takes a new Child SA into use if its peer has no other for sure; else settle decides,
// or the peer's first packet. Nothing leaves by that of a contested SA.
func (m *Machine) useFirst(s *ikeSA, k *childSA) {
	if _, other := m.current(m.Peers[s.Peer]); (other == nil || other.Unproven && !k.Unproven) && s.Contest == 0 {
		m.use(s, k)
	}
}

// forget removes a Child SA without a word.
func (m *Machine) forget(s *ikeSA, c *childSA, reason string) {
	if c == nil {
		return
	}
	if p := m.Peers[s.Peer]; p != nil {
		p.Reason = reason
	}
	c.Stage = lingering // nothing leaves by it any more
	m.drop(s, c)
	s.revive(c)
	s.Children = slices.DeleteFunc(s.Children, func(o *childSA) bool { return o == c })
	delete(m.index.inbound, c.Inbound)
	m.touch(s)
	m.changedOf(s)
}

// revive puts a Child SA back into its place whose successor goes before it: its rekey
// came to nothing.
func (s *ikeSA) revive(next *childSA) {
	for _, c := range s.Children {
		if c.Successor == next.Inbound {
			c.Successor = 0
			if c.Stage == outdated {
				c.Stage = active
			}
		}
	}
}

// linger takes a Child SA out of use but for packets that are still on their way.
func (m *Machine) linger(s *ikeSA, c *childSA) {
	c.Stage, c.GoneAt, c.RekeyAt, c.HardAt = lingering, m.at(lingerInbound), 0, 0
	m.vacate(s, c)
	m.config.Installer.Retire(c.Inbound)
	m.touch(s)
	m.changedOf(s)
}

// rekeying is our own rekey of a Child SA that is on the way.
func (s *ikeSA) rekeying(inbound uint32) *createChild {
	if t, ok := s.Running.(*createChild); ok && t.Replaces == inbound && inbound != 0 {
		return t
	}
	return nil
}
