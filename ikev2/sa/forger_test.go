// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// A forger is an initiator that has the group's key and says what it likes. It is no
// machine: it knows the messages by heart and seals what was made of them.
type forger struct {
	t         testing.TB
	responder *end
	dice      *pair.Dice
	local     netip.AddrPort
	remote    netip.AddrPort // its own
	number    int            // of sessions

	suite   crypto.Suite
	request *wire.Message // its IKE_SA_INIT, the nonce and the SPI to be changed
	private *crypto.KeyExchange
	data    map[uint16][]byte // of KE payloads
	link    []byte            // of IKE_FOLLOWUP_KE

	session
}

// session is one IKE SA, at whatever stage it is.
type session struct {
	spii, spir wire.SPI
	keys       *crypto.Keys // nil: there is none
	init       []byte
	ni, nr     []byte
	next       uint32
	pi, pr     []byte // of IKE_INTERMEDIATE
	rounds     int
	used       int    // messages
	spi        []byte // of its half of the first Child SA
}

// send hands the responder one datagram and gives those that it answers.
func (f *forger) send(b []byte) (answers [][]byte) {
	for _, a := range f.responder.machine.Handle(f.responder.now, &sa.Datagram{Local: f.local, Remote: f.remote, Data: b}) {
		if s, ok := a.(*sa.Send); ok && s.Remote == f.remote {
			answers = append(answers, s.Data)
		}
	}
	return answers
}

// draw gives octets.
func (f *forger) draw(n int) []byte {
	b := make([]byte, n)
	_, _ = f.dice.Read(b)
	return b
}

// fresh is its IKE_SA_INIT request with an SPI and a nonce of its own.
func (f *forger) fresh() []byte {
	f.session = session{spii: wire.SPI(f.draw(8)), ni: f.draw(32), next: 1}
	m := &wire.Message{Header: f.request.Header}
	m.SPIi = f.spii
	for _, p := range f.request.Payloads {
		switch p := p.(type) {
		case wire.Nonce:
			m.Payloads = append(m.Payloads, wire.Nonce(f.ni))
		case *wire.KeyExchange:
			m.Payloads = append(m.Payloads, &wire.KeyExchange{Method: p.Method, Data: p.Data})
		default:
			m.Payloads = append(m.Payloads, p)
		}
	}
	return must(m.Append(nil))
}

// begin makes a half-open SA, with a cookie if it must.
func (f *forger) begin() {
	f.init = f.fresh()
	for range 2 {
		answers := f.send(f.init)
		if len(answers) != 1 {
			f.t.Fatalf("IKE_SA_INIT has %d answers: %+v", len(answers), f.responder.machine.Counters())
		}
		m := must(wire.Parse(answers[0]))
		if n := wire.FindNotify(m.Payloads, wire.Cookie); n != nil {
			f.init = withCookie(f.init, n)
			continue
		}
		ke, _ := wire.Find[*wire.KeyExchange](m.Payloads)
		nr, _ := wire.Find[wire.Nonce](m.Payloads)
		f.spir, f.nr = m.SPIr, slices.Clone(nr)
		seed := crypto.InitialSeed(f.prf(), f.ni, f.nr, must(f.private.Finish(ke.Data)))
		f.keys = must(f.suite.Derive(seed, f.ni, f.nr, f.spii, f.spir))
		return
	}
	f.t.Fatal("a cookie was not good enough")
}

func withCookie(request []byte, n *wire.Notify) []byte {
	r := must(wire.Parse(request))
	r.Payloads = append([]wire.Payload{&wire.Notify{Type: wire.Cookie, Data: n.Data}}, r.Payloads...)
	return must(r.Append(nil))
}

// cookied is a request with the cookie that the responder asks for; nil if it asks for
// none.
func (f *forger) cookied(request []byte) []byte {
	answers := f.send(request)
	if len(answers) != 1 {
		return nil
	}
	n := wire.FindNotify(must(wire.Parse(answers[0])).Payloads, wire.Cookie)
	if n == nil {
		return nil
	}
	return withCookie(request, n)
}

func (f *forger) prf() crypto.PRF { return must(crypto.NewPRF(f.suite.PRF)) }

func (f *forger) header(x wire.ExchangeType) wire.Header {
	return wire.Header{SPIi: f.spii, SPIr: f.spir, Exchange: x, Initiator: true, MessageID: f.next}
}

// ask sends payloads and gives what is inside of the answer; nil without one.
func (f *forger) ask(x wire.ExchangeType, payloads []wire.Payload) []wire.Payload {
	h := f.header(x)
	text := must(wire.AppendInner(nil, payloads))
	first, back := f.answer(f.send(seal(f.keys, h, wire.First(payloads), text, 0, 0)), h)
	if back == nil {
		return nil
	}
	if x == wire.IKEIntermediate {
		f.strengthen(h, payloads, text, first, back)
	}
	return must(wire.ParseInner(first, back))
}

// answer opens the answer to a request, and notes that there was one.
func (f *forger) answer(datagrams [][]byte, h wire.Header) (first wire.PayloadType, text []byte) {
	for i, b := range datagrams {
		got, inner, piece, err := unseal(f.keys, b)
		if err != nil || !got.Response || got.MessageID != h.MessageID || got.Exchange != h.Exchange {
			return 0, nil
		}
		if i == 0 {
			first = inner
		}
		text = append(text, piece...)
	}
	if datagrams != nil {
		f.next = h.MessageID + 1
		if text == nil {
			text = []byte{}
		}
	}
	return first, text
}

// strengthen goes on under the keys of one more key exchange. IntAuth and the keys are
// made here as RFC 9242, section 3.3.2, and RFC 9370, section 2.2.2, have them.
func (f *forger) strengthen(h wire.Header, payloads []wire.Payload, text []byte, first wire.PayloadType, back []byte) {
	ke, ok := wire.Find[*wire.KeyExchange](must(wire.ParseInner(first, back)))
	if !ok {
		return
	}
	f.pi = f.prf().Sum(f.keys.Pi, f.pi, covered(h, wire.First(payloads), text))
	h.Response, h.Initiator = true, false
	f.pr = f.prf().Sum(f.keys.Pr, f.pr, covered(h, first, back))
	shared := must(f.further().Finish(ke.Data))
	seed := f.prf().Sum(f.keys.D, shared, f.ni, f.nr)
	f.keys = must(f.suite.Derive(seed, f.ni, f.nr, f.spii, f.spir))
	f.rounds++
}

// further is its private value of the additional key exchange, the same in each session.
func (f *forger) further() *crypto.KeyExchange {
	seed := pair.Dice(wire.MLKEM768)
	return must(crypto.NewKeyExchange(wire.MLKEM768, &seed))
}

// prove is the plaintext of IKE_AUTH's request, under a name that nobody had before.
func (f *forger) prove() []wire.Payload {
	f.number++
	id := must(auth.ParseIdentity(fmt.Sprintf("forger%d.example", f.number))).Payload(false)
	var intermediate []byte
	if f.rounds > 0 {
		intermediate = append(slices.Concat(f.pi, f.pr), 0, 0, 0, byte(f.next))
	}
	octets := auth.SignedOctets(f.prf(), f.init, f.nr, f.keys.Pi, id, intermediate)
	payloads := []wire.Payload{id, auth.SignShared(f.prf(), pair.Key, octets)}
	f.spi = f.draw(4)
	f.spi[0] |= 1
	return append(payloads, f.child(f.spi, wire.KeyExchangeNone, wire.KeyExchangeNone, nil)...)
}

// child asks for a Child SA; a nonce only in CREATE_CHILD_SA.
func (f *forger) child(spi []byte, method, further uint16, nonce wire.Nonce) []wire.Payload {
	host := func(a netip.AddrPort) []wire.Selector {
		return []wire.Selector{{Type: wire.SelectorIPv4, Protocol: 47, EndPort: 65535, Start: a.Addr(), End: a.Addr()}}
	}
	p := wire.Proposal{Number: 1, Protocol: wire.ProtocolESP, SPI: spi, Transforms: []wire.Transform{
		{Type: wire.Encryption, ID: wire.EncryptionAESGCM16, KeyLength: 128}, {Type: wire.SequenceNumbers, ID: wire.NoExtendedSequenceNumbers},
	}}
	if method != wire.KeyExchangeNone {
		p.Transforms = append(p.Transforms, wire.Transform{Type: wire.KeyExchangeMethod, ID: method})
	}
	if further != wire.KeyExchangeNone {
		p.Transforms = append(p.Transforms, wire.Transform{Type: wire.AdditionalKeyExchange1, ID: further})
	}
	payloads := []wire.Payload{&wire.Notify{Type: wire.UseTransportMode}, &wire.SA{Proposals: []wire.Proposal{p}}}
	if nonce != nil {
		payloads = append(payloads, nonce)
	}
	if method != wire.KeyExchangeNone {
		payloads = append(payloads, f.ke(method))
	}
	return append(payloads, &wire.Selectors{List: host(f.remote)}, &wire.Selectors{Responder: true, List: host(f.local)})
}

// ke is its KE payload of a method, the same each time.
func (f *forger) ke(method uint16) *wire.KeyExchange {
	if f.data == nil {
		f.data = map[uint16][]byte{}
	}
	if f.data[method] == nil {
		seed := pair.Dice(method)
		f.data[method] = must(must(crypto.NewKeyExchange(method, &seed)).Data())
	}
	return &wire.KeyExchange{Method: method, Data: f.data[method]}
}

func (f *forger) furtherKE() []wire.Payload { return []wire.Payload{f.ke(wire.MLKEM768)} }

// wish is a CREATE_CHILD_SA: a Child SA with or without a key exchange, the rekey of the
// first one, or the rekey of the IKE SA.
func (f *forger) wish() []wire.Payload {
	spi := f.draw(4)
	spi[0] |= 1
	nonce := wire.Nonce(f.draw(32))
	switch f.dice.Below(5) {
	case 0:
		return f.child(spi, wire.KeyExchangeNone, wire.KeyExchangeNone, nonce)
	case 1, 2:
		return f.child(spi, wire.Curve25519, wire.KeyExchangeNone, nonce)
	case 3:
		rekey := &wire.Notify{Type: wire.RekeySA, Protocol: wire.ProtocolESP, SPI: f.spi}
		return append([]wire.Payload{rekey}, f.child(spi, wire.KeyExchangeNone, wire.KeyExchangeNone, nonce)...)
	}
	return []wire.Payload{&wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtocolIKE, SPI: f.draw(8), Transforms: []wire.Transform{
		{Type: wire.Encryption, ID: wire.EncryptionAESGCM16, KeyLength: 128}, {Type: wire.PseudorandomFunction, ID: wire.PRFHMACSHA256},
		{Type: wire.KeyExchangeMethod, ID: wire.Curve25519},
	}}}}, nonce, f.ke(wire.Curve25519)}
}

// follow is an IKE_FOLLOWUP_KE, behind a CREATE_CHILD_SA that asked for it.
func (f *forger) follow() []wire.Payload {
	for {
		next, _, chains, stage := f.responder.machine.Awaits(f.spii, f.spir)
		if chains > 0 && f.link != nil {
			return []wire.Payload{f.ke(wire.ECP256), &wire.Notify{Type: wire.AdditionalKeyExchange, Data: f.link}}
		}
		f.next, f.link = next, nil
		if stage == "established" {
			spi := f.draw(4)
			spi[0] |= 1
			back := f.ask(wire.CreateChildSA, f.child(spi, wire.Curve25519, wire.ECP256, wire.Nonce(f.draw(32))))
			if n := wire.FindNotify(back, wire.AdditionalKeyExchange); n != nil {
				f.link = n.Data
				continue
			}
			f.end()
		}
		f.establish()
	}
}

// remark is an INFORMATIONAL.
func (f *forger) remark() []wire.Payload {
	switch f.dice.Below(6) {
	case 0:
		return nil
	case 1:
		return []wire.Payload{&wire.Delete{Protocol: wire.ProtocolESP, SPIs: []uint32{binary.BigEndian.Uint32(f.spi)}}}
	case 2:
		return []wire.Payload{&wire.Delete{Protocol: wire.ProtocolESP, SPIs: []uint32{uint32(f.dice.Uint64()), uint32(f.dice.Uint64())}}}
	case 3:
		return []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}}
	}
	return []wire.Payload{foreign[f.dice.Below(len(foreign))], foreign[f.dice.Below(len(foreign))]}
}

// establish makes an IKE SA with a Child SA.
func (f *forger) establish() {
	f.begin()
	f.intermediates()
	back := f.ask(wire.IKEAuth, f.prove())
	if _, ok := wire.Find[*wire.SA](back); !ok {
		f.t.Fatalf("IKE_AUTH: %s", wire.Describe(back))
	}
}

// intermediates goes through IKE_INTERMEDIATE where it was agreed on.
func (f *forger) intermediates() {
	if offer, _ := wire.Find[*wire.SA](f.request.Payloads); len(offer.Proposals[0].Transforms) > 3 {
		f.ask(wire.IKEIntermediate, f.furtherKE())
	}
}

// end deletes the IKE SA if it is established, so that nobody has to find out.
func (f *forger) end() {
	if next, _, _, stage := f.responder.machine.Awaits(f.spii, f.spir); stage == "established" {
		f.next = next
		f.ask(wire.Informational, []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}})
	}
	f.session = session{}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
