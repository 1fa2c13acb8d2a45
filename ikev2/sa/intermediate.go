// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"encoding/binary"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// buildIntermediate sends the initiator's part of one additional key exchange (RFC
// 9242; RFC 9370, section 2.2.2).
func (t *initiate) buildIntermediate(m *Machine, s *ikeSA) *request {
	i := s.Initial
	var err error
	if i.KE, err = crypto.NewKeyExchange(s.Choice.Further[i.Round], m.config.Random); err != nil {
		m.fail(s, err.Error())
		return nil
	}
	data, err := i.KE.Data()
	if err != nil {
		m.fail(s, err.Error())
		return nil
	}
	payloads := []wire.Payload{&wire.KeyExchange{Method: i.KE.Method, Data: data}}
	h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: wire.IKEIntermediate, Initiator: true, MessageID: s.Out.Next}
	if i.PI, err = s.intermediate(s.Keys.Pi, i.PI, h, payloads); err != nil {
		m.fail(s, err.Error())
		return nil
	}
	return &request{exchange: wire.IKEIntermediate, payloads: payloads}
}

// intermediate is what a message of our own adds to AUTH.
func (s *ikeSA) intermediate(p, previous []byte, h wire.Header, payloads []wire.Payload) ([]byte, error) {
	text, err := wire.AppendInner(nil, payloads)
	if err != nil {
		return nil, err
	}
	return crypto.Intermediate(s.prf(), p, previous, h, wire.First(payloads), text)
}

// processIntermediate takes the responder's part and goes on under the new keys.
func (t *initiate) processIntermediate(m *Machine, s *ikeSA, h wire.Header, response []wire.Payload) bool {
	i := s.Initial
	ke, ok := wire.Find[*wire.KeyExchange](response)
	if !ok || ke.Method != i.KE.Method {
		m.fail(s, "IKE_INTERMEDIATE: "+refusal(response, "no KE payload of the method that was agreed on"))
		return false
	}
	shared, err := i.KE.Finish(ke.Data)
	if err != nil {
		m.fail(s, err.Error())
		return false
	}
	defer shared.Wipe()
	i.KE.Wipe()
	i.KE = nil
	if i.PR, err = crypto.Intermediate(s.prf(), s.Keys.Pr, i.PR, h, i.Inner, i.Text); err == nil {
		err = s.strengthen(shared)
	}
	i.Text = nil
	if err != nil {
		m.fail(s, err.Error())
		return false
	}
	if i.Round++; i.Round == len(s.Choice.Further) {
		t.Step = stepAuth
	}
	return true
}

// intermediateRequest answers one additional key exchange.
func (m *Machine) intermediateRequest(s *ikeSA, in *Datagram, h wire.Header, payloads []wire.Payload, text []byte, inner wire.PayloadType) {
	i := s.Initial
	if s.Stage != halfOpen || i.Round >= len(s.Choice.Further) {
		m.counters.OutOfWindow++
		return
	}
	ke, ok := wire.Find[*wire.KeyExchange](payloads)
	if !ok || ke.Method != s.Choice.Further[i.Round] {
		m.respond(s, h.Exchange, []wire.Payload{&wire.Notify{Type: wire.InvalidSyntax}}, in.Local, in.Remote)
		m.close(s)
		return
	}
	data, shared, err := crypto.Respond(ke.Method, ke.Data, m.config.Random)
	if err != nil {
		m.report(s, Notice, "IKE_INTERMEDIATE: %v", err)
		m.respond(s, h.Exchange, []wire.Payload{&wire.Notify{Type: wire.InvalidSyntax}}, in.Local, in.Remote)
		m.close(s)
		return
	}
	defer shared.Wipe()
	answer := []wire.Payload{&wire.KeyExchange{Method: ke.Method, Data: data}}
	back := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: h.Exchange, Response: true, MessageID: h.MessageID}
	if i.PI, err = crypto.Intermediate(s.prf(), s.Keys.Pi, i.PI, h, inner, text); err == nil {
		i.PR, err = s.intermediate(s.Keys.Pr, i.PR, back, answer)
	}
	if err != nil {
		m.report(s, Warning, "IKE_INTERMEDIATE: %v", err)
		return
	}
	m.respond(s, h.Exchange, answer, in.Local, in.Remote)
	if err := s.strengthen(shared); err != nil {
		m.report(s, Warning, "IKE_INTERMEDIATE: %v", err)
		m.close(s)
		return
	}
	i.Round++
}

// strengthen replaces the keys by ones that depend on one more shared secret.
func (s *ikeSA) strengthen(shared crypto.Secret) error {
	ni, nr := s.Ni, s.Initial.Nr
	seed := crypto.FurtherSeed(s.prf(), s.Keys.D, ni, nr, shared)
	defer seed.Wipe()
	keys, err := s.Choice.Suite.Derive(seed, ni, nr, s.SPIi, s.SPIr)
	if err != nil {
		return err
	}
	past := s.Keys
	if i := s.Initial; !s.Initiator {
		past, i.Past = i.Past, s.Keys
	}
	if past != nil {
		past.Wipe()
	}
	s.Keys = keys
	return nil
}

// signed is what IKE_INTERMEDIATE adds to the octets that AUTH is made over (RFC 9242,
// section 3.3.2); id is that of the IKE_AUTH request.
func (i *initial) signed(id uint32) []byte {
	if i.Round == 0 {
		return nil
	}
	b := append(append([]byte(nil), i.PI...), i.PR...)
	return binary.BigEndian.AppendUint32(b, id)
}

// refusal is the text of a response's error notification, or what else is wrong.
func refusal(payloads []wire.Payload, other string) string {
	for _, p := range payloads {
		if n, ok := p.(*wire.Notify); ok && n.Type.IsError() {
			return "the peer says " + n.Type.String()
		}
	}
	return other
}
