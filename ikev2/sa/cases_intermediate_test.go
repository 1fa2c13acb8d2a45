// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"slices"
	"strings"
	"testing"

	"dmvpn/ikev2/auth"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// rounds connects the ends and looks at the rounds of IKE_INTERMEDIATE: their methods in this
// order, each under the keys that the one before made.
func rounds(w *World, methods ...uint16) {
	w.T.Helper()
	w.A.Connect(w.B)
	w.Deliver("A INIT→ INTERMEDIATE_EXCHANGE_SUPPORTED =0", "B INIT← INTERMEDIATE_EXCHANGE_SUPPORTED =0")
	id := 1
	for range methods {
		w.Deliver("A X→ ="+digits(id), "B X← ="+digits(id))
		id++
	}
	w.Deliver("A AUTH→ ="+digits(id), "B AUTH← ="+digits(id))
	begun(w)
	if w.Storm() {
		return
	}
	for _, p := range []string{"A X→", "B X←"} {
		var got []uint16
		var before *Message
		for _, m := range w.All(p) {
			ke, _ := wire.Find[*wire.KeyExchange](m.Payloads)
			got = append(got, ke.Method)
			w.True(before == nil || !slices.Equal(before.Keys().D, m.Keys().D), "each round has other keys: %s", m)
			before = m
		}
		w.True(slices.Equal(got, methods), "%q has the methods %v, not %v", p, got, methods)
		for _, m := range w.All(strings.Replace(p, "X", "AUTH", 1)) {
			w.True(!slices.Equal(before.Keys().D, m.Keys().D), "IKE_AUTH has other keys than the last round")
		}
	}
	for _, e := range []*End{w.A, w.B} {
		w.True(slices.Equal(e.IKE().Further, methods), "%s shows %v", e.Name, e.IKE().Further)
	}
}

func digits(n int) string { return string(rune('0' + n)) }

// transform gives a message's offer, or answer, another additional key exchange.
func transform(m *Message, kind wire.TransformType, id uint16) {
	offer, _ := wire.Find[*wire.SA](m.Payloads)
	bent := &wire.SA{Proposals: slices.Clone(offer.Proposals)}
	p := &bent.Proposals[0]
	p.Transforms = slices.Clone(p.Transforms)
	for i, t := range p.Transforms {
		if t.Type == kind {
			p.Transforms[i].ID = id
		}
	}
	m.Payloads = with(m.Payloads, bent)
}

// notChosen fails unless B refused A's offer and neither did less than its policy wants.
func notChosen(w *World) {
	w.T.Helper()
	w.A.Connect(w.B)
	w.Deliver("A INIT→", "B INIT← NO_PROPOSAL_CHOSEN")
	w.Never("A X→", "A AUTH→")
	w.Drain()
	w.True(len(w.A.Failures) == 1 && strings.Contains(w.A.Failures[0].Reason, "NO_PROPOSAL_CHOSEN"), "the attempt fails with its reason: %v", w.A.Failures)
	w.True(w.A.Ups == 0 && w.B.Ups == 0, "nothing is up")
}

// TestCasesIntermediate are the rows of section 11 about IKE_SA_INIT and IKE_INTERMEDIATE.
func TestCasesIntermediate(t *testing.T) {
	policies := func(a, b string) Options { return Options{Alone: true, A: IKE(ikeSingle + a), B: IKE(ikeSingle + b)} }
	both := func(text string) Options { return policies(text, text) }
	inPieces := both("-ke1_mlkem768")
	inPieces.Both = packets(576)
	Run(t,
		Case{Name: "ikev2-intermediate-04-addke-ml-kem-768", Options: inPieces, Run: func(w *World) {
			rounds(w, wire.MLKEM768)
			fragmented(w, true, "A X→", "B X←")
			fragmented(w, false, "A INIT→", "B INIT←")
			firstIDs(w, "3")
		}},
		// MODP 3072 stands for the 8192 of the name, which we do not have.
		Case{Name: "ikev2-intermediate-05-addke-modp8192-ml-kem-768", Options: both("-ke1_modp3072-ke2_mlkem768"), Run: func(w *World) {
			rounds(w, wire.MODP3072, wire.MLKEM768)
		}},
		Case{Name: "ikev2-intermediate-05-addke-modp8192-ml-kem-768, seven rounds", Options: both("-ke1_ecp256-ke2_mlkem768-ke3_ecp384-ke4_modp2048-ke5_mlkem1024-ke6_ecp521-ke7_modp3072"), Run: func(w *World) {
			rounds(w, wire.ECP256, wire.MLKEM768, wire.ECP384, wire.MODP2048, wire.MLKEM1024, wire.ECP521, wire.MODP3072)
		}},
		Case{Name: "ikev2-intermediate-05-addke-duplicate, B chooses another", Options: both("-ke1_ecp256-ke2_ecp256-ke2_ecp384"), Run: func(w *World) {
			rounds(w, wire.ECP256, wire.ECP384)
		}},
		Case{Name: "ikev2-intermediate-05-addke-duplicate, B has no other", Options: both("-ke1_ecp256-ke2_ecp256"), Loss: true, Run: notChosen},
		Case{Name: "ikev2-intermediate-05-addke-duplicate, A refuses", Options: both("-ke1_ecp256-ke2_ecp256-ke2_ecp384"), Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→")
			w.Bend("B INIT←", func(m *Message) { transform(m, wire.AdditionalKeyExchange1+1, wire.ECP256) })
			w.Never("A X→", "A AUTH→")
			w.Calm()
			w.WaitFor("A INIT→") // the attempt goes on
			w.Deliver("A INIT→", "B INIT←", "A X→", "B X←", "A X→", "B X←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "ikev2-intermediate-06-addke2-dh19-addke4-none-addke6-dh20", Options: policies("-ke2_ecp256-ke4_mlkem768-ke4_none-ke6_ecp384", "-ke2_ecp256-ke6_ecp384"), Run: func(w *World) {
			rounds(w, wire.ECP256, wire.ECP384)
		}},
		Case{Name: "ikev2-intermediate-06-addke2-dh19-addke4-none-addke6-dh20, gaps alone", Options: both("-ke2_ecp256-ke6_ecp384"), Run: func(w *World) {
			rounds(w, wire.ECP256, wire.ECP384)
		}},
		Case{Name: "ikev2-intermediate-07-fallback-no-intermediate", Options: policies("-ke1_mlkem768,"+ikeSingle, ""), Run: func(w *World) { fallsBack(w) }},
		Case{Name: "ikev2-intermediate-07-fallback-no-intermediate, none", Options: policies("-ke1_mlkem768-ke1_none", ""), Run: func(w *World) { fallsBack(w) }},
		Case{Name: "ikev2-intermediate-07-fallback-no-intermediate, the other way", Options: policies("", "-ke1_mlkem768,"+ikeSingle), Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→ !INTERMEDIATE_EXCHANGE_SUPPORTED", "B INIT← !INTERMEDIATE_EXCHANGE_SUPPORTED", "A AUTH→ =1", "B AUTH←")
			begun(w)
		}},
		Case{Name: "ikev2-intermediate-07-fallback-no-intermediate, not allowed", Options: policies("-ke1_mlkem768", ""), Loss: true, Run: notChosen},
		Case{Name: "ikev2-intermediate-07-fallback-no-intermediate, not allowed by B", Options: policies("", "-ke1_mlkem768"), Loss: true, Run: notChosen},
		Case{Name: "ikev2-intermediate-07-fallback-no-intermediate, not allowed, and B announces nothing", Options: both("-ke1_mlkem768"), Loss: true, Run: func(w *World) {
			disguise(w, w.A, func(m *Message) { m.Without(wire.IntermediateSupported) })
			notChosen(w)
		}},
		Case{Name: "ikev2-intermediate-03-unsolicited, announced", Options: Options{Alone: true}, Run: func(w *World) {
			disguise(w, w.B, func(m *Message) { m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.IntermediateSupported}) })
			w.A.Connect(w.B)
			w.Deliver("A INIT→ !INTERMEDIATE_EXCHANGE_SUPPORTED", "B INIT←", "A AUTH→ =1", "B AUTH←")
			begun(w)
			w.Never("A X→")
		}},
		Case{Name: "ikev2-intermediate-03-unsolicited, chosen", Options: policies("-ke1_ecp256-ke1_none", "-ke1_ecp256"), Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→")
			w.Bend("B INIT←", func(m *Message) { m.Without(wire.IntermediateSupported) })
			w.Never("A X→", "A AUTH→") // an answer that cannot be carried out is none
			w.Calm()
			w.WaitFor("A INIT→")
			w.Deliver("A INIT→", "B INIT←", "A X→", "B X←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "ikev2-intermediate-03-unsolicited, a request", Options: Options{Alone: true}, Ways: []string{"before IKE_AUTH", "behind it"}, Run: func(w *World) {
			round := func(m *Message) {
				m.Exchange, m.Payloads = wire.IKEIntermediate, []wire.Payload{&wire.KeyExchange{Method: wire.ECP256, Data: make([]byte, 64)}}
			}
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			if w.Way == "before IKE_AUTH" {
				w.Bend("A AUTH→", round)
				w.True(w.B.Machine.Counters().HalfOpen == 1, "the half-open SA goes on")
				w.Calm()
				w.WaitFor("A AUTH→")
			}
			w.Deliver("A AUTH→", "B AUTH←")
			if w.Way == "behind it" {
				hintOf(w.A, w.B)
				w.Bend("A I→", round)
				w.Never("B I←")
				w.Calm()
				w.WaitFor("A I→")
				w.Deliver("A I→", "B I←")
			}
			w.Never("B X←")
			begun(w)
		}},
		Case{Name: "ikev2-intermediate-03-unsolicited, one round too many", Options: both("-ke1_ecp256"), Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A X→", "B X←")
			w.Bend("A AUTH→", func(m *Message) {
				m.Exchange, m.Payloads = wire.IKEIntermediate, []wire.Payload{&wire.KeyExchange{Method: wire.ECP256, Data: make([]byte, 64)}}
			})
			w.Calm()
			w.WaitFor("A AUTH→")
			w.Deliver("A AUTH→", "B AUTH←")
			begun(w)
			w.Count("B X←", 1)
		}},
		Case{Name: "ikev2-intermediate-03-unsolicited, IKE_AUTH before the last round", Options: both("-ke1_ecp256"), Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			w.Bend("A X→", func(m *Message) { m.Exchange = wire.IKEAuth })
			w.Never("B AUTH←", "B X←")
			w.True(w.B.Machine.Counters().HalfOpen == 1, "the half-open SA goes on")
			w.Calm()
			w.WaitFor("A X→")
			w.Deliver("A X→", "B X←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		connswitch("ikev2-intermediate-01-addke-connswitch, the keys satisfy it", "-ke1_ecp256,"+ikeSingle, true),
		connswitch("ikev2-intermediate-01-addke-connswitch, they do not", "-ke1_ecp256", false),
	)
}

// fallsBack connects two ends of which one knows no additional key exchange, and says so.
func fallsBack(w *World) {
	w.T.Helper()
	w.A.Connect(w.B)
	w.Deliver("A INIT→ INTERMEDIATE_EXCHANGE_SUPPORTED", "B INIT← !INTERMEDIATE_EXCHANGE_SUPPORTED", "A AUTH→ =1", "B AUTH←")
	begun(w)
	w.Never("A X→")
	w.True(slices.ContainsFunc(w.A.Reports, func(r string) bool { return strings.Contains(r, "no additional key exchange") }), "it is logged: %q", w.A.Reports)
	w.True(len(w.A.IKE().Further) == 0, "and shown")
}

// connswitch is a case in which B takes A's offer for another's connection, whose policy has no
// additional key exchange, and learns in IKE_AUTH that A's has the policy rest.
func connswitch(name, rest string, good bool) Case {
	o := Options{Alone: true, A: IKE(ikeSingle + "-ke1_ecp256," + ikeSingle), B: IKE(ikeSingle + rest)}
	return Case{Name: name, Options: o, Run: func(w *World) {
		other := *w.B.Connection()
		other.Name, other.Peers = "another's", []auth.Pattern{patternOf("c.test")}
		IKE(ikeSingle)(&other)
		w.B.Config.Connections = []*sa.Connection{&other, w.B.Connection()}
		restart(w, w.B)
		if !good {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→ =1", "B AUTH← AUTHENTICATION_FAILED")
			w.True(len(w.A.Failures) == 1 && len(w.A.Infos()) == 0, "the attempt has failed: %v", w.A.Failures)
			w.EndIKE(0)
			w.True(w.A.Ups == 0 && w.B.Ups == 0, "nothing is up")
			return
		}
		w.A.Connect(w.B)
		w.Deliver("A INIT→", "B INIT←", "A AUTH→ =1", "B AUTH←")
		begun(w)
		w.True(w.B.IKE().Connection == "t", "B has switched")
	}}
}
