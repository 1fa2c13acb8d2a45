// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Proposals of the IKE SA, as those of Child SAs above.
const (
	ikeSingle = "aes128gcm16-prfsha256-x25519"
	ikeMulti  = "aes128gcm16-prfsha256-x25519-ke1_ecp256-ke2_mlkem768"
	ikeMine   = "aes128gcm16-prfsha256-x25519-ecp256"
	ikeHers   = "aes128gcm16-prfsha256-ecp384-ecp256"
	ikeOne    = "aes128gcm16-prfsha256-ecp256"
)

func withIKE(text string) Options { return Options{IKE: text} }

// holder is the IKE SA that has the Child SA at an end.
func holder(e *End) (spii wire.SPI) {
	for _, i := range e.Infos() {
		if len(i.Children) > 0 {
			spii = i.SPIi
		}
	}
	return spii
}

// TestCasesRekeyIKE are those of section 3 in which one end rekeys the IKE SA, or
// replaces it.
func TestCasesRekeyIKE(t *testing.T) {
	Run(t,
		Case{Name: "ike_rekey/test_regular", Run: func(w *World) {
			child, ike := w.A.SA(), w.A.IKE()
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE")
			w.Deliver("B C← SA")
			w.Stays(child)
			w.True(holder(w.A) != ike.SPIi && holder(w.A) == holder(w.B), "the Child SA has moved")
			w.Deliver("A D→ IKE", "B D← ∅")
			w.Stays(child)
			w.End(1)
			w.EndIKE(1)
			w.Flows()
		}},
		Case{Name: "ike_rekey/test_regular_multi_ke", Options: withIKE(ikeMulti), Run: func(w *World) {
			child, ike := w.A.SA(), w.A.IKE()
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C← ADDITIONAL_KEY_EXCHANGE", "A F→", "B F←")
			w.True(holder(w.A) == ike.SPIi && holder(w.B) == ike.SPIi, "the Child SA is where it was")
			w.Deliver("A F→", "B F←", "A D→ IKE", "B D← ∅")
			w.Stays(child)
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ike_rekey/test_regular_ke_invalid", Run: func(w *World) {
			w.A.Reconfigure(IKE(ikeMine))
			w.B.Reconfigure(IKE(ikeOne))
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C← INVALID_KE_PAYLOAD", "A C→ IKE", "B C← SA", "A D→ IKE", "B D← ∅")
			w.A.RekeyIKE() // the group is remembered
			w.Deliver("A C→ IKE", "B C← SA", "A D→ IKE", "B D← ∅")
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ike_rekey/test_regular_ke_invalid_multi_ke", Run: func(w *World) {
			w.A.Reconfigure(IKE(ikeMine + "-ke1_ecp384-ke2_mlkem768"))
			w.B.Reconfigure(IKE(ikeOne + "-ke1_ecp384-ke2_mlkem768"))
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C← INVALID_KE_PAYLOAD", "A C→ IKE", "B C← ADDITIONAL_KEY_EXCHANGE")
			w.Deliver("A F→", "B F←", "A F→", "B F←", "A D→ IKE", "B D← ∅")
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ike-rekey-fresh-counters", Run: func(w *World) {
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C←", "A D→ IKE", "B D←")
			w.A.Unreachable(w.B)
			w.B.Unreachable(w.A)
			w.Expect("A I→ =0", "B I→ =0")
			if !w.Storm() {
				a, b := w.All("A I→")[0], w.All("B I→")[0]
				offer := w.All("A C→ IKE")[0].SPI()
				w.True(slices.Equal(a.SPIi[:], offer) && a.Initiator && !b.Initiator, "A is the original initiator now")
			}
			w.Deliver("A I→ =0", "B I→ =0", "A I← =0", "B I← =0")
			w.Wait(time.Minute) // a hint is heeded only once in a while
			w.A.Unreachable(w.B)
			w.B.Unreachable(w.A)
			w.Deliver("A I→ =1", "B I→ =1")
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ike-rekey-queue-moves", Run: func(w *World) {
			old := w.A.IKE().SPIi
			w.A.RekeyIKE()
			w.A.Rekey(w.A.SA())
			w.A.Input(&sa.UnknownSPI{Local: w.A.IKE().Peer.Local, Remote: w.A.IKE().Peer.Remote, SPI: 0x01020304})
			w.OnlyOnTheWay("A C→ IKE")
			w.Deliver("A C→ IKE", "B C←")
			w.Deliver("A C→ REKEY_SA =0", "B C← =0", "A D→ ESP", "B D← D")
			w.Deliver("A I→ INVALID_SPI", "B I← ∅")
			w.End(1)
			w.EndIKE(1)
			for _, m := range w.All("A C→ REKEY_SA") {
				w.True(m.SPIi != old, "%s is on the new SA", m)
			}
		}},
		Case{Name: "ike-rekey-old-only-informational", Ways: []string{"INFORMATIONAL", "CREATE_CHILD_SA"}, Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C←", "A D→", "B D←")
			if w.Storm() {
				return
			}
			request := w.All("A C→ REKEY_SA")[0].Payloads
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C←")
			if w.Way == "INFORMATIONAL" {
				w.Bend("A D→ IKE", func(m *Message) { m.Payloads = nil })
				w.Deliver("B D← ∅")
			} else {
				w.Bend("A D→ IKE", func(m *Message) {
					m.Exchange, m.Payloads = wire.CreateChildSA, slices.Clone(request)
					m.Without(wire.RekeySA)
				})
				w.Expect("B C← TEMPORARY_FAILURE")
				w.Bend("B C←", func(m *Message) { m.Exchange, m.Payloads = wire.Informational, nil })
			}
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ike-rekey-delete-lost", Loss: true, Run: func(w *World) {
			child := w.A.SA()
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C←")
			w.Deafen("A D→")
			w.Run(5 * time.Minute)
			w.Stays(child)
			w.End(1)
			w.EndIKE(1)
			w.Flows()
		}},
		Case{Name: "ike-rekey-no-ke", Ways: []string{"no KE", "no group", "SPI 0", "SPI of 4"}, Run: func(w *World) {
			child := w.A.SA()
			w.A.RekeyIKE()
			w.Bend("A C→ IKE", func(m *Message) {
				offer, _ := wire.Find[*wire.SA](m.Payloads)
				p := &offer.Proposals[0]
				switch w.Way {
				case "no KE":
					m.Payloads = slices.DeleteFunc(m.Payloads, func(p wire.Payload) bool { return p.PayloadType() == wire.PayloadKeyExchange })
				case "no group":
					p.Transforms = slices.DeleteFunc(p.Transforms, func(t wire.Transform) bool { return t.Type == wire.KeyExchangeMethod })
				case "SPI 0":
					p.SPI = make([]byte, 8)
				case "SPI of 4":
					p.SPI = p.SPI[:4]
				}
			})
			if w.Way == "no KE" {
				w.Deliver("B C← INVALID_SYNTAX")
			} else {
				w.Deliver("B C← NO_PROPOSAL_CHOSEN")
			}
			w.Stays(child)
			w.True(len(w.B.Infos()) == 1, "B has made no IKE SA")
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ike-rekey-no-additional-sas", Run: func(w *World) {
			old := w.A.IKE().SPIi
			w.Refuse("A C→ IKE", &wire.Notify{Type: wire.NoAdditionalSAs})
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C←", "A INIT→", "B INIT←", "A AUTH→ !INITIAL_CONTACT", "B AUTH←")
			w.Flows()
			w.End(1)
			w.EndIKE(1)
			w.True(w.A.IKE().SPIi != old, "a new IKE SA serves")
			w.Flows()
		}},
		Case{Name: "ike-rekey-fails-to-hard-limit", Options: Options{A: func(c *sa.Connection) {
			c.Lifetimes.IKESoft, c.Lifetimes.IKEHard, c.Lifetimes.Jitter = 10*time.Minute, 15*time.Minute, time.Second
		}}, Run: func(w *World) {
			w.Horizon = 2 * time.Minute
			old := w.A.IKE().SPIi
			w.Refuse("A C→ IKE", &wire.Notify{Type: wire.NoProposalChosen})
			w.Run(16 * time.Minute)
			w.True(w.A.IKE().ID != 0 && w.A.IKE().SPIi != old, "a new IKE SA serves")
			w.Flows()
			w.Calm()
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ike-rekey-inherits", Options: Options{Both: func(c *sa.Connection) {
			c.ForceEncapsulation = true
			c.Lifetimes.Reauthentication = time.Hour
		}}, Run: func(w *World) {
			w.Horizon = 10 * time.Minute
			a, b := inherited(w.A), inherited(w.B)
			w.Run(30 * time.Minute)
			w.A.RekeyIKE()
			w.Run(time.Minute)
			w.True(inherited(w.A) == a && a.Remote.Port() == 4500, "A: %+v, before %+v", inherited(w.A), a)
			w.True(inherited(w.B) == b && b.Fragmentation, "B: %+v, before %+v", inherited(w.B), b)
			w.Never("A INIT→", "B INIT→")
			w.Run(30 * time.Minute)
			w.Count("A INIT→", 1) // reauthentication, an hour after the first authentication
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ike-rekey-inherits, MOBIKE", Options: func() Options {
			o := tunnelOptions()
			o.Alone, o.Either = true, true
			return o
		}(), Run: func(w *World) {
			w.Began().Connect(w.Waited())
			a, b := w.Began().Name, w.Waited().Name
			w.Deliver(a+" INIT→", b+" INIT←")
			w.Bend(a+" AUTH→", func(m *Message) { m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.MOBIKESupported}) })
			w.Deliver(b + " AUTH← MOBIKE_SUPPORTED")
			w.Begin()
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C←", "A D→ IKE", "B D←")
			w.True(w.Waited().IKE().MOBIKE, "MOBIKE is still on")
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "ikev2-ike-rekey-05", Options: networks(func(c *sa.Connection) {
			c.Lifetimes = sa.Lifetimes{IKESoft: 10 * time.Minute, ChildSoft: 10 * time.Minute, IKEHard: 15 * time.Minute, ChildHard: 15 * time.Minute, Jitter: 1}
		}), Run: func(w *World) {
			w.Horizon = time.Minute
			twoNetworks(w)
			w.Run(64*time.Minute + 30*time.Second)
			w.End(2)
			w.EndIKE(1)
			w.Flows()
		}},
		Case{Name: "ikev2-20-ikesa-reauth", Options: Options{Both: func(c *sa.Connection) { c.Lifetimes.Reauthentication = time.Hour }}, Run: func(w *World) {
			w.Horizon = 10 * time.Minute
			old := w.A.IKE().SPIi
			w.Run(time.Hour + time.Minute)
			w.True(w.A.IKE().SPIi != old, "a new IKE SA serves")
			w.Count(w.Began().Name+" INIT→", 1)
			w.Never("A AUTH→ INITIAL_CONTACT", "B AUTH→ INITIAL_CONTACT")
			w.Flows()
			w.End(1)
			w.EndIKE(1)
		}},
	)
}

// inherited is what an IKE SA hands to its successor.
func inherited(e *End) (x struct {
	sa.Peer
	Fragmentation, MOBIKE bool
}) {
	i := e.IKE()
	x.Peer, x.Fragmentation, x.MOBIKE = i.Peer, i.Fragmentation, i.MOBIKE
	return x
}
