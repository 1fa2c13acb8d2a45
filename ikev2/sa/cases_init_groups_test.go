// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// forgedReply lets A get a response to its IKE_SA_INIT that anybody could have sent.
func forgedReply(w *World, p ...wire.Payload) {
	w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), reply(w, w.All("A INIT→")[0], p...))
}

// invalidKE makes INVALID_KE_PAYLOAD with some octets of data.
func invalidKE(data ...byte) *wire.Notify {
	return &wire.Notify{Type: wire.InvalidKEPayload, Data: data}
}

// offersOf gives the SA payloads of an end's IKE_SA_INITs, as text.
func offersOf(w *World, pattern string) []string {
	var all []string
	for _, m := range w.All(pattern) {
		if offer, ok := wire.Find[*wire.SA](m.Payloads); ok {
			all = append(all, offer.String())
		}
	}
	return all
}

// another answers an IKE_SA_INIT as somebody would who is not B: with keys of his own.
func anothersAnswer(w *World, m *Message) []byte {
	offer, _ := wire.Find[*wire.SA](m.Payloads)
	ke, _ := wire.Find[*wire.KeyExchange](m.Payloads)
	data, _, err := crypto.Respond(ke.Method, ke.Data, w.A.Config.Random)
	if err != nil {
		w.T.Fatal(err)
	}
	return altered(w, m, func(h *wire.Header, _ []wire.Payload) []wire.Payload {
		h.Initiator, h.Response, h.SPIr = false, true, wire.SPI{6, 6, 6}
		return []wire.Payload{offer, &wire.KeyExchange{Method: ke.Method, Data: data}, wire.Nonce(bytes.Repeat([]byte{6}, 32))}
	})
}

// TestCasesGroups are the rest of section 7: groups, and answers that may be forged.
func TestCasesGroups(t *testing.T) {
	groups := func(a, b string) Options {
		return Options{Alone: true, A: IKE(a), B: IKE(b)}
	}
	// asked lets B ask for one other group, once.
	asked := func(group uint16) func(w *World) {
		return func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT← INVALID_KE_PAYLOAD")
			for _, m := range w.All("B INIT← INVALID_KE_PAYLOAD") {
				got, err := m.Notify(wire.InvalidKEPayload).KeyExchangeMethod()
				w.True(err == nil && got == group, "B asks for %s", wire.KeyExchangeName(got))
			}
			w.Deliver("A INIT→", "B INIT← SA", "A AUTH→", "B AUTH←")
			offers := offersOf(w, "A INIT→")
			w.True(len(offers) == 2 && offers[0] == offers[1], "the offer is repeated as it was: %q", offers)
			begun(w)
			w.True(w.A.IKE().KeyExchange == group, "the group is %s", wire.KeyExchangeName(w.A.IKE().KeyExchange))
		}
	}
	alone := Options{Alone: true}
	one := "aes128gcm16-prfsha256-x25519-ecp256"
	Run(t,
		Case{Name: "ikev2-invalid-ke-01-invalid-modp", Options: groups("aes128gcm16-prfsha256-modp2048-ecp256", "aes128gcm16-prfsha256-ecp521-ecp256"), Run: asked(wire.ECP256)},
		Case{Name: "ikev2-invalid-ke-02-wrong-modp", Options: groups("aes128gcm16-prfsha256-ecp256,aes256gcm16-prfsha256-ecp384", "aes256gcm16-prfsha256-ecp256-ecp384,aes192-sha256-ecp256"), Run: asked(wire.ECP384)},
		Case{Name: "ikev2-invalid-ke-03, -04", Options: Options{Alone: true, B: IKE("aes128gcm16-prfsha256-ecp384"), A: func(c *sa.Connection) { c.IKE = nil }}, Run: asked(wire.ECP384)},
		Case{Name: "ikev2-invalid-ke-09-preference-ecp",
			Options: groups("aes128gcm16-prfsha256-ecp256,aes256gcm16-prfsha256-ecp384", "aes256gcm16-prfsha256-ecp384,aes128gcm16-prfsha256-ecp256"), Run: asked(wire.ECP384)},
		Case{Name: "invalid-ke-not-offered", Options: alone, Ways: []string{"ecp521", "none", "1 octet", "3 octets", "what was sent"}, Run: func(w *World) {
			w.A.Connect(w.B)
			n := map[string]*wire.Notify{
				"ecp521": wire.NewInvalidKE(wire.ECP521), "none": wire.NewInvalidKE(0), "1 octet": invalidKE(31), "3 octets": invalidKE(0, 31, 0),
				"what was sent": wire.NewInvalidKE(wire.Curve25519),
			}[w.Way]
			forgedReply(w, n)
			w.Count("A INIT→", 1)
			w.Deliver("A INIT→", "B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "invalid-ke-loop", Options: groups(one+"-ecp384", one), Loss: true, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deafen("A INIT→")
			for range 10 {
				forgedReply(w, wire.NewInvalidKE(wire.ECP256))
				forgedReply(w, wire.NewInvalidKE(wire.ECP384))
				forgedReply(w, wire.NewInvalidKE(wire.Curve25519))
			}
			w.True(len(w.All("A INIT→")) <= 4, "A sent %d requests", len(w.All("A INIT→")))
			w.Drain()
			w.True(len(w.A.Failures) == 1 && strings.Contains(w.A.Failures[0].Reason, "again and again"), "the attempt fails with its reason: %v", w.A.Failures)
		}},
		Case{Name: "sa-init-forged-error", Options: alone, Ways: []string{"NO_PROPOSAL_CHOSEN", "AUTHENTICATION_FAILED", "INVALID_SYNTAX", "an unknown one"}, Run: func(w *World) {
			w.A.Connect(w.B)
			n := map[string]wire.NotifyType{
				"NO_PROPOSAL_CHOSEN": wire.NoProposalChosen, "AUTHENTICATION_FAILED": wire.AuthenticationFailed, "INVALID_SYNTAX": wire.InvalidSyntax, "an unknown one": 8191,
			}[w.Way]
			forgedReply(w, &wire.Notify{Type: n})
			w.True(len(w.A.Failures) == 0, "nothing is told")
			w.Deliver("A INIT→", "B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "sa-init-forged-error, nothing but errors", Options: alone, Loss: true, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deafen("A INIT→")
			forgedReply(w, &wire.Notify{Type: wire.NoProposalChosen})
			w.Drain()
			w.True(len(w.A.Failures) == 1 && strings.Contains(w.A.Failures[0].Reason, "NO_PROPOSAL_CHOSEN"), "the reason is told: %v", w.A.Failures)
		}},
		Case{Name: "sa-init-two-answers", Options: alone, Ways: []string{"the true one first", "the forged one first"}, Run: func(w *World) {
			w.Strangers()
			w.A.Connect(w.B)
			m := w.All("A INIT→")[0]
			forgery := func() { w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), anothersAnswer(w, m)) }
			if w.Way == "the forged one first" {
				forgery()
			}
			w.Deliver("A INIT→", "B INIT← SA")
			if w.Way == "the true one first" {
				forgery()
			}
			if w.Plain() { // else the true one does not come: A has its answer and repeats nothing
				begun(w)
			}
		}},
		Case{Name: "sa-init-same-spi-other-nonce", Options: alone, Run: func(w *World) {
			w.A.Connect(w.B)
			m := w.All("A INIT→")[0]
			other := altered(w, m, func(_ *wire.Header, p []wire.Payload) []wire.Payload {
				return with(p, wire.Nonce(bytes.Repeat([]byte{9}, 32)))
			})
			w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), other)
			w.Lose("B INIT←")
			w.Deliver("A INIT→", "B INIT←")
			w.True(w.B.Machine.Counters().HalfOpen == 2, "two attempts")
			w.Deliver("A AUTH→", "B AUTH←")
			before := w.B.IKE().ID
			w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), m.Packets[0])
			w.True(w.B.IKE().ID == before, "the established one is untouched")
			begun(w)
		}},
		Case{Name: "impair-14-ike-initiator-spi-0-ikev2", Options: alone, Run: func(w *World) {
			w.A.Connect(w.B)
			m := w.All("A INIT→")[0]
			w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), altered(w, m, func(h *wire.Header, p []wire.Payload) []wire.Payload {
				h.SPIi = wire.SPI{}
				return p
			}))
			w.True(w.B.Machine.Counters().HalfOpen == 0, "SPIi 0 makes nothing")
			w.Never("B INIT←")
			answer := anothersAnswer(w, m)
			copy(answer[8:16], make([]byte, 8))
			w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), answer)
			w.Never("A AUTH→")
			w.Deliver("A INIT→", "B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
	)
}

// lowOrder are public values of Curve25519 that make the shared secret zero.
var lowOrder = [][]byte{make([]byte, 32), append([]byte{1}, make([]byte, 31)...)}

// TestCasesBadInit are those rows of section 7 that change KE and nonce.
func TestCasesBadInit(t *testing.T) {
	type bad struct {
		name   string
		change func(p []wire.Payload) []wire.Payload
		syntax bool // INVALID_SYNTAX, or nothing
		group  bool // INVALID_KE_PAYLOAD
	}
	ke := func(method uint16, data []byte) func(p []wire.Payload) []wire.Payload {
		return func(p []wire.Payload) []wire.Payload { return with(p, &wire.KeyExchange{Method: method, Data: data}) }
	}
	without := func(t wire.PayloadType) func(p []wire.Payload) []wire.Payload {
		return func(p []wire.Payload) []wire.Payload {
			return slices.DeleteFunc(p, func(x wire.Payload) bool { return x.PayloadType() == t })
		}
	}
	nonce := func(n int) func(p []wire.Payload) []wire.Payload {
		return func(p []wire.Payload) []wire.Payload { return with(p, wire.Nonce(bytes.Repeat([]byte{5}, n))) }
	}
	for _, c := range []struct {
		ike  string
		bads []bad
	}{
		{"aes128gcm16-prfsha256-x25519-ecp256", []bad{
			{name: "ikev2-impair-05-send-zero-ike-ke", change: ke(wire.Curve25519, lowOrder[0]), syntax: true},
			{name: "ikev2-impair-06, no KE", change: without(wire.PayloadKeyExchange), syntax: true},
			{name: "ikev2-impair-07, an empty KE", change: ke(wire.Curve25519, nil), syntax: true},
			{name: "a low-order point", change: ke(wire.Curve25519, lowOrder[1]), syntax: true},
			{name: "a wrong length", change: ke(wire.Curve25519, make([]byte, 31)), syntax: true},
			{name: "a group that nobody offered", change: ke(wire.ECP384, bytes.Repeat([]byte{9}, 96)), group: true},
			{name: "no nonce", change: without(wire.PayloadNonce), syntax: true},
			{name: "sa-init-nonce-length, 15", change: nonce(15), syntax: true},
			{name: "sa-init-nonce-length, 16", change: nonce(16)},
			{name: "sa-init-nonce-length, 256", change: nonce(256)},
			{name: "no SA", change: without(wire.PayloadSA), syntax: true},
		}},
		{"aes128gcm16-prfsha256-ecp256-x25519", []bad{
			{name: "a group that is not the one of its data", change: ke(wire.ECP256, bytes.Repeat([]byte{9}, 32)), syntax: true},
			{name: "a point that is not on the curve", change: ke(wire.ECP256, bytes.Repeat([]byte{9}, 64)), syntax: true},
		}},
		{"aes128gcm16-prfsha512-x25519", []bad{
			{name: "sa-init-nonce-length, below half of the PRF's key", change: nonce(31), syntax: true},
			{name: "sa-init-nonce-length, half of the PRF's key", change: nonce(32)},
		}},
		{"aes128gcm16-prfsha256-modp2048", []bad{
			{name: "ikev2-impair-05, MODP 0", change: ke(wire.MODP2048, make([]byte, 256)), syntax: true},
			{name: "ikev2-impair-05, MODP 1", change: ke(wire.MODP2048, append(make([]byte, 255), 1)), syntax: true},
			{name: "ikev2-impair-05, MODP p or more", change: ke(wire.MODP2048, bytes.Repeat([]byte{0xff}, 256)), syntax: true},
		}},
	} {
		for _, b := range c.bads {
			t.Run(b.name, func(t *testing.T) {
				w := New(t, Options{Alone: true, IKE: c.ike})
				w.A.Connect(w.B)
				m := w.All("A INIT→")[0]
				w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), altered(w, m, func(_ *wire.Header, p []wire.Payload) []wire.Payload { return b.change(p) }))
				half := w.B.Machine.Counters().HalfOpen
				switch all := w.All("B INIT←"); {
				case b.group:
					w.True(half == 0 && len(all) == 1 && all[0].Notify(wire.InvalidKEPayload) != nil, "%v", all)
				case b.syntax:
					w.True(half == 0, "%d half open", half)
					w.True(len(all) == 0 || len(all) == 1 && all[0].Notify(wire.InvalidSyntax) != nil, "%v", all)
				default:
					w.True(half == 1 && len(all) == 1, "it is good: %v", all)
				}
				// And in the response: it is no answer, the attempt goes on.
				bent := false
				w.On("B INIT← SA", func(m *Message) {
					if !bent {
						m.Payloads, bent = b.change(m.Payloads), true
					}
				})
				if !b.syntax {
					w.Calm()
				}
				w.B.Machine.Counters()
				begunIn(w)
			})
		}
	}
	t.Run("sa-init-nonce-length, 257", func(t *testing.T) {
		w := New(t, Options{Alone: true})
		w.A.Connect(w.B)
		m := w.All("A INIT→")[0]
		long := altered(w, m, func(_ *wire.Header, p []wire.Payload) []wire.Payload {
			return append(slices.DeleteFunc(p, func(x wire.Payload) bool { return x.PayloadType() == wire.PayloadNonce }),
				&wire.Unknown{Kind: wire.PayloadNonce, Body: bytes.Repeat([]byte{5}, 257)})
		})
		w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), long)
		w.True(w.B.Machine.Counters().HalfOpen == 0, "it is refused")
		begunIn(w)
	})
}

// begunIn is begun for a World outside of Run.
func begunIn(w *World) {
	w.T.Helper()
	w.Drain()
	begun(w)
}
