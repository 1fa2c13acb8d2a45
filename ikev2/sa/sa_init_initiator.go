// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// Ports of IKE (section 2.23).
const (
	portIKE  = 500
	portNATT = 4500
)

// initiate makes an IKE SA: IKE_SA_INIT, IKE_INTERMEDIATE where key exchanges are
// added, IKE_AUTH.
type initiate struct {
	Step initiateStep
}

type initiateStep uint8

const (
	stepInit initiateStep = iota
	stepIntermediate
	stepAuth
)

func (t *initiate) String() string { return "connect" }

// attempt starts to make an IKE SA with a peer.
func (m *Machine) attempt(c *Connection, local, remote netip.AddrPort, want auth.Identity) *ikeSA {
	m.LastID++
	s := &ikeSA{
		ID: m.LastID, Origin: m.LastID, Connection: c.Name, Stage: connecting, Initiator: true, SPIi: m.drawSPI(),
		Local: local, Remote: remote, Began: m.now, LocalID: c.Local, Ni: m.draw(nonceSize),
		Initial: &initial{Method: proposal.FirstKeyExchange(c.IKE, wire.KeyExchangeNone), Identity: want},
	}
	m.add(s)
	s.enqueue(&initiate{})
	m.touch(s)
	m.pump(s)
	return s
}

func (t *initiate) build(m *Machine, s *ikeSA) *request {
	switch t.Step {
	case stepInit:
		return t.buildInit(m, s)
	case stepIntermediate:
		return t.buildIntermediate(m, s)
	default:
		return t.buildAuth(m, s)
	}
}

func (t *initiate) buildInit(m *Machine, s *ikeSA) *request {
	c, i := m.connection(s), s.Initial
	if i.KE == nil {
		var err error
		if i.KE, err = crypto.NewKeyExchange(i.Method, m.config.Random); err != nil {
			m.fail(s, err.Error())
			return nil
		}
	}
	data, err := i.KE.Data()
	if err != nil {
		m.fail(s, err.Error())
		return nil
	}
	var payloads []wire.Payload
	if i.Cookie != nil {
		payloads = append(payloads, &wire.Notify{Type: wire.Cookie, Data: i.Cookie})
	}
	payloads = append(payloads, proposal.Offer(c.IKE, nil, true), &wire.KeyExchange{Method: i.Method, Data: data}, wire.Nonce(s.Ni))
	payloads = append(payloads, naming(s.SPIi, wire.SPI{}, s.Local, s.Remote, c.ForceEncapsulation)...)
	payloads = append(payloads, &wire.Notify{Type: wire.FragmentationSupported}, wire.NewHashAlgorithms(auth.Hashes...))
	if adds(c.IKE) {
		payloads = append(payloads, &wire.Notify{Type: wire.IntermediateSupported})
	}
	h := wire.Header{SPIi: s.SPIi, Exchange: wire.IKESAInit, Initiator: true}
	b, err := (&wire.Message{Header: h, Payloads: payloads}).Append(nil)
	if err != nil {
		m.fail(s, err.Error())
		return nil
	}
	i.Request = b
	s.Out.Next = 0 // also when it is repeated with a cookie or another method
	return &request{exchange: wire.IKESAInit, payloads: payloads}
}

// adds says whether a policy has additional key exchanges.
func adds(policy []proposal.Proposal) bool {
	return slices.ContainsFunc(policy, func(p proposal.Proposal) bool {
		return slices.ContainsFunc(p.Additional[:], func(l []uint16) bool { return len(l) > 0 })
	})
}

// initResponse takes a response to IKE_SA_INIT. Nobody has proved anything yet: what
// does not fit is ignored, and the attempt goes on (section 2.21.1).
func (m *Machine) initResponse(in *Datagram, h wire.Header) {
	s := m.SAs[h.SPIi]
	if s == nil || s.Stage != connecting || !s.Out.Pending {
		m.counters.Unknown++
		return
	}
	t, ok := s.Running.(*initiate)
	if !ok {
		return
	}
	if t.Step != stepInit {
		t.keep(m, s, in)
		return
	}
	msg, err := wire.Parse(in.Data)
	if err != nil {
		m.counters.Syntax++
		return
	}
	m.trace(in.Local, in.Remote, false, h, msg.Payloads)
	m.touch(s)
	if err := t.initAnswered(m, s, in, msg); err != nil {
		m.report(s, Debug, "IKE_SA_INIT response ignored: %v", err)
	}
}

func (t *initiate) initAnswered(m *Machine, s *ikeSA, in *Datagram, msg *wire.Message) error {
	c, i := m.connection(s), s.Initial
	offer, hasSA := wire.Find[*wire.SA](msg.Payloads)
	if !hasSA {
		return t.initRefused(m, s, msg.Payloads)
	}
	ke, hasKE := wire.Find[*wire.KeyExchange](msg.Payloads)
	nonce, hasNonce := wire.Find[wire.Nonce](msg.Payloads)
	if !hasKE || !hasNonce || msg.SPIr.IsZero() {
		return errors.New("it has no KE, nonce or SPI")
	}
	intermediate := wire.FindNotify(msg.Payloads, wire.IntermediateSupported) != nil && adds(c.IKE)
	choice, err := proposal.Check(c.IKE, offer, proposal.Context{Protocol: wire.ProtocolIKE, Exchange: true, Further: intermediate})
	if err != nil {
		return err
	}
	if ke.Method != i.Method || choice.KeyExchange != i.Method {
		return fmt.Errorf("its KE is %s, ours %s", wire.KeyExchangeName(ke.Method), wire.KeyExchangeName(i.Method))
	}
	if !nonceFits(nonce, choice.Suite.PRF) || !nonceFits(s.Ni, choice.Suite.PRF) {
		return errors.New("its nonce is too short")
	}
	shared, err := i.KE.Finish(ke.Data)
	if err != nil {
		return err
	}
	defer shared.Wipe()
	prf, err := crypto.NewPRF(choice.Suite.PRF)
	if err != nil {
		return err
	}
	seed := crypto.InitialSeed(prf, s.Ni, nonce, shared)
	defer seed.Wipe()
	keys, err := choice.Suite.Derive(seed, s.Ni, nonce, msg.SPIi, msg.SPIr)
	if err != nil {
		return err
	}
	i.FirstKE, i.KE = i.KE, nil
	s.answered()
	s.SPIr, s.Choice, s.Keys = msg.SPIr, *choice, keys
	i.Nr, i.Response, i.Tried = slices.Clone(nonce), slices.Clone(in.Data), append(i.Tried, material(msg))
	i.Intermediate = intermediate
	i.Childless = wire.FindNotify(msg.Payloads, wire.ChildlessIKEv2Supported) != nil
	s.Fragmentation = wire.FindNotify(msg.Payloads, wire.FragmentationSupported) != nil
	if n := wire.FindNotify(msg.Payloads, wire.SignatureHashAlgorithms); n != nil {
		s.Hashes, _ = n.HashAlgorithms()
	}
	s.Local = netip.AddrPortFrom(in.Local.Addr(), s.Local.Port())
	s.detectNAT(msg.Payloads, msg.Header, in.Local, in.Remote)
	if m.encapsulated(s) && s.Remote.Port() == portIKE {
		s.Local, s.Remote = netip.AddrPortFrom(s.Local.Addr(), portNATT), netip.AddrPortFrom(s.Remote.Addr(), portNATT)
	}
	if c.Childless && !i.Childless {
		m.fail(s, "the peer makes no IKE SA without a Child SA (RFC 6023)")
		return nil
	}
	if len(choice.Further) == 0 && adds(c.IKE) {
		m.report(s, Notice, "no additional key exchange: the peer has none that we offer")
	}
	t.Step = stepAuth
	if len(choice.Further) > 0 {
		t.Step = stepIntermediate
	}
	m.advance(s, t)
	return nil
}

// initRefused heeds COOKIE and INVALID_KE_PAYLOAD, a few times, and remembers any
// other refusal, for it may be forged.
func (t *initiate) initRefused(m *Machine, s *ikeSA, payloads []wire.Payload) error {
	c, i := m.connection(s), s.Initial
	if n := wire.FindNotify(payloads, wire.Cookie); n != nil {
		data, err := n.CookieData()
		if err != nil {
			return err
		}
		i.Cookie = slices.Clone(data)
		if i.Rounds++; i.Rounds > maxRounds {
			// Whoever forges them makes us send no more than the timer does.
			i.Renewed, i.Refusal = true, "it wants ever new cookies"
			return errors.New("one cookie more: it goes with the next repeat")
		}
		s.answered()
		m.advance(s, t)
		return nil
	}
	if n := wire.FindNotify(payloads, wire.InvalidKEPayload); n != nil {
		method, err := n.KeyExchangeMethod()
		if err == nil {
			err = proposal.Retry(c.IKE, i.Method, method)
		}
		if err != nil {
			return err
		}
		// Back to an earlier one it goes once: somebody in between had asked for this one.
		back := slices.Contains(i.Asked, method) && slices.Contains(i.Asked, i.Method)
		if i.Rounds++; back || i.Rounds > maxRounds {
			i.Refusal = fmt.Sprintf("it wants %s again and again", wire.KeyExchangeName(method))
			return errors.New(i.Refusal)
		}
		i.Asked = append(i.Asked, i.Method)
		i.KE.Wipe()
		i.KE, i.Method = nil, method
		s.answered()
		m.advance(s, t)
		return nil
	}
	for _, p := range payloads {
		if n, ok := p.(*wire.Notify); ok && n.Type.IsError() {
			if i.Refusal == "" {
				s.Out.Limit = min(s.Out.Limit, s.Out.Repeats+2)
			}
			i.Refusal = n.Type.String()
			return fmt.Errorf("%s, which anybody may have sent", n.Type)
		}
	}
	return errors.New("it has no SA payload")
}

// unanswered ends an attempt whose request was repeated often enough.
func (t *initiate) unanswered(m *Machine, s *ikeSA) {
	reason := NoAnswer
	if r := s.Initial.Refusal; r != "" {
		reason = "the peer says " + r
	}
	m.fail(s, reason)
}

func (t *initiate) abandon(*Machine, *ikeSA) {}

func (t *initiate) process(m *Machine, s *ikeSA, h wire.Header, response []wire.Payload) bool {
	if t.Step == stepIntermediate {
		return t.processIntermediate(m, s, h, response)
	}
	t.processAuth(m, s, response)
	return false
}
