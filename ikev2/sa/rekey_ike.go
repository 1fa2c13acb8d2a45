// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"errors"
	"slices"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// rekeyIKE replaces the IKE SA by a fresh one, to which the Child SAs move.
type rekeyIKE struct {
	N        *negotiation
	Retried  bool
	Crossing *crossing
}

func (t *rekeyIKE) String() string { return "rekey IKE SA" }

func (t *rekeyIKE) followed() bool { return t.N != nil && len(t.N.Secrets) > 0 }

func (t *rekeyIKE) build(m *Machine, s *ikeSA) *request {
	if t.followed() {
		return m.buildFollowup(s, t.N)
	}
	if s.Stage != established || s.Contest != 0 {
		return nil
	}
	c := m.connection(s)
	n := &negotiation{Initiator: true, Ni: m.draw(nonceSize), SPIi: m.drawSPI()}
	ke, err := offerKE(m, n, proposal.FirstKeyExchange(c.IKE, s.Method))
	if err != nil {
		m.report(s, Warning, "%s: %v", t, err)
		return nil
	}
	t.N = n
	m.index.drawn[n.SPIi] = true
	return &request{exchange: wire.CreateChildSA, payloads: []wire.Payload{proposal.Offer(c.IKE, n.SPIi[:], true), wire.Nonce(n.Ni), ke}}
}

func (t *rekeyIKE) process(m *Machine, s *ikeSA, _ wire.Header, response []wire.Payload) bool {
	n := t.N
	if t.followed() {
		if err := n.followupAnswered(response); err != nil {
			return t.refused(m, s, err)
		}
	} else if err := t.answered(m, s, response); err != nil {
		return t.refused(m, s, err)
	} else if !n.done() && t.Crossing != nil && n.loses(t.Crossing) {
		m.cancel(n)
		t.yield(m, s)
		return false
	}
	s.TroubleSince = 0
	if n.done() {
		t.finish(m, s)
		return false
	}
	l := wire.FindNotify(response, wire.AdditionalKeyExchange)
	if l == nil || len(l.Data) == 0 {
		return t.refused(m, s, errors.New("the peer gave no link to go on with"))
	}
	n.Link = slices.Clone(l.Data)
	return true
}

// answered checks the response to CREATE_CHILD_SA.
func (t *rekeyIKE) answered(m *Machine, s *ikeSA, response []wire.Payload) error {
	n := t.N
	if r := peerRefused(response); r != nil {
		return r
	}
	answer, ok := wire.Find[*wire.SA](response)
	nonce, hasNonce := wire.Find[wire.Nonce](response)
	ke, hasKE := wire.Find[*wire.KeyExchange](response)
	if !ok || !hasNonce || !hasKE {
		return errors.New("the peer's answer has no SA payload, nonce or KE")
	}
	choice, err := proposal.Check(m.connection(s).IKE, answer, proposal.Context{Protocol: wire.ProtocolIKE, SPISize: 8, Exchange: true, Further: true})
	if err != nil {
		return err
	}
	if ke.Method != choice.KeyExchange || ke.Method != n.KE.Method || !nonceFits(nonce, choice.Suite.PRF) {
		return errors.New("the peer's answer has not the KE payload that it chose, or a short nonce")
	}
	shared, err := n.KE.Finish(ke.Data)
	if err != nil {
		return err
	}
	n.Choice, n.Nr, n.SPIr = *choice, slices.Clone(nonce), wire.SPI(choice.SPI)
	if n.SPIr.IsZero() {
		return errors.New("the peer's SPI is 0")
	}
	n.Secrets = []crypto.Secret{shared}
	n.CrashToken = crashTokenOf(response)
	return nil
}

// refused plans another try, or a new IKE SA where this one cannot be rekeyed.
func (t *rekeyIKE) refused(m *Machine, s *ikeSA, err error) bool {
	m.cancel(t.N)
	t.N = nil
	var r *refusedError
	if errors.As(err, &r) {
		switch r.notify.Type {
		case wire.InvalidKEPayload:
			policy := m.connection(s).IKE
			method, bad := r.notify.KeyExchangeMethod()
			if bad == nil {
				bad = proposal.Retry(policy, proposal.FirstKeyExchange(policy, s.Method), method)
			}
			if bad == nil && !t.Retried {
				t.Retried, s.Method = true, method
				return true
			}
		case wire.TemporaryFailure:
			if t.Crossing != nil || m.SAs[s.Crossing] != nil || s.Stage != established {
				t.yield(m, s)
				return false
			}
			s.RekeyAt = m.at(temporary + m.jitter(temporary))
			m.touch(s)
			m.trouble(s)
			return false
		case wire.NoAdditionalSAs:
			m.report(s, Notice, "%s: %v: connecting anew", t, r)
			m.again(s)
			return false
		}
	}
	m.report(s, Warning, "%s: %v", t, err)
	if t.Crossing != nil {
		t.yield(m, s)
		return false
	}
	s.RekeyTries++
	pause := m.pause(s.RekeyTries)
	if s.HardAt != 0 && m.at(2*pause+30*time.Second) > s.HardAt {
		m.again(s)
	}
	s.RekeyAt = m.at(pause)
	m.touch(s)
	return false
}

// finish makes the new IKE SA and decides between it and the peer's, if both made one.
func (t *rekeyIKE) finish(m *Machine, s *ikeSA) {
	lost := t.Crossing != nil && t.N.loses(t.Crossing)
	token := t.N.CrashToken
	delete(m.index.drawn, t.N.SPIi)
	next, err := m.succeed(s, t.N)
	t.N = nil
	if err != nil {
		m.report(s, Warning, "%s: %v", t, err)
		return
	}
	next.CrashToken = token
	if lost {
		next.Stage, next.RekeyAt, next.HardAt = replaced, 0, 0
		next.enqueue(&deleteIKE{Reason: "redundant"})
		m.touch(next)
		t.yield(m, s)
		return
	}
	if x := m.SAs[s.Crossing]; x != nil {
		// The peer deletes what it made, or it goes by itself.
		x.Stage, x.RekeyAt, x.HardAt, x.GoneAt = replaced, 0, 0, m.at(graceOfLoser)
		x.Successor = next.own()
		s.Crossing = wire.SPI{}
		m.touch(x)
	}
	m.adopt(s, next)
	m.tellToken(next)
	s.enqueue(&deleteIKE{Reason: "rekeyed"})
}

// yield leaves the field to the IKE SA that the peer's rekey made or is making.
func (t *rekeyIKE) yield(m *Machine, s *ikeSA) {
	if x := m.SAs[s.Crossing]; x != nil {
		s.Crossing = wire.SPI{}
		m.adopt(s, x)
		s.GoneAt = m.at(tombstone)
		return
	}
	s.RekeyAt = 0
	if !s.chainOfIKE() && s.Stage == established {
		s.RekeyAt = m.at(temporary + m.jitter(temporary))
	}
	m.touch(s)
}

func (t *rekeyIKE) abandon(m *Machine, s *ikeSA) { m.cancel(t.N); t.N = nil }

// adopt moves what an IKE SA has to the one that replaces it.
func (m *Machine) adopt(s, next *ikeSA) {
	m.touch(s)
	m.touch(next)
	next.Children = append(next.Children, s.Children...)
	for _, c := range s.Children {
		m.index.inbound[c.Inbound] = next
		if c.Stage == ending && s.Running == nil {
			next.enqueue(&deleteChild{Inbound: c.Inbound})
		}
	}
	s.Children = nil
	for _, t := range s.Queue {
		if !isClosing(t) {
			next.enqueue(t)
		}
	}
	s.Queue = slices.DeleteFunc(s.Queue, func(t task) bool { return !isClosing(t) })
	next.Later = append(next.Later, s.Later...)
	for _, n := range s.Chains {
		m.cancel(n)
	}
	s.Later, s.Chains = nil, nil
	s.Stage, s.Successor = replaced, next.own()
	s.RekeyAt, s.HardAt, s.ReauthAt, s.KeepaliveAt = 0, 0, 0, 0
	for _, w := range slices.Clone(s.wants) {
		m.assign(w, next)
	}
	m.changedOf(next)
	m.report(next, Debug, "rekeyed from IKE SA %s", s.own())
}
