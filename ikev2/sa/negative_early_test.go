// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"slices"
	"testing"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

func negativeEarly(t *testing.T) {
	for _, stage := range []string{"before IKE_INTERMEDIATE", "before IKE_AUTH"} {
		for _, c := range []struct {
			name     string
			exchange wire.ExchangeType
			payloads func(offer *wire.SA) []wire.Payload
		}{
			{"a rekey of the IKE SA", wire.CreateChildSA, func(offer *wire.SA) []wire.Payload {
				rekey := &wire.SA{Proposals: slices.Clone(offer.Proposals)}
				rekey.Proposals[0].SPI = bytes.Repeat([]byte{7}, 8)
				return []wire.Payload{rekey, wire.Nonce(bytes.Repeat([]byte{7}, 32)), &wire.KeyExchange{Method: wire.Curve25519, Data: append([]byte{9}, make([]byte, 31)...)}}
			}},
			{"a rekey of a Child SA", wire.CreateChildSA, func(*wire.SA) []wire.Payload { return []wire.Payload{wire.NewChildNotify(wire.RekeySA, 0x1234)} }},
			{"another Child SA", wire.CreateChildSA, func(offer *wire.SA) []wire.Payload { return []wire.Payload{offer, wire.Nonce(make([]byte, 32))} }},
			{"IKE_FOLLOWUP_KE", wire.IKEFollowupKE, func(*wire.SA) []wire.Payload {
				return []wire.Payload{&wire.KeyExchange{Method: wire.ECP256, Data: make([]byte, 64)}, &wire.Notify{Type: wire.AdditionalKeyExchange, Data: make([]byte, 8)}}
			}},
			{"a deletion of the IKE SA", wire.Informational, func(*wire.SA) []wire.Payload { return []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}} }},
			{"a deletion of a Child SA", wire.Informational, func(*wire.SA) []wire.Payload { return deletion(0x1234) }},
			{"AUTHENTICATION_FAILED", wire.Informational, func(*wire.SA) []wire.Payload { return []wire.Payload{&wire.Notify{Type: wire.AuthenticationFailed}} }},
			{"another address", wire.Informational, func(*wire.SA) []wire.Payload { return []wire.Payload{&wire.Notify{Type: wire.UpdateSAAddresses}} }},
			{"nothing", wire.Informational, func(*wire.SA) []wire.Payload { return nil }},
		} {
			t.Run(c.name+", "+stage, func(t *testing.T) {
				w := New(t, Options{Alone: true, IKE: "aes128gcm16-prfsha256-x25519-ke1_ecp256"})
				w.A.Connect(w.B)
				w.Deliver("A INIT→", "B INIT←")
				next := "A X→"
				if stage == "before IKE_AUTH" {
					w.Deliver("A X→", "B X←")
					next = "A AUTH→"
				}
				m := waiting(w, next)
				offer, _ := wire.Find[*wire.SA](w.All("A INIT→")[0].Payloads)
				payloads := c.payloads(offer)
				text := must(wire.AppendInner(nil, payloads))
				sends := []int{w.A.Sends, w.B.Sends}
				half := w.B.Machine.Counters().HalfOpen
				unmoved(w, c.name, func() {
					// By the initiator, whoever that is, in the place of what must come next, and behind it.
					for id := m.MessageID; id < m.MessageID+3; id++ {
						h := m.Header
						h.Exchange, h.MessageID = c.exchange, id
						w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), seal(m.Keys(), h, wire.First(payloads), text, 0, 0))
					}
					// By the responder, who has not proved anything either.
					for id := range uint32(3) {
						h := m.Header
						h.Exchange, h.MessageID, h.Initiator = c.exchange, id, false
						w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), seal(m.Keys(), h, wire.First(payloads), text, 0, 0))
					}
				})
				w.True(w.A.Sends == sends[0] && w.B.Sends == sends[1], "it was answered")
				w.True(w.B.Machine.Counters().HalfOpen == half && len(w.A.Infos()) == 1, "what goes on goes on")
				w.OnlyOnTheWay(next)
				begunIn(w)
			})
		}
	}
	t.Run("where IKE_INTERMEDIATE was agreed on, IKE_AUTH without it", func(t *testing.T) {
		w := New(t, Options{Alone: true, IKE: "aes128gcm16-prfsha256-x25519-ke1_ecp256"})
		w.Strangers()
		w.A.Connect(w.B)
		w.Deliver("A INIT→", "B INIT←")
		w.On("A X→", func(m *Message) {
			id := w.A.Identity().Payload(false)
			m.Exchange, m.Payloads = wire.IKEAuth, []wire.Payload{id}
			reproved(w, m)
		})
		nothingCame(w)
		w.Never("B AUTH← AUTH", "B AUTH← AUTHENTICATION_FAILED") // its half-open time ends, and who asks then is a stranger
		w.True(w.B.Ups == 0, "B believed it")
	})
}
