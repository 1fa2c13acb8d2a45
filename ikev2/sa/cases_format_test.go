// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// stranger200 is a payload of a kind that nobody knows.
var stranger200 = &wire.Unknown{Kind: 200, Body: []byte("what is this?")}

// resealed is a message's datagram with other payloads in front of SK, and after change has
// been at what stands in front of the sealed text.
func resealed(m *Message, front []wire.Payload, change func(b []byte)) [][]byte {
	payloads := append(slices.Clone(front), &wire.Encrypted{Inner: wire.First(m.Payloads)})
	b := must((&wire.Message{Header: m.Header, Payloads: payloads}).Append(nil))
	text := append(must(wire.AppendInner(nil, m.Payloads)), 0)
	if change != nil {
		change(b)
	}
	return [][]byte{sealBehind(m.Keys(), m.Initiator, b, len(b)-4, text)}
}

// inside is a message's datagram with other octets inside of SK.
func inside(m *Message, first wire.PayloadType, text []byte) [][]byte {
	return [][]byte{seal(m.Keys(), m.Header, first, text, 0, 0)}
}

// critical is a message's datagram with a critical unknown payload before all others.
func critical(m *Message) [][]byte {
	payloads := append([]wire.Payload{stranger200}, m.Payloads...)
	text := must(wire.AppendInner(nil, payloads))
	text[1] |= 0x80
	if m.Keys() != nil {
		return inside(m, stranger200.Kind, text)
	}
	b := must((&wire.Message{Header: m.Header, Payloads: payloads}).Append(nil))
	b[wire.HeaderSize+1] |= 0x80
	return [][]byte{b}
}

// zeros fails unless what both ends sent has version 2.0 and no reserved bit.
func zeros(w *World) {
	w.T.Helper()
	for _, pattern := range []string{"A INIT→", "B INIT←", "A AUTH→", "B AUTH←", "A I→", "B I←"} {
		for _, m := range w.All(pattern) {
			b := m.Packets[0]
			w.True(b[17] == 0x20 && b[19]&^0x28 == 0 && b[wire.HeaderSize+1] == 0, "%s: version %x, flags %x, payload %x", m, b[17], b[19], b[wire.HeaderSize+1])
		}
	}
}

// TestCasesVersions are the rows of section 16 about versions and reserved bits.
func TestCasesVersions(t *testing.T) {
	alone := Options{Alone: true}
	// both directions of an established IKE SA, and the first message of another one
	ignored := func(change func(b []byte)) func(w *World) {
		return func(w *World) {
			w.A.Connect(w.B)
			if w.Way == "request" {
				for _, m := range w.All("A INIT→") {
					b := altered(w, m, otherSPI(1, nil))
					change(b)
					w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), b)
					w.True(w.B.Machine.Counters().HalfOpen == 1, "IKE_SA_INIT is taken")
				}
				w.Lose("B INIT← SA") // that is to nobody
			}
			w.Deliver("A INIT→", "B INIT← SA", "A AUTH→", "B AUTH←")
			pattern := map[string]string{"request": "A I→", "response": "B I←"}[w.Way]
			w.Recut(pattern, func(m *Message) [][]byte { return resealed(m, nil, change) })
			hintOf(w.A, w.B)
			w.Deliver("A I→", "B I← ∅")
			w.True(w.A.IKE().Queued == 0, "the response was taken")
			w.Calm()
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.Flows()
			zeros(w)
		}
	}
	sides := []string{"request", "response"}
	Run(t,
		Case{Name: "ikev2-major-version-initiator", Options: alone, Ways: []string{"IKE_SA_INIT", "of an IKE SA"}, Run: func(w *World) {
			w.A.Connect(w.B)
			pattern := "A INIT→"
			if w.Way == "of an IKE SA" {
				w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
				hintOf(w.A, w.B)
				pattern = "A I→"
			}
			sent := w.B.Sends
			for _, m := range w.All(pattern) {
				b := slices.Clone(m.Packets[0])
				b[17] = 0x30
				for range 100 {
					w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), b)
				}
				n := m.MessageID
				answers := w.All(map[uint32]string{0: "B INIT← INVALID_MAJOR_VERSION"}[n])
				if w.Way == "of an IKE SA" {
					answers = w.All("B I← INVALID_MAJOR_VERSION")
				}
				w.True(len(answers) == 1 && answers[0].Keys() == nil && answers[0].MessageID == n && answers[0].SPIi == m.SPIi, "it is answered in clear: %v", answers)
				for _, a := range answers {
					w.True(len(a.Notify(wire.InvalidMajorVersion).Data) == 0 && a.Packets[0][17] == 0x20, "the header says which version: %s", a)
				}
				w.True(w.B.Sends-sent == 50, "100 of them in one second have %d answers", w.B.Sends-sent)
				sent = w.B.Sends
				b[17] = 0x10
				w.Wait(time.Second)
				w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), b)
				w.True(w.B.Sends == sent, "a lower one has none")
			}
			w.Deliver(pattern)
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.Flows()
		}},
		Case{Name: "ikev2-major-version-responder", Options: alone, Ways: []string{"IKE_SA_INIT", "of an IKE SA"}, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→")
			pattern := "B INIT←"
			if w.Way == "of an IKE SA" {
				w.Deliver("B INIT←", "A AUTH→", "B AUTH←")
				hintOf(w.A, w.B)
				w.Deliver("A I→")
				pattern = "B I←"
			}
			sent := w.A.Sends
			for _, m := range w.All(pattern) {
				b := slices.Clone(m.Packets[0])
				b[17] = 0x30
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), b)
			}
			w.True(w.A.Sends == sent, "it is dropped")
			w.Deliver(pattern)
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.Flows()
		}},
		Case{Name: "ikev2-minor-version-initiator", Options: alone, Ways: sides[:1], Run: ignored(func(b []byte) { b[17] = 0x21 })},
		Case{Name: "ikev2-minor-version-responder", Options: alone, Ways: sides[1:], Run: ignored(func(b []byte) { b[17] = 0x2f })},
		Case{Name: "ikev2-isakmp-reserved-flags-01", Options: alone, Ways: sides, Run: ignored(func(b []byte) { b[19] |= 0xd7 })},
		Case{Name: "ikev2-payload-reserved-flags-01", Options: alone, Ways: sides, Run: ignored(func(b []byte) { b[wire.HeaderSize+1] |= 0x7f })},
	)
}

// TestCasesUnknownPayloads are the rows of section 16 about payloads that we do not know.
func TestCasesUnknownPayloads(t *testing.T) {
	alone := Options{Alone: true}
	add := func(m *Message) { m.Payloads = append(m.Payloads, stranger200) }
	Run(t,
		Case{Name: "ikev2-unknown-payload-01-sa-init", Options: alone, Run: func(w *World) {
			w.A.Connect(w.B)
			for _, m := range w.All("A INIT→") {
				w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), altered(w, m, func(h *wire.Header, p []wire.Payload) []wire.Payload {
					h.SPIi[0] ^= 1
					return append(p, stranger200)
				}))
			}
			w.True(w.B.Machine.Counters().HalfOpen == 1, "it is skipped")
			w.Lose("B INIT← SA") // that is to nobody
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "ikev2-unknown-payload-02-auth", Options: alone, Ways: []string{"request", "response"}, Run: func(w *World) {
			front := func(m *Message) [][]byte { return resealed(m, []wire.Payload{stranger200}, nil) }
			w.Recut(map[string]string{"request": "A AUTH→", "response": "B AUTH←"}[w.Way], front)
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "ikev2-unknown-payload-03-auth-sk", Options: alone, Ways: []string{"request", "response"}, Run: func(w *World) {
			w.On(map[string]string{"request": "A AUTH→", "response": "B AUTH←"}[w.Way], add)
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "ikev2-unknown-payload-03-auth-sk-critical", Options: alone, Ways: []string{"IKE_SA_INIT", "IKE_SA_INIT's answer"}, Run: func(w *World) {
			w.A.Connect(w.B)
			if w.Way == "IKE_SA_INIT" {
				for _, m := range w.All("A INIT→") {
					w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), critical(m)[0])
				}
				w.True(w.B.Machine.Counters().HalfOpen == 0, "it is refused whole")
				for _, m := range w.All("B INIT←") {
					n := m.Notify(wire.UnsupportedCriticalPayload)
					w.True(n != nil && string(n.Data) == "\xc8" && len(m.Payloads) == 1, "it is named: %s", m)
				}
			} else {
				w.Deliver("A INIT→")
				for _, m := range w.All("B INIT←") {
					w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), critical(m)[0])
				}
				w.Never("A AUTH→")
			}
			begun(w) // for whoever sent that is nobody
		}},
		Case{Name: "ikev2-unknown-payload-03-auth-sk-critical, IKE_AUTH", Options: Options{Alone: true, Both: liveness}, Ways: []string{"request", "response"}, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			w.MayBreak()
			if w.Way == "request" {
				w.Recut("A AUTH→", critical)
				w.Deliver("A AUTH→", "B AUTH← UNSUPPORTED_CRITICAL_PAYLOAD")
				w.EndDowns(0, 0)
			} else {
				w.Recut("B AUTH←", critical)
				w.Deliver("A AUTH→", "B AUTH←", "A D→ IKE")
				w.Run(6 * time.Minute) // if that is lost B has to find out
				w.EndDowns(0, -1)
			}
			w.True(len(w.A.Failures) == 1, "the attempt has failed: %v", w.A.Failures)
			w.EndIKE(0)
		}},
		Case{Name: "ikev2-unknown-payload-03-auth-sk-critical, INFORMATIONAL", Options: Options{Both: liveness}, Ways: []string{"request", "response", "in front of SK"}, Run: func(w *World) {
			w.Horizon = 20 * time.Second
			switch w.Way {
			case "request":
				w.Recut("A I→", critical)
				hintOf(w.A, w.B)
				w.Deliver("A I→", "B I← UNSUPPORTED_CRITICAL_PAYLOAD")
				w.Calm()
				hintOf(w.B, w.A)
				w.Deliver("B I→", "A I← ∅")
				w.A.Rekey(w.A.SA())
				w.Deliver("A C→", "B C←", "A D→", "B D←") // the message id was counted
				w.End(1)
			case "response":
				w.MayBreak()
				w.Recut("B I←", critical)
				hintOf(w.A, w.B)
				w.Deliver("A I→", "B I←", "A D→ IKE")
				w.Run(6 * time.Minute) // if that is lost B has to find out
				w.End(0)
			default: // it is nobody's word before it is verified, and no message with it is
				hintOf(w.A, w.B)
				for _, m := range w.All("A I→") {
					sent := w.B.Sends
					w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), resealed(m, []wire.Payload{stranger200}, func(b []byte) { b[wire.HeaderSize+1] |= 0x80 })[0])
					w.True(w.B.Sends == sent, "it is dropped")
				}
				w.Deliver("A I→", "B I← ∅")
				w.End(1)
			}
		}},
	)
}

// TestCasesBadIntegrity is bad-icv of section 16.
func TestCasesBadIntegrity(t *testing.T) {
	bent := map[string]func(b []byte) []byte{
		"check value": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"text":        func(b []byte) []byte { b[wire.HeaderSize+12] ^= 1; return b },
		"padding":     func(b []byte) []byte { b[len(b)-17] ^= 0x80; return b },
		"message id":  func(b []byte) []byte { b[23]++; return b },
		"too short":   func(b []byte) []byte { return lengths(b[:len(b)-1]) },
		"empty":       func(b []byte) []byte { return lengths(b[:wire.HeaderSize+4]) },
		"too long":    func(b []byte) []byte { return lengths(append(b, 0)) },
	}
	run := func(w *World) {
		hintOf(w.A, w.B)
		for _, m := range w.All("A I→") {
			before, sent := exported(w.B, w), w.B.Sends
			w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), bent[w.Way](slices.Clone(m.Packets[0])))
			w.True(w.B.Sends == sent, "it is dropped in silence")
			w.True(len(exported(w.B, w)) == len(before), "no state")
		}
		w.Deliver("A I→")
		for _, m := range w.All("B I←") {
			before, sent := exported(w.A, w), w.A.Sends
			w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), bent[w.Way](slices.Clone(m.Packets[0])))
			w.True(w.A.Sends == sent && w.A.IKE().Queued == 1, "it is dropped in silence")
			w.True(len(exported(w.A, w)) == len(before), "no state")
		}
		w.Deliver("B I←")
		w.True(w.A.IKE().Queued == 0, "the good one was taken")
		w.End(1)
		w.Flows()
	}
	var ways []string
	for way := range bent {
		ways = append(ways, way)
	}
	slices.Sort(ways)
	Run(t,
		Case{Name: "bad-icv", Ways: ways, Run: run},
		Case{Name: "bad-icv, CBC", Ways: ways, Options: withIKE("aes128-sha256-x25519"), Run: run},
	)
}

// TestCasesInvalidSyntax is invalid-syntax-authenticated of section 16.
func TestCasesInvalidSyntax(t *testing.T) {
	// What stands inside of a good SK: a payload that is cut, or padding of more than there is.
	nonsense := func(m *Message) [][]byte {
		return inside(m, wire.PayloadNotify, []byte{0, 0, 0, 9, 0})
	}
	padding := func(m *Message) [][]byte {
		b := must((&wire.Message{Header: m.Header, Payloads: []wire.Payload{&wire.Encrypted{}}}).Append(nil))
		return [][]byte{sealBehind(m.Keys(), m.Initiator, b, wire.HeaderSize, []byte{1, 2, 3, 4})}
	}
	ways := []string{"a payload that is cut", "padding"}
	cut := func(w *World, pattern string) {
		w.MayBreak()
		w.Recut(pattern, map[string]func(m *Message) [][]byte{ways[0]: nonsense, ways[1]: padding}[w.Way])
	}
	Run(t,
		Case{Name: "invalid-syntax-authenticated, request", Ways: ways, Run: func(w *World) {
			cut(w, "A I→")
			hintOf(w.A, w.B)
			w.Deliver("A I→", "B I← INVALID_SYNTAX")
			w.True(w.A.IKE().ID == 0 && w.B.IKE().ID == 0, "both have closed it")
			w.End(0)
			w.Never("A D→", "B D→")
		}},
		Case{Name: "invalid-syntax-authenticated, deletion", Ways: ways, Run: func(w *World) {
			cut(w, "A D→")
			w.A.Delete(w.A.SA())
			w.Deliver("A D→", "B D← INVALID_SYNTAX")
			w.True(w.A.IKE().ID == 0 && w.B.IKE().ID == 0, "both have closed it")
			w.End(0)
		}},
		Case{Name: "invalid-syntax-authenticated, rekey", Ways: ways, Run: func(w *World) {
			cut(w, "A C→")
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C← INVALID_SYNTAX")
			w.True(w.B.IKE().ID == 0, "B has closed it")
			w.Run(5 * time.Second)
			w.True(w.A.IKE().ID == 0 || !w.Plain(), "A asked, and found that out")
			w.End(0)
		}},
		Case{Name: "invalid-syntax-authenticated, response", Options: Options{Both: liveness}, Ways: ways, Run: func(w *World) {
			cut(w, "B I←")
			hintOf(w.A, w.B)
			w.Deliver("A I→", "B I←")
			w.True(w.A.IKE().ID == 0, "A has closed it")
			w.Deliver("A D→ IKE")
			w.Run(6 * time.Minute) // if that is lost B has to find out
			w.End(0)
		}},
	)
}

// many gives hundreds of something in one message.
var many = map[string]func() []wire.Payload{
	"payloads": func() []wire.Payload { return slices.Repeat([]wire.Payload{wire.VendorID("x")}, wire.MaxPayloads+1) },
	"notifications": func() []wire.Payload {
		return slices.Repeat([]wire.Payload{&wire.Notify{Type: wire.SetWindowSize}}, 300)
	},
	"certificates": func() []wire.Payload {
		return slices.Repeat([]wire.Payload{&wire.Certificate{Encoding: wire.CertificateX509, Data: []byte{1}}}, wire.MaxPayloads+1)
	},
	"proposals": func() []wire.Payload {
		p := wire.Proposal{Protocol: wire.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: []wire.Transform{{Type: wire.Encryption, ID: wire.EncryptionAESGCM16, KeyLength: 128}}}
		all := slices.Repeat([]wire.Proposal{p}, wire.MaxProposals+1)
		for i := range all {
			all[i].Number = uint8(i + 1)
		}
		return []wire.Payload{&wire.SA{Proposals: all}}
	},
	"transforms": func() []wire.Payload {
		x := wire.Transform{Type: wire.Encryption, ID: wire.EncryptionAESGCM16, KeyLength: 128}
		return []wire.Payload{&wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: slices.Repeat([]wire.Transform{x}, wire.MaxTransforms+1)}}}}
	},
	"selectors": func() []wire.Payload {
		one := []byte{byte(wire.SelectorIPv4), 0, 0, 16, 0, 0, 0xff, 0xff, 10, 1, 0, 0, 10, 1, 0, 255}
		return []wire.Payload{&wire.Unknown{Kind: wire.PayloadSelectorsOfInitiator, Body: append([]byte{wire.MaxSelectors + 1, 0, 0, 0}, slices.Repeat(one, wire.MaxSelectors+1)...)}}
	},
	"SPIs": func() []wire.Payload {
		head := []byte{byte(wire.ProtocolESP), 4, (wire.MaxSPIs + 1) >> 8, (wire.MaxSPIs + 1) & 0xff}
		return []wire.Payload{&wire.Unknown{Kind: wire.PayloadDelete, Body: append(head, make([]byte, 4*(wire.MaxSPIs+1))...)}}
	},
}

// TestCasesMaxPayloads is cve-2026-12413-max-payloads of section 16.
func TestCasesMaxPayloads(t *testing.T) {
	var ways []string
	for way := range many {
		ways = append(ways, way)
	}
	slices.Sort(ways)
	Run(t,
		Case{Name: "cve-2026-12413-max-payloads", Ways: ways, Run: func(w *World) {
			payloads := many[w.Way]()
			w.Recut("A I→", func(m *Message) [][]byte {
				return inside(m, wire.First(payloads), must(wire.AppendInner(nil, payloads)))
			})
			w.MayBreak()
			hintOf(w.A, w.B)
			w.Deliver("A I→", "B I← INVALID_SYNTAX")
			w.End(0)
		}},
		Case{Name: "cve-2026-12413-max-payloads, IKE_SA_INIT", Options: Options{Alone: true}, Ways: ways, Run: func(w *World) {
			w.A.Connect(w.B)
			for _, m := range w.All("A INIT→") {
				sent := w.B.Sends
				w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), altered(w, m, func(_ *wire.Header, p []wire.Payload) []wire.Payload { return append(p, many[w.Way]()...) }))
				w.True(w.B.Machine.Counters().HalfOpen == 0 && w.B.Sends == sent, "it is refused whole")
			}
			begun(w)
		}},
	)
}
