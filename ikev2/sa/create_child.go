// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// createChild makes a Child SA, or rekeys one, by CREATE_CHILD_SA and as many
// IKE_FOLLOWUP_KE as there are additional key exchanges.
type createChild struct {
	Replaces uint32 // inbound SPI of the one that is rekeyed; 0: a further one
	N        *negotiation
	Retried  bool
	Single   bool // the peer wants one pair of selectors
	Crossing *crossing
}

// crossing is what the peer's rekey of the same SA made while ours was on its way.
type crossing struct {
	Inbound uint32 // 0 while its key exchanges are not done
	Ni, Nr  []byte
}

func (t *createChild) String() string {
	if t.Replaces != 0 {
		return "rekey Child SA"
	}
	return "create Child SA"
}

// followed says whether the first exchange is over and IKE_FOLLOWUP_KE are on.
func (t *createChild) followed() bool { return t.N != nil && len(t.N.Secrets) > 0 }

func (t *createChild) build(m *Machine, s *ikeSA) *request {
	if t.followed() {
		return m.buildFollowup(s, t.N)
	}
	c := m.connection(s)
	old := s.inbound(t.Replaces)
	if s.Stage != established || s.Contest != 0 || t.Replaces != 0 && (old == nil || old.Stage != active && old.Stage != waiting || old.Successor != 0) {
		return nil
	}
	if t.Replaces == 0 && s.usable() != nil {
		return nil // made by the peer meanwhile
	}
	if len(s.Children) >= m.config.Limits.Children {
		return t.unmade(m, s, fmt.Errorf("there are %d Child SAs already", len(s.Children)))
	}
	n := &negotiation{Initiator: true, Ni: m.draw(nonceSize), Replaces: t.Replaces}
	var payloads []wire.Payload
	if old != nil {
		payloads = append(payloads, wire.NewChildNotify(wire.RekeySA, old.Inbound))
	}
	offer, err := m.offerChild(s, n, true)
	if err != nil {
		return t.unmade(m, s, err)
	}
	t.N = n
	if t.Single {
		n.Here, n.There = n.Here[:1], n.There[:1]
		offer[len(offer)-2], offer[len(offer)-1] = &wire.Selectors{List: n.Here}, &wire.Selectors{Responder: true, List: n.There}
	}
	sa := slices.IndexFunc(offer, func(p wire.Payload) bool { return p.PayloadType() == wire.PayloadSA })
	payloads = append(payloads, offer[:sa+1]...)
	payloads = append(payloads, wire.Nonce(n.Ni))
	if method := proposal.FirstKeyExchange(c.ESP, s.ChildMethod); method != wire.KeyExchangeNone {
		ke, err := offerKE(m, n, method)
		if err != nil {
			m.cancel(n)
			return t.unmade(m, s, err)
		}
		payloads = append(payloads, ke)
	}
	return &request{exchange: wire.CreateChildSA, payloads: append(payloads, offer[sa+1:]...)}
}

// unmade tries again later: we cannot make the request now.
func (t *createChild) unmade(m *Machine, s *ikeSA, err error) *request {
	m.report(s, Warning, "%s: %v", t, err)
	t.again(m, s)
	return nil
}

// offerKE begins a key exchange of a negotiation.
func offerKE(m *Machine, n *negotiation, method uint16) (*wire.KeyExchange, error) {
	var err error
	if n.KE, err = crypto.NewKeyExchange(method, m.config.Random); err != nil {
		return nil, err
	}
	data, err := n.KE.Data()
	return &wire.KeyExchange{Method: method, Data: data}, err
}

func (t *createChild) process(m *Machine, s *ikeSA, h wire.Header, response []wire.Payload) bool {
	if t.followed() {
		return t.processFollowup(m, s, response)
	}
	defer m.changedOf(s) // who waited for this to tell a loss does not wait any longer
	n := t.N
	if nonce, ok := wire.Find[wire.Nonce](response); ok {
		n.Nr = slices.Clone(nonce)
	}
	err := m.childAnswered(s, n, response, true)
	if err == nil && n.Nr == nil {
		err = errors.New("the peer's answer has no nonce")
	}
	if err != nil {
		return t.refused(m, s, err)
	}
	s.TroubleSince = 0
	if n.done() {
		t.finish(m, s)
		return false
	}
	if t.Crossing != nil && n.loses(t.Crossing) {
		// The peer's is kept; without IKE_FOLLOWUP_KE ours was never made.
		m.cancel(n)
		t.yield(m, s)
		return false
	}
	return t.linked(m, s, response)
}

// linked takes the link of the next IKE_FOLLOWUP_KE.
func (t *createChild) linked(m *Machine, s *ikeSA, response []wire.Payload) bool {
	l := wire.FindNotify(response, wire.AdditionalKeyExchange)
	if l == nil || len(l.Data) == 0 {
		m.report(s, Warning, "%s: the peer gave no link to go on with", t)
		m.cancel(t.N)
		t.again(m, s)
		return false
	}
	t.N.Link = slices.Clone(l.Data)
	return true
}

// loses says whether ours is the redundant one of two that crossed: the one whose
// exchange had the lowest of the four nonces (section 2.8.1).
func (n *negotiation) loses(x *crossing) bool {
	ours, theirs := lower(n.Ni, n.Nr), lower(x.Ni, x.Nr)
	return bytes.Compare(ours, theirs) < 0
}

func lower(a, b []byte) []byte {
	if bytes.Compare(b, a) < 0 {
		return b
	}
	return a
}

// finish installs what the exchanges made, unless it is redundant or came too late.
func (t *createChild) finish(m *Machine, s *ikeSA) {
	n, old := t.N, s.inbound(t.Replaces)
	if old != nil && old.Stage == lingering {
		old = nil
	}
	if i := slices.Index(s.Gone, n.Outbound); i >= 0 {
		// The peer deleted it before its response reached us.
		s.Gone = slices.Delete(s.Gone, i, i+1)
		m.cancel(n)
		if old != nil {
			s.enqueueFirst(&deleteChild{Inbound: old.Inbound})
		}
		m.changedOf(s)
		return
	}
	if t.Crossing != nil && n.loses(t.Crossing) {
		s.enqueueFirst(&deleteChild{Inbound: n.Inbound})
		m.cancel(n)
		t.yield(m, s)
		return
	}
	inbound := n.Inbound
	k, err := m.install(s, n)
	if err != nil {
		m.report(s, Warning, "%s: %v", t, err)
		s.enqueueFirst(&deleteChild{Inbound: inbound})
		m.cancel(n)
		t.again(m, s)
		return
	}
	k.Exchanged = true
	if t.Replaces == 0 {
		k.Low = slices.Clone(lower(n.Ni, n.Nr))
	}
	if _, c := m.current(m.Peers[s.Peer]); c == nil || s.Stage == established && s.better(k) == nil {
		m.use(s, k)
	} else {
		k.Stage = active // another IKE SA serves the peer by now, or a Child SA that the peer made
	}
	if t.Crossing != nil {
		t.discard(m, s)
	}
	if old != nil {
		old.Successor, old.RekeyAt = k.Inbound, 0
		if old.Stage != ending {
			old.Stage = outdated
			s.enqueueFirst(&deleteChild{Inbound: old.Inbound})
		}
	}
	m.settle(s)
}

// yield leaves the field to what the peer's rekey made.
func (t *createChild) yield(m *Machine, s *ikeSA) {
	if old := s.inbound(t.Replaces); old != nil && old.Stage != lingering && old.Stage != ending {
		old.Stage, old.RekeyAt = outdated, 0
	}
	m.changedOf(s)
}

// discard gives up what the peer's rekey made: the peer deletes it, or it goes by itself.
func (t *createChild) discard(m *Machine, s *ikeSA) {
	if k := s.inbound(t.Crossing.Inbound); k != nil && t.Crossing.Inbound != 0 {
		k.Redundant, k.RekeyAt = true, 0
		k.GoneAt = m.at(graceOfLoser)
		return
	}
	s.Chains = slices.DeleteFunc(s.Chains, func(n *negotiation) bool {
		if n.Replaces != t.Replaces || n.ike() {
			return false
		}
		m.cancel(n)
		return true
	})
}

func (t *createChild) abandon(m *Machine, s *ikeSA) { m.cancel(t.N); t.N = nil }
