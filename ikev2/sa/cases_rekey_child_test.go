// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Proposals of the cases: with two additional key exchanges; two ends that begin with
// different groups and have one in common.
const (
	single    = "aes128gcm16-x25519"
	multiKE   = "aes128gcm16-x25519-ke1_ecp256-ke2_mlkem768"
	wantsMine = "aes128gcm16-x25519-ecp256"
	wantsHers = "aes128gcm16-ecp384-ecp256"
	takesOne  = "aes128gcm16-ecp256"
)

func withESP(text string) Options { return Options{ESP: text} }

// liveness lets an end notice that the other one has gone.
func liveness(c *sa.Connection) { c.Liveness = 30 * time.Second }

// TestCasesRekeyChild are those of section 1: rekeying a Child SA, one side at a time.
func TestCasesRekeyChild(t *testing.T) {
	Run(t,
		Case{Name: "child_rekey/test_regular", Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.Deliver("A C→ REKEY_SA")
			w.True(w.B.Newest().Open(), "B's new inbound is there with its response")
			w.Uses(w.B, old)
			w.Deliver("B C←")
			fresh := w.A.Newest()
			w.Uses(w.A, fresh)
			w.Uses(w.B, old)
			w.Deliver("A D→")
			w.Uses(w.B, fresh)
			w.Deliver("B D← D")
			w.Flows()
			w.Wait(4 * time.Second)
			w.True(old.Open(), "the old inbound lingers")
			w.Wait(2 * time.Second)
			w.True(!old.Open(), "the old inbound has gone")
			w.End(1)
			w.Stays(fresh)
		}},
		Case{Name: "child_rekey/test_regular, by traffic", Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C←")
			w.Flows() // A's first packet on the new one is B's sign
			w.Stays(w.A.Newest())
			w.Deliver("A D→", "B D← D")
			w.End(1)
		}},
		Case{Name: "child_rekey/test_regular_multi_ke", Options: withESP(multiKE), Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←", "A F→", "B F←")
			w.True(w.A.Newest() == old && w.B.Newest() == old.Other(), "nothing new is installed yet")
			w.Deliver("A F→")
			w.True(w.A.Newest() == old, "nothing new is installed at A yet")
			w.Deliver("B F←", "A D→", "B D← D")
			w.End(1)
		}},
		Case{Name: "child_rekey/test_regular_ke_invalid", Options: Options{A: ESP(wantsMine), B: ESP(takesOne)}, Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→ REKEY_SA", "B C← INVALID_KE_PAYLOAD", "A C→ REKEY_SA", "B C← SA", "A D→", "B D← D")
			retried(w)
			w.End(1)
			w.A.Rekey(w.A.SA()) // the group is remembered
			w.Deliver("A C→ REKEY_SA", "B C← SA", "A D→", "B D← D")
			w.End(1)
		}},
		Case{Name: "child_rekey/test_regular_ke_invalid_multi_ke",
			Options: Options{A: ESP(wantsMine + "-ke1_ecp384-ke2_mlkem768"), B: ESP(takesOne + "-ke1_ecp384-ke2_mlkem768")}, Run: func(w *World) {
				w.A.Rekey(w.A.SA())
				w.Deliver("A C→ REKEY_SA", "B C← INVALID_KE_PAYLOAD", "A C→ REKEY_SA", "B C← ADDITIONAL_KEY_EXCHANGE")
				w.Deliver("A F→", "B F←", "A F→", "B F←", "A D→", "B D← D")
				retried(w)
				w.End(1)
			}},
		Case{Name: "child_rekey/test_regular_responder_ignore_soft_expire", Run: func(w *World) {
			old := w.B.SA()
			w.A.Rekey(old)
			w.Deliver("A C→")
			w.B.Expire(old, false)
			w.OnlyOnTheWay("B C←")
			w.Deliver("B C←")
			w.B.Expire(old, false)
			w.OnlyOnTheWay("A D→")
			w.End(1)
			w.Never("B C→", "B D→")
		}},
		Case{Name: "child_rekey/test_regular_responder_handle_hard_expire", Run: func(w *World) {
			old := w.B.SA()
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←")
			w.B.Expire(old, true)
			w.True(!old.Open(), "B's old pair has gone")
			w.Uses(w.B, w.B.Newest())
			w.OnlyOnTheWay("A D→")
			w.Deliver("A D→", "B D← ∅")
			w.End(1)
			w.Never("B D→")
		}},
		Case{Name: "child_rekey/test_regular_responder_delete", Ways: []string{"A's D first", "B's D first"}, Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C←")
			w.B.Delete(w.B.Newest())
			if w.Way == "A's D first" {
				w.Deliver("A D→", "B D→", "B D← D", "A D← D")
			} else {
				w.Deliver("B D→", "A D→", "A D← D", "B D← D")
			}
			w.End(0)
		}},
		Case{Name: "child_rekey/test_regular_responder_lost_sa", Run: func(w *World) {
			old := w.A.SA()
			w.MayBreak()
			w.B.Expire(old, true)
			w.Bend("B D→", func(m *Message) { m.Payloads = nil }) // A does not learn of it
			w.Deliver("A D← ∅")
			w.A.Rekey(old)
			w.Deliver("A C→ REKEY_SA")
			w.Deliver("B C← CHILD_SA_NOT_FOUND")
			w.True(named(w.All("B C← CHILD_SA_NOT_FOUND"), wire.ChildSANotFound) == old.Inbound, "the notification has the SPI of REKEY_SA")
			w.True(!old.Open(), "A has dropped its copy")
			w.Deliver("A C→ !REKEY_SA", "B C← SA")
			w.EndDowns(1, -1)
			w.Never("A D→")
			w.Flows()
		}},
		Case{Name: "child_rekey/test_regular_responder_incorrect_delete", Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→")
			w.B.Delete(w.B.SA())
			w.Deliver("B D→", "A D← D", "B C←")
			w.End(1)
			w.Never("A D→")
			w.Flows()
		}},
		Case{Name: "child_rekey/test_regular_delete_timeout", Loss: true, Options: Options{B: liveness}, Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C←")
			w.MayBreak()
			w.Deafen("A D→", "B I→")
			w.Run(10 * time.Minute)
			w.True(len(w.A.Infos()) == 0, "the IKE SA is dead at A")
			w.End(0)
		}},
		Case{Name: "rekey-traffic-before-response", Loss: true, Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→")
			w.Lose("B C←")
			w.A.UnknownSPI(w.B.Newest())
			w.Deliver("A C→", "B C←", "A D→", "B D←")
			w.End(1)
		}},
		Case{Name: "rekey-transport-not-echoed", Run: func(w *World) {
			old, ike := w.A.SA(), w.A.IKE().SPIi
			w.On("B C← SA", func(m *Message) { m.Without(wire.UseTransportMode) })
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←")
			w.Stays(old)
			w.Deliver("A D→ D", "B D←")
			w.Stays(old)
			w.Run(2 * time.Minute) // A tries again in vain
			w.Stays(old)
			w.True(len(w.A.Plane.All(Installed)) == 1, "A has installed nothing but the old one")
			w.Calm()
			w.End(1)
			w.True(w.A.IKE().SPIi == ike, "the next try on the same IKE SA succeeds")
			w.Flows()
		}},
		Case{Name: "rekey-pfs-stripped", Ways: []string{"no KE", "group NONE", "KE without a group"}, Run: func(w *World) {
			old := w.A.SA()
			w.On("B C← SA", func(m *Message) {
				if w.Way != "KE without a group" {
					m.Payloads = slices.DeleteFunc(m.Payloads, func(p wire.Payload) bool { return p.PayloadType() == wire.PayloadKeyExchange })
				}
				offer, _ := wire.Find[*wire.SA](m.Payloads)
				p := &offer.Proposals[0]
				switch w.Way {
				case "group NONE":
					for i := range p.Transforms {
						if p.Transforms[i].Type == wire.KeyExchangeMethod {
							p.Transforms[i].ID = wire.KeyExchangeNone
						}
					}
				case "KE without a group":
					p.Transforms = slices.DeleteFunc(p.Transforms, func(t wire.Transform) bool { return t.Type == wire.KeyExchangeMethod })
				}
			})
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←")
			w.Deliver("A D→ D", "B D←")
			w.Run(time.Minute)
			w.Stays(old)
			w.Calm()
			w.End(1)
			w.Flows()
		}},
		Case{Name: "impair-20-ikev2-rekey-sa-protoid", Ways: []string{"protocol 0", "protocol IKE", "protocol AH", "SPI of 0", "SPI of 3", "SPI of 5", "SPI of 8"}, Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			want := "B C← CHILD_SA_NOT_FOUND"
			w.Bend("A C→ REKEY_SA", func(m *Message) {
				n := m.Notify(wire.RekeySA)
				switch w.Way {
				case "protocol 0":
					n.Protocol = wire.ProtocolNone
				case "protocol IKE":
					n.Protocol = wire.ProtocolIKE
				case "protocol AH":
					n.Protocol = wire.ProtocolAH
				case "SPI of 0":
					n.SPI = nil
				case "SPI of 3":
					n.SPI = n.SPI[:3]
				case "SPI of 5":
					n.SPI = append(slices.Clone(n.SPI), 0)
				case "SPI of 8":
					n.SPI = append(slices.Clone(n.SPI), 0, 0, 0, 0)
				}
				if len(n.SPI) != 4 {
					want = "B C← INVALID_SYNTAX"
				}
			})
			w.OnlyOnTheWay(want)
			w.True(len(w.B.Plane.All(Reserved, Installed)) == 1, "B has the old one and nothing else")
			// A, which did nothing wrong itself, is told something harmless.
			w.Bend("B C←", func(m *Message) { m.Payloads = []wire.Payload{&wire.Notify{Type: wire.NoAdditionalSAs}} })
			w.Stays(old)
			w.End(1)
		}},
		Case{Name: "rekey-spi-direction", Ways: []string{"right", "wrong"}, Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.True(named(w.All("A C→"), wire.RekeySA) == old.Inbound, "REKEY_SA has the SPI that A receives on")
			if w.Way == "right" {
				w.Deliver("A C→", "B C← SA")
			} else {
				w.Bend("A C→", func(m *Message) { m.Notify(wire.RekeySA).SPI = octets(old.Outbound) })
				w.OnlyOnTheWay("B C← CHILD_SA_NOT_FOUND")
				w.Bend("B C←", func(m *Message) { m.Payloads = []wire.Payload{&wire.Notify{Type: wire.NoAdditionalSAs}} })
			}
			w.End(1)
		}},
		Case{Name: "ikev2-child-rekey-09-windows", Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.Bend("A C→", func(m *Message) {
				for _, p := range m.Payloads {
					if ts, ok := p.(*wire.Selectors); ok {
						ts.List[0].Protocol = 0
						ts.List[0].Start, ts.List[0].End = ts.List[0].Start.Prev(), ts.List[0].End.Next()
					}
				}
			})
			w.Deliver("B C← SA")
			w.True(sameSelectors(w.A.Newest().Here, old.Here) && sameSelectors(w.A.Newest().There, old.There), "the selectors are the old ones")
			w.End(1)
		}},
		Case{Name: "ikev2-child-rekey-10-impair-rekey-respond-subnet", Options: tunnelOptions(), Run: func(w *World) {
			old := w.A.SA()
			w.On("B C← SA", narrowTS)
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←")
			w.Stays(old)
			w.Deliver("A D→ D", "B D←")
			w.Run(20 * time.Second)
			w.Stays(old)
			tries := len(w.All("A C→ REKEY_SA"))
			w.True(tries > 1 && tries < 6, "A pauses between its tries: %d", tries)
			w.Calm()
			w.End(1)
			w.Flows()
		}},
		Case{Name: "ikev2-child-rekey-10-impair-rekey-initiate-subnet", Options: tunnelOptions(), Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.Bend("A C→", narrowTS)
			w.OnlyOnTheWay("B C← TS_UNACCEPTABLE")
			w.True(len(w.B.Plane.All(Reserved)) == 0, "B has no half-made SA")
			w.Deliver("B C←")
			w.Stays(old)
			w.End(1)
		}},
		Case{Name: "rekey-refused-to-hard-limit", Ways: []string{"NO_PROPOSAL_CHOSEN", "NO_ADDITIONAL_SAS"}, Options: Options{A: func(c *sa.Connection) {
			c.Lifetimes.ChildSoft, c.Lifetimes.ChildHard, c.Lifetimes.Jitter = 10*time.Minute, 15*time.Minute, time.Second
		}}, Run: func(w *World) {
			w.Horizon = 2 * time.Minute
			old, ike := w.A.SA(), w.A.IKE().ID
			reason := wire.NoProposalChosen
			if w.Way == "NO_ADDITIONAL_SAS" {
				reason = wire.NoAdditionalSAs
			}
			w.Refuse("A C→ REKEY_SA", &wire.Notify{Type: reason})
			w.Run(13 * time.Minute)
			tries := len(w.All("A C→ REKEY_SA"))
			w.True(tries > 2 && tries < 12, "A pauses between its tries: %d", tries)
			w.Run(2*time.Minute + time.Second)
			w.True(!old.Open(), "the old Child SA is gone at its hard limit")
			w.True(w.A.IKE().ID != ike, "a new IKE SA serves")
			w.Calm()
			w.End(1)
			w.Flows()
		}},
		Case{Name: "ikev2-expire-03-bytes-ignore-soft", Run: func(w *World) {
			old := w.A.SA()
			w.Deafen("A C→ REKEY_SA")
			for range 5 {
				w.A.Expire(old, false)
				w.Run(time.Second)
			}
			w.Count("A C→", 1)
			w.MayBreak()
			w.A.Expire(old, true)
			w.True(!old.Open(), "the hard limit removes it although a request is out")
			w.Calm()
			w.EndDowns(1, -1)
			w.Flows()
		}},
		Case{Name: "ikev2-child-rekey-06-deadlock", Loss: true, Options: Options{B: liveness}, Run: func(w *World) {
			w.MayBreak()
			w.Deafen("A C→", "B I→", "A I←")
			w.A.Rekey(w.A.SA())
			w.A.RekeyIKE()
			w.Run(time.Minute)
			w.Count("A C→", 1)
			w.Run(9 * time.Minute)
			w.Count("A C→", 1)
			w.End(0)
		}},
		Case{Name: "ikev2-child-rekey-08-deadlock", Run: func(w *World) {
			old := w.A.SA()
			w.A.Unreachable(w.B) // a liveness check is out
			w.A.Rekey(old)
			w.A.RekeyIKE()
			w.MayBreak()
			w.A.Expire(old, true)
			w.Deliver("A I→", "B I←", "A D→ ESP", "B D←", "A C→ IKE", "B C←")
			w.Never("A C→ REKEY_SA")
			w.EndIKE(1)
		}},
		Case{Name: "ikev2-child-rekey-05", Ways: []string{"rekeyed", "deleted"}, Run: func(w *World) {
			old := w.A.SA()
			if w.Way == "rekeyed" {
				w.A.RekeyIKE()
				w.A.Expire(old, false)
				w.OnlyOnTheWay("A C→ IKE")
				w.Deliver("A C→ IKE", "B C←", "A C→ REKEY_SA =0", "B C← =0")
				w.End(1)
				return
			}
			w.A.DeleteIKE()
			w.A.Expire(old, false)
			w.OnlyOnTheWay("A D→ IKE")
			w.End(0)
			w.Never("A C→")
		}},
	)
}

// retried looks at a repeat with another group: only the SA that is rekeyed is the same.
func retried(w *World) {
	all := w.All("A C→ REKEY_SA")
	if len(all) < 2 || w.Storm() {
		return
	}
	first, second := all[0], all[1]
	w.True(bytes.Equal(first.Notify(wire.RekeySA).SPI, second.Notify(wire.RekeySA).SPI), "REKEY_SA is the same")
	w.True(!bytes.Equal(first.SPI(), second.SPI()), "the SPI is fresh")
	w.True(!bytes.Equal(first.Nonce(), second.Nonce()), "Ni is fresh")
}

// named is the SPI in a notification of the first of some messages.
func named(all []*Message, t wire.NotifyType) uint32 {
	if len(all) == 0 {
		return 0
	}
	n := all[0].Notify(t)
	if n == nil || len(n.SPI) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(n.SPI)
}

func octets(spi uint32) []byte { return binary.BigEndian.AppendUint32(nil, spi) }

func sameSelectors(a, b []wire.Selector) bool {
	return slices.EqualFunc(a, b, func(x, y wire.Selector) bool { return x.String() == y.String() })
}
