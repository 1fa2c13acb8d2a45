// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/ikev2/iketest"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// TestCasesLengthLiars is length-liars of section 16: each is a seed of wire's FuzzMessage too.
func TestCasesLengthLiars(t *testing.T) {
	Run(t,
		Case{Name: "length-liars", Options: Options{Alone: true}, Run: func(w *World) {
			w.A.Connect(w.B)
			for _, m := range w.All("A INIT→") {
				for _, liar := range iketest.Liars(m.Packets[0]) {
					sent := w.B.Sends
					w.B.Input(&sa.Datagram{Local: w.B.Endpoint(), Remote: w.A.Endpoint(), Data: liar.Data})
					w.True(w.B.Sends == sent && w.B.Machine.Counters().HalfOpen == 0, "%s: it is dropped", liar.Name)
				}
			}
			begun(w)
		}},
		// Inside of SK the peer itself lies.
		Case{Name: "length-liars, inside", Ways: []string{"payload length 0", "payload length 3", "past the end", "behind the last", "notification's SPI", "deletion's count"}, Run: func(w *World) {
			first, text := wire.PayloadNotify, []byte{0, 0, 0, 8, 0, 0, 0x40, 0}
			switch w.Way {
			case "payload length 0":
				text[3] = 0
			case "payload length 3":
				text[3] = 3
			case "past the end":
				text[3] = 9
			case "behind the last":
				text = append(text, 0)
			case "notification's SPI":
				text[5] = 4
			case "deletion's count":
				first, text = wire.PayloadDelete, []byte{0, 0, 0, 12, 3, 4, 0, 2, 1, 2, 3, 4}
			}
			w.MayBreak()
			w.Recut("A I→", func(m *Message) [][]byte { return inside(m, first, text) })
			hintOf(w.A, w.B)
			w.Deliver("A I→", "B I← INVALID_SYNTAX")
			w.End(0)
		}},
	)
}

// TestCasesUnknownSPIs are the rows of section 16 about what belongs to no SA.
func TestCasesUnknownSPIs(t *testing.T) {
	Run(t,
		Case{Name: "invalid-ike-spi", Ways: []string{"request", "response", "many"}, Run: func(w *World) {
			hintOf(w.A, w.B)
			if w.Way == "response" {
				w.Deliver("A I→")
			}
			for _, m := range w.All(map[bool]string{true: "B I←", false: "A I→"}[w.Way == "response"]) {
				to := w.B
				if w.Way == "response" {
					to = w.A
				}
				b, sent := slices.Clone(m.Packets[0]), to.Sends
				copies := 1
				if w.Way == "many" {
					copies = 200
				}
				for n := range copies {
					binary.BigEndian.PutUint32(b[4:], uint32(n+1))
					binary.BigEndian.PutUint32(b[12:], uint32(n+1))
					w.Forge(to, to.Endpoint(), m.From.Endpoint(), b)
				}
				switch w.Way {
				case "response":
					w.True(to.Sends == sent, "a response is never answered")
					continue
				case "many":
					w.True(to.Sends-sent == 50, "200 in one second have %d answers", to.Sends-sent)
					w.Wait(time.Second)
					w.Forge(to, to.Endpoint(), m.From.Endpoint(), b)
					w.True(to.Sends-sent == 51, "in the next there is one more")
				}
				answers := w.All("B I← INVALID_IKE_SPI")
				w.True(len(answers) == to.Sends-sent, "the answer is INVALID_IKE_SPI")
				a := answers[0]
				w.True(a.Keys() == nil && a.MessageID == m.MessageID && string(a.SPIi[:]) == string(m.SPIi[:4])+"\x00\x00\x00\x01" &&
					string(a.SPIr[:]) == string(m.SPIr[:4])+"\x00\x00\x00\x01" && a.Initiator != m.Initiator, "with the request's SPIs and id, in clear: %s", a)
				for range answers {
					w.Lose("B I← INVALID_IKE_SPI") // to nobody
				}
			}
			w.End(1)
			w.Flows()
		}},
		Case{Name: "invalid-ike-spi, received", Run: func(w *World) {
			ike := w.A.IKE().SPIi
			forged := func() {
				i := w.A.IKE()
				h := wire.Header{SPIi: i.SPIi, SPIr: i.SPIr, Exchange: wire.Informational, Initiator: !i.Initiator, Response: true, MessageID: 7}
				b := must((&wire.Message{Header: h, Payloads: []wire.Payload{&wire.Notify{Type: wire.InvalidIKESPI}}}).Append(nil))
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), b)
			}
			for range 50 {
				forged()
			}
			w.Deliver("A I→ ∅", "B I← ∅")
			for range 50 {
				forged()
			}
			w.Count("A I→", 1)
			w.End(1)
			w.True(w.A.IKE().SPIi == ike, "it is no more than a hint")
		}},
		Case{Name: "invalid-spi", Ways: []string{"a known peer", "its other port", "a stranger"}, Run: func(w *World) {
			from := w.A.Endpoint()
			switch w.Way {
			case "its other port":
				from = netip.AddrPortFrom(from.Addr(), 4500)
			case "a stranger":
				from = netip.MustParseAddrPort("203.0.113.77:4500")
			}
			tell := func() {
				for n := range 100 {
					w.B.Input(&sa.UnknownSPI{Local: w.B.Endpoint(), Remote: from, SPI: 0x01020304 + uint32(n)})
				}
			}
			tell()
			if w.Way == "a stranger" {
				// It is told once a second, in clear: we may have restarted.
				w.Count("B I→", 1)
				for _, m := range w.All("B I→ INVALID_SPI") {
					w.True(m.Keys() == nil && m.SPIi.IsZero() && m.SPIr.IsZero() && m.Initiator && m.MessageID == 0, "of no IKE SA: %s", m)
					w.True(string(m.Notify(wire.InvalidSPI).Data) == "\x01\x02\x03\x04", "it is told which SPI: %s", m)
				}
				w.End(1)
				return
			}
			w.Count("B I→", 1)
			for _, m := range w.All("B I→ INVALID_SPI") {
				n := m.Notify(wire.InvalidSPI)
				w.True(m.Keys() != nil && string(n.Data) == "\x01\x02\x03\x04", "it is told, protected, which SPI: %s", m)
			}
			w.Deliver("B I→ INVALID_SPI", "A I← ∅")
			tell()
			w.Count("B I→", 1)
			w.Run(11 * time.Second)
			tell()
			w.Count("B I→", 2)
			w.End(1)
			w.Flows()
		}},
	)
}
