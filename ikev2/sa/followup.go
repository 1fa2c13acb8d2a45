// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"fmt"
	"slices"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// maxChains bounds what one peer may leave unfinished.
const maxChains = 4

// link makes a peer's negotiation wait for its next IKE_FOLLOWUP_KE (RFC 9370, section
// 2.2.4).
func (m *Machine) link(s *ikeSA, n *negotiation) *wire.Notify {
	n.Link, n.Expires = m.draw(8), m.at(followupWait)
	if !slices.Contains(s.Chains, n) {
		s.Chains = append(s.Chains, n)
	}
	if len(s.Chains) > maxChains {
		m.cancel(s.Chains[0])
		s.Chains = s.Chains[1:]
	}
	if t := s.rekeying(n.Replaces); t != nil && !n.ike() {
		t.Crossing = &crossing{Ni: n.Ni, Nr: n.Nr}
	}
	if t, ok := s.Running.(*rekeyIKE); ok && n.ike() {
		t.Crossing = &crossing{Ni: n.Ni, Nr: n.Nr}
	}
	m.touch(s)
	return &wire.Notify{Type: wire.AdditionalKeyExchange, Data: n.Link}
}

// buildFollowup sends the initiator's part of the next additional key exchange.
func (m *Machine) buildFollowup(s *ikeSA, n *negotiation) *request {
	ke, err := offerKE(m, n, n.next())
	if err != nil {
		m.report(s, Warning, "IKE_FOLLOWUP_KE: %v", err)
		m.cancel(n)
		return nil
	}
	return &request{exchange: wire.IKEFollowupKE, payloads: []wire.Payload{ke, &wire.Notify{Type: wire.AdditionalKeyExchange, Data: n.Link}}}
}

// followupAnswered takes the responder's part.
func (n *negotiation) followupAnswered(response []wire.Payload) error {
	if r := peerRefused(response); r != nil {
		return r
	}
	ke, ok := wire.Find[*wire.KeyExchange](response)
	if !ok || ke.Method != n.KE.Method {
		return fmt.Errorf("the peer's answer has not the KE payload that it chose")
	}
	shared, err := n.KE.Finish(ke.Data)
	if err != nil {
		return err
	}
	n.KE.Wipe()
	n.KE = nil
	n.Secrets = append(n.Secrets, shared)
	return nil
}

func (t *createChild) processFollowup(m *Machine, s *ikeSA, response []wire.Payload) bool {
	if err := t.N.followupAnswered(response); err != nil {
		m.cancel(t.N)
		if r, ok := err.(*refusedError); ok && r.notify.Type == wire.TemporaryFailure {
			t.temporarily(m, s)
			t.N = nil
			return false
		}
		m.report(s, Warning, "%s: IKE_FOLLOWUP_KE: %v", t, err)
		t.again(m, s)
		return false
	}
	if !t.N.done() {
		return t.linked(m, s, response)
	}
	t.finish(m, s)
	return false
}

// followupRequest answers IKE_FOLLOWUP_KE.
func (m *Machine) followupRequest(s *ikeSA, payloads []wire.Payload) ([]wire.Payload, error) {
	l := wire.FindNotify(payloads, wire.AdditionalKeyExchange)
	ke, ok := wire.Find[*wire.KeyExchange](payloads)
	if l == nil || !ok {
		return []wire.Payload{&wire.Notify{Type: wire.InvalidSyntax}}, nil
	}
	i := slices.IndexFunc(s.Chains, func(n *negotiation) bool { return bytes.Equal(n.Link, l.Data) })
	if i < 0 {
		return []wire.Payload{&wire.Notify{Type: wire.StateNotFound}}, nil
	}
	n := s.Chains[i]
	end := func(err error) ([]wire.Payload, error) {
		s.Chains = slices.DeleteFunc(s.Chains, func(x *negotiation) bool { return x == n })
		m.cancel(n)
		m.report(s, Notice, "IKE_FOLLOWUP_KE refused: %v", err)
		return []wire.Payload{notifyOf(err)}, nil
	}
	if err := m.mayFollow(s, n); err != nil {
		return end(err)
	}
	if ke.Method != n.next() {
		return end(refused(wire.InvalidSyntax, "%s is not next", wire.KeyExchangeName(ke.Method)))
	}
	data, shared, err := crypto.Respond(ke.Method, ke.Data, m.config.Random)
	if err != nil {
		return end(err)
	}
	n.Secrets = append(n.Secrets, shared)
	answer := []wire.Payload{&wire.KeyExchange{Method: ke.Method, Data: data}}
	if !n.done() {
		return append(answer, m.link(s, n)), nil
	}
	s.Chains = slices.Delete(s.Chains, i, i+1)
	if n.ike() {
		err = m.finishRekeyIKE(s, n)
	} else {
		err = m.finishAnswer(s, n, true)
	}
	if err != nil {
		return end(err)
	}
	return answer, nil
}

// mayFollow says whether what a chain is for is still there.
func (m *Machine) mayFollow(s *ikeSA, n *negotiation) error {
	if s.Stage != established {
		return refused(wire.TemporaryFailure, "the IKE SA is %s", s.Stage)
	}
	if n.ike() || n.Replaces == 0 {
		return nil
	}
	if old := s.inbound(n.Replaces); old == nil || old.Stage == ending || old.Stage == lingering {
		return refused(wire.TemporaryFailure, "the Child SA that was being rekeyed is deleted")
	}
	return nil
}
