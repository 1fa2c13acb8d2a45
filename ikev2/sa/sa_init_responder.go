// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"crypto/sha256"
	"errors"
	"slices"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// initRequest takes a request to make an IKE SA.
func (m *Machine) initRequest(in *Datagram, h wire.Header) {
	m.counters.InitReceived++
	if len(in.Data) > maxInitial {
		m.counters.Syntax++
		return
	}
	hash := sha256.Sum256(in.Data)
	if own, ok := m.Recent[hash]; ok {
		// Copies may come from another port, where a NAT has begun anew (section 2.23). From
		// another address they are somebody's who wants the answers sent to others, without a cookie.
		if s := m.SAs[own]; s != nil && s.Stage == halfOpen && s.In.Next == 1 && s.Remote.Addr() == in.Remote.Addr() {
			m.answerOnceMore(s, in)
		} else {
			m.counters.Replayed++
		}
		return
	}
	nonce, cookie, whole := wire.PeekInit(in.Data)
	if s := m.SAs[h.SPIi]; s != nil && s.Initiator && slices.Equal(s.Ni, nonce) {
		m.counters.Replayed++ // our own request comes back to us
		return
	}
	cookied, ok := m.admit(in, h, whole, cookie, nonce)
	if !ok {
		return
	}
	msg, err := wire.Parse(in.Data)
	if err != nil {
		m.initSyntax(in, h, err)
		return
	}
	if !whole {
		m.initSyntax(in, h, wire.ErrSyntax)
		return
	}
	m.trace(in.Local, in.Remote, false, h, msg.Payloads)
	offer, hasSA := wire.Find[*wire.SA](msg.Payloads)
	ke, hasKE := wire.Find[*wire.KeyExchange](msg.Payloads)
	if !hasSA || !hasKE {
		m.initSyntax(in, h, wire.ErrSyntax)
		return
	}
	choice, c, err := m.choose(in, offer, ke.Method, wire.FindNotify(msg.Payloads, wire.IntermediateSupported) != nil)
	switch {
	case errors.Is(err, wire.ErrSyntax):
		m.initSyntax(in, h, err)
		return
	case err != nil:
		m.failed()
		m.refuse(in, h, &wire.Notify{Type: wire.NoProposalChosen})
		m.report(nil, Notice, "IKE_SA_INIT from %s: %v", in.Remote, err)
		return
	case choice.KeyExchange != ke.Method:
		m.failed()
		// Always, as a cookie is asked for: it is smaller than the request, and who waits for it
		// cannot connect without.
		m.sendPlain(in, answerTo(h), []wire.Payload{wire.NewInvalidKE(choice.KeyExchange)})
		return
	case !nonceFits(nonce, choice.Suite.PRF):
		m.initSyntax(in, h, wire.ErrSyntax)
		return
	}
	m.accept(in, msg, c, choice, ke, nonce, hash, cookied)
}

// choose selects for the first connection that accepts something of the offer. It is
// IKE_AUTH that decides whose connection it is; then the choice is looked at again.
//
// The method that was sent is preferred where it is the first that is offered. Another one
// was asked for by INVALID_KE_PAYLOAD, perhaps not by us: the offer alone, which AUTH covers,
// decides then (section 1.2), so that nobody in between can choose.
func (m *Machine) choose(in *Datagram, offer *wire.SA, method uint16, further bool) (*proposal.Choice, *Connection, error) {
	last := error(proposal.ErrNoProposalChosen)
	preferred := method
	if method != proposal.FirstOffered(offer) {
		preferred = wire.KeyExchangeNone
	}
	var best *proposal.Choice
	var of *Connection
	for _, c := range m.config.Connections {
		if c.Address.IsValid() && c.Address != in.Local.Addr().Unmap() {
			continue
		}
		choice, err := proposal.Select(c.IKE, offer, preferred, proposal.Context{Protocol: wire.ProtocolIKE, Exchange: true, Further: further})
		switch {
		case err != nil:
			last = err
		case choice.KeyExchange == method:
			return choice, c, nil
		case best == nil:
			best, of = choice, c
		}
	}
	if best != nil {
		return best, of, nil
	}
	return nil, nil, last
}

// accept makes the half-open SA and answers.
func (m *Machine) accept(in *Datagram, msg *wire.Message, c *Connection, choice *proposal.Choice, ke *wire.KeyExchange, nonce []byte, hash [32]byte, cookied bool) {
	data, shared, err := crypto.Respond(ke.Method, ke.Data, m.config.Random)
	if err != nil {
		m.initSyntax(in, msg.Header, err)
		return
	}
	defer shared.Wipe()
	m.LastID++
	s := &ikeSA{
		ID: m.LastID, Origin: m.LastID, Stage: halfOpen, SPIi: msg.SPIi, SPIr: m.drawSPI(), Local: in.Local, Remote: in.Remote,
		Began: m.now, Choice: *choice, Ni: slices.Clone(nonce), GoneAt: m.at(m.config.Limits.HalfOpenTime),
		Fragmentation: wire.FindNotify(msg.Payloads, wire.FragmentationSupported) != nil,
		Admitted:      admission{From: in.Remote.Addr(), Cookied: cookied},
		Initial: &initial{Request: slices.Clone(in.Data), Nr: m.draw(nonceSize), Digest: hash,
			Intermediate: wire.FindNotify(msg.Payloads, wire.IntermediateSupported) != nil && adds(c.IKE)},
	}
	i := s.Initial
	prf := s.prf()
	seed := crypto.InitialSeed(prf, s.Ni, i.Nr, shared)
	defer seed.Wipe()
	if s.Keys, err = choice.Suite.Derive(seed, s.Ni, i.Nr, s.SPIi, s.SPIr); err != nil {
		m.report(s, Warning, "IKE_SA_INIT: %v", err)
		return
	}
	if n := wire.FindNotify(msg.Payloads, wire.SignatureHashAlgorithms); n != nil {
		s.Hashes, _ = n.HashAlgorithms()
	}
	s.detectNAT(msg.Payloads, msg.Header, in.Local, in.Remote)
	m.add(s)
	m.touch(s)
	m.Recent[hash] = s.own()
	m.load.enter(s.Admitted)

	payloads := []wire.Payload{choice.Answer(wire.ProtocolIKE, nil), &wire.KeyExchange{Method: ke.Method, Data: data}, wire.Nonce(i.Nr)}
	payloads = append(payloads, naming(s.SPIi, s.SPIr, in.Local, in.Remote, c.ForceEncapsulation)...)
	if s.Fragmentation {
		payloads = append(payloads, &wire.Notify{Type: wire.FragmentationSupported})
	}
	payloads = append(payloads, wire.NewHashAlgorithms(auth.Hashes...), &wire.Notify{Type: wire.ChildlessIKEv2Supported})
	if i.Intermediate {
		payloads = append(payloads, &wire.Notify{Type: wire.IntermediateSupported})
	}
	if c.Trust != nil {
		payloads = append(payloads, &wire.CertificateRequest{Encoding: wire.CertificateX509, Authorities: c.Trust.Authorities()})
	}
	m.respond(s, wire.IKESAInit, payloads, in.Local, in.Remote)
	if len(s.In.Packets) == 1 {
		i.Response = s.In.Packets[0]
	}
}

// initSyntax refuses an IKE_SA_INIT that makes no sense.
func (m *Machine) initSyntax(in *Datagram, h wire.Header, err error) {
	m.counters.Syntax++
	m.failed()
	var critical *wire.CriticalError
	switch {
	case errors.As(err, &critical):
		m.refuse(in, h, &wire.Notify{Type: wire.UnsupportedCriticalPayload, Data: []byte{byte(critical.Payload)}})
	case errors.Is(err, crypto.ErrPublicValue):
		m.refuse(in, h, &wire.Notify{Type: wire.InvalidSyntax})
	}
}

// refuse answers without leaving state, as often as strangers are answered.
func (m *Machine) refuse(in *Datagram, h wire.Header, n *wire.Notify) {
	if m.mayRefuse(in) {
		m.sendPlain(in, answerTo(h), []wire.Payload{n})
	}
}
