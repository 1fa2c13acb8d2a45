// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// keysNow are the keys that an end's IKE SAs have now; wiped fails unless nothing of them is left.
func keysNow(e *End) (all []*crypto.Keys) {
	for _, i := range e.Infos() {
		if k := e.Machine.KeysOf(i.SPIi, i.SPIr); k != nil {
			all = append(all, k)
		}
	}
	return all
}

func wiped(w *World, all []*crypto.Keys) {
	w.T.Helper()
	w.True(len(all) > 0, "there were keys")
	for _, k := range all {
		for _, s := range []crypto.Secret{k.D, k.Ai, k.Ar, k.Ei, k.Er, k.Pi, k.Pr} {
			w.True(!w.Counts() || bytes.Count(s, []byte{0}) == len(s), "the keys are wiped")
		}
	}
}

// changeKE changes the data of a message's KE payload.
func changeKE(m *Message, change func(ke *wire.KeyExchange)) {
	ke, ok := wire.Find[*wire.KeyExchange](m.Payloads)
	if !ok {
		return // a refusal
	}
	bent := *ke
	bent.Data = slices.Clone(ke.Data)
	change(&bent)
	m.Payloads = with(m.Payloads, &bent)
}

// TestCasesIntermediateBad are the rows of section 11 in which a round goes wrong.
func TestCasesIntermediateBad(t *testing.T) {
	hybrid := Options{Alone: true, IKE: ikeSingle + "-ke1_mlkem768"}
	aside := func(m *Message) {
		m.Payloads = append(m.Payloads, &wire.Notify{Type: 0xd001})
	}
	faults := map[string]func(m *Message){
		"an error notification": func(m *Message) { m.Payloads = []wire.Payload{&wire.Notify{Type: wire.NoProposalChosen}} },
		"no KE":                 func(m *Message) { m.Payloads = nil },
		"another method":        func(m *Message) { changeKE(m, func(ke *wire.KeyExchange) { ke.Method = wire.ECP256 }) },
		"a KE that is too short": func(m *Message) {
			changeKE(m, func(ke *wire.KeyExchange) { ke.Data = ke.Data[1:] })
		},
		"a KE that is too long": func(m *Message) {
			changeKE(m, func(ke *wire.KeyExchange) { ke.Data = append(ke.Data, 0) })
		},
		"a key that fails its check": func(m *Message) {
			changeKE(m, func(ke *wire.KeyExchange) { ke.Data = bytes.Repeat([]byte{0xff}, len(ke.Data)) })
		},
	}
	var inRequest, inResponse []string
	for name := range faults {
		if name != "an error notification" {
			inRequest = append(inRequest, name)
		}
		if name != "a key that fails its check" { // a ciphertext has none: see intermediate-bent
			inResponse = append(inResponse, name)
		}
	}
	slices.Sort(inRequest)
	slices.Sort(inResponse)
	Run(t,
		Case{Name: "intermediate-bent, by somebody", Options: hybrid, Ways: []string{"A X→", "B X←"}, Run: func(w *World) {
			bent := false
			w.Recut(w.Way, func(m *Message) [][]byte {
				if bent {
					return m.Packets
				}
				bent = true
				b := slices.Clone(m.Packets[0])
				b[len(b)/2] ^= 1
				return [][]byte{b}
			})
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			exchange(w, "A X→", "B X←", func() bool { return len(w.All("A AUTH→")) > 0 })
			w.Deliver("A AUTH→", "B AUTH←")
			begun(w)
			w.True(!w.Counts() || w.A.Machine.Counters().Integrity+w.B.Machine.Counters().Integrity > 0, "it was dropped")
		}},
		Case{Name: "intermediate-bent, by the peer, another ciphertext", Options: hybrid, Loss: true, Run: func(w *World) {
			w.Strangers()
			w.On("B X←", func(m *Message) { changeKE(m, func(ke *wire.KeyExchange) { ke.Data[7] ^= 1 }) })
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A X→", "B X←", "A AUTH→")
			w.Never("B AUTH←")
			w.True(!w.Counts() || w.B.Machine.Counters().Integrity > 0, "B cannot open it")
			w.Drain()
			w.True(len(w.A.Failures) == 1 && w.A.Ups == 0 && w.B.Ups == 0, "the attempt has failed: %v", w.A.Failures)
		}},
		Case{Name: "intermediate-bent, by the peer, another payload", Options: hybrid, Ways: []string{"A X→", "B X←"}, Run: func(w *World) {
			w.On(w.Way, aside)
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A X→", "B X←", "A AUTH→", "B AUTH← AUTHENTICATION_FAILED")
			w.EndIKE(0)
			w.True(len(w.A.Failures) == 1 && w.A.Ups == 0 && w.B.Ups == 0, "the attempt has failed: %v", w.A.Failures)
		}},
		Case{Name: "intermediate-error, in the request", Options: hybrid, Ways: inRequest, Run: func(w *World) {
			w.On("A X→", faults[w.Way])
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			ofA, ofB := keysNow(w.A), keysNow(w.B)
			w.Deliver("A X→", "B X← INVALID_SYNTAX")
			failed(w, "INVALID_SYNTAX")
			wiped(w, ofA)
			wiped(w, ofB)
		}},
		Case{Name: "intermediate-error, in the response", Options: hybrid, Ways: inResponse, Run: func(w *World) {
			w.On("B X←", faults[w.Way])
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			ofA, ofB := keysNow(w.A), keysNow(w.B)
			w.Deliver("A X→")
			ofB = append(ofB, keysNow(w.B)...)
			w.Deliver("B X←")
			failed(w, map[string]string{
				"an error notification": "NO_PROPOSAL_CHOSEN", "no KE": "no KE", "another method": "no KE payload of the method",
			}[w.Way])
			wiped(w, ofA)
			wiped(w, ofB)
		}},
	)
}

// failed fails unless A's attempt ends at once, for a reason, and B forgets it.
func failed(w *World, reason string) {
	w.T.Helper()
	w.True(len(w.A.Failures) == 1 && strings.Contains(w.A.Failures[0].Reason, reason), "the attempt fails with its reason: %v", w.A.Failures)
	w.True(len(w.A.Infos()) == 0, "A has nothing left of it")
	w.Never("A AUTH→")
	w.EndIKE(0)
	w.True(w.A.Ups == 0 && w.B.Ups == 0, "nothing was up")
}
