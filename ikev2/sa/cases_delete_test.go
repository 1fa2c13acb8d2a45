// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

const nobodys = 0x01020304 // an SPI of no Child SA

// TestCasesDelete are those of section 4: deleting.
func TestCasesDelete(t *testing.T) {
	Run(t,
		Case{Name: "child_delete/test_regular", Run: func(w *World) {
			w.A.Delete(w.A.SA())
			w.Deliver("A D→ ESP", "B D← ESP")
			w.End(0)
			w.EndIKE(1)
		}},
		Case{Name: "child_delete/test_collision", Run: func(w *World) {
			w.A.Delete(w.A.SA())
			w.B.Delete(w.B.SA())
			w.Deliver("A D→ ESP", "B D→ ESP", "A D← ∅", "B D← ∅")
			w.End(0)
			w.EndIKE(1)
		}},
		Case{Name: "child_delete/test_collision_drop", Loss: true, Run: func(w *World) {
			w.A.Delete(w.A.SA())
			w.B.Delete(w.B.SA())
			w.Lose("A D→")
			w.Deliver("B D→ ESP", "A D← ∅")
			w.WaitFor("A D→")
			w.Deliver("A D→", "B D← ∅")
			w.End(0)
			w.EndIKE(1)
		}},
		Case{Name: "child_delete/test_collision_ike_rekey", Run: func(w *World) {
			w.A.Delete(w.A.SA())
			w.B.RekeyIKE()
			w.Deliver("A D→ ESP", "B C→ IKE", "B D← ESP", "A C← TEMPORARY_FAILURE")
			w.OnlyOnTheWay()
			w.End(0)
			w.EndIKE(1)
			w.Count("B C→ IKE", 2)
		}},
		Case{Name: "child_delete/test_collision_ike_delete", Run: func(w *World) {
			w.A.Delete(w.A.SA())
			w.B.DeleteIKE()
			w.Deliver("A D→ ESP", "B D→ IKE", "B D←", "A D← ∅")
			w.End(0)
			w.EndIKE(0)
		}},
		Case{Name: "ike_delete/test_regular", Run: func(w *World) {
			w.A.DeleteIKE()
			w.Deliver("A D→ IKE", "B D← ∅")
			w.End(0)
			w.EndIKE(0)
			w.Never("A D→ ESP", "B D→")
		}},
		Case{Name: "ike_delete/test_collision", Run: func(w *World) {
			w.A.DeleteIKE()
			w.B.DeleteIKE()
			w.Deliver("A D→ IKE", "B D→ IKE")
			w.Lose("A D← ∅")
			w.Lose("B D← ∅")
			w.Wait(time.Minute)
			w.OnlyOnTheWay() // neither repeats
			w.End(0)
			w.EndIKE(0)
		}},
		Case{Name: "delete-unknown-spi", Run: func(w *World) {
			child := w.A.SA()
			w.A.Unreachable(w.B) // a message to bend
			w.Bend("A I→", func(m *Message) { m.Payloads = deletion(nobodys) })
			w.Deliver("B I← ∅")
			w.Stays(child)
			w.End(1)
		}},
		Case{Name: "delete-several-spis", Ways: []string{"one payload", "two payloads"}, Run: func(w *World) {
			child := w.A.SA()
			w.A.Delete(child)
			w.Bend("A D→ ESP", func(m *Message) {
				if w.Way == "one payload" {
					m.Payloads = deletion(child.Inbound, nobodys, child.Inbound)
				} else {
					m.Payloads = append(deletion(nobodys, child.Inbound), deletion(child.Inbound)...)
				}
			})
			if !w.Storm() {
				all := w.All("B D←")
				d, _ := wire.Find[*wire.Delete](all[0].Payloads)
				w.True(len(all[0].Payloads) == 1 && d != nil && len(d.SPIs) == 1 && d.SPIs[0] == child.Outbound, "the answer has just the partner: %s", all[0])
			}
			w.End(0)
			w.EndIKE(1)
		}},
		Case{Name: "delete-wanted", Ways: []string{"by the one that wants", "by the other"}, Run: func(w *World) {
			w.A.Want(w.B)
			child, by := w.A.SA(), w.A
			if w.Way == "by the other" {
				by = w.B
			}
			by.Delete(by.SA())
			w.Run(time.Minute)
			w.True(!child.Open(), "the old one is gone")
			w.EndDowns(1, -1) // and there is another one
			w.EndIKE(1)
			w.Flows()
		}},
		Case{Name: "delete-bad-count", Options: Options{A: liveness}, Ways: []string{"more SPIs than octets", "more octets than SPIs", "SPIs of 8 octets", "SPI of an IKE SA", "no octets"}, Run: func(w *World) {
			w.A.Delete(w.A.SA())
			w.Bend("A D→ ESP", func(m *Message) {
				body := map[string][]byte{
					"more SPIs than octets": {3, 4, 0, 2, 1, 2, 3, 4},
					"more octets than SPIs": {3, 4, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
					"SPIs of 8 octets":      {3, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
					"SPI of an IKE SA":      {1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
					"no octets":             {},
				}[w.Way]
				m.Payloads = []wire.Payload{&wire.Unknown{Kind: wire.PayloadDelete, Body: body}}
			})
			w.Deliver("B D← INVALID_SYNTAX")
			w.True(len(w.B.Infos()) == 0, "the IKE SA is closed at B")
			w.Run(5 * time.Minute) // until A's liveness check has found that out
			w.End(0)
			w.EndIKE(0)
		}},
		Case{Name: "delete-half-closed", Run: func(w *World) {
			child := w.A.SA()
			half := child.Other()
			w.A.Delete(child)
			w.Bend("A D→ ESP", func(m *Message) { m.Payloads = nil }) // B goes on
			w.Deliver("B D← ∅")
			w.True(!child.Open(), "A has dropped both directions")
			w.True(half.Open(), "B has kept its own")
			w.Run(10 * time.Second)
			w.A.UnknownSPI(half) // and sends by it
			w.Deliver("A I→ INVALID_SPI")
			w.EndDowns(1, -1) // B finds out, and makes another one
			w.Flows()
		}},
		Case{Name: "delete-in-response-only", Ways: []string{"in a response to something else", "in a response to nothing", "of the IKE SA in a response"}, Run: func(w *World) {
			child := w.A.SA()
			w.A.Unreachable(w.B)
			w.Deliver("A I→")
			switch w.Way {
			case "in a response to something else":
				w.Bend("B I←", func(m *Message) { m.Payloads = deletion(child.Outbound) })
			case "in a response to nothing":
				w.Bend("B I←", func(m *Message) { m.MessageID++; m.Payloads = deletion(child.Outbound) })
				w.Calm()
			default:
				w.Bend("B I←", func(m *Message) { m.Payloads = []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}} })
			}
			w.Stays(child)
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "delete-in-response-only, before AUTH", Ways: []string{"in clear", "protected"}, Options: Options{Alone: true, Either: true}, Run: func(w *World) {
			a, b := w.Began(), w.Waited()
			a.Connect(b)
			w.Deliver(a.Name + " INIT→")
			ike := []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}}
			if w.Way == "in clear" {
				w.Bend(b.Name+" INIT←", func(m *Message) { m.Payloads = ike })
				w.True(len(a.Infos()) == 1, "the attempt goes on")
			} else {
				w.Deliver(b.Name + " INIT←")
				w.Bend(a.Name+" AUTH→", func(m *Message) { m.Exchange, m.Payloads = wire.Informational, ike })
				w.OnlyOnTheWay()
				w.True(len(b.Infos()) == 1, "the half-open SA goes on")
			}
			w.Calm()
			w.End(1)
		}},
		Case{Name: "delete-then-late-request", Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C←", "A D→ ESP", "B D←")
			w.A.DeleteIKE()
			w.Deliver("A D→ IKE", "B D← ∅")
			sends := w.B.Sends
			for range 100 {
				w.Again("A C→")
			}
			w.True(w.B.Sends == sends, "B says nothing while it remembers the SA")
			w.End(0)
			sends = w.B.Sends
			for range 100 {
				w.Again("A C→")
			}
			w.True(w.B.Sends <= sends+50, "B says INVALID_IKE_SPI %d times", w.B.Sends-sends)
			w.End(0)
		}},
		Case{Name: "crossing-streams-03-ikev2-delete", Options: childless(true), Ways: []string{"child-vs-ike", "ike-vs-child", "child", "ike"}, Run: func(w *World) {
			one, two := twoChildren(w)
			switch w.Way {
			case "child-vs-ike":
				w.A.Delete(one)
				w.B.DeleteIKE()
			case "ike-vs-child":
				w.A.DeleteIKE()
				w.B.Delete(two)
			case "child":
				w.A.Delete(one)
				w.B.Delete(two)
			case "ike":
				w.A.DeleteIKE()
				w.B.DeleteIKE()
			}
			w.Deliver("A D→", "B D→", "A D←", "B D←")
			w.End(0)
			w.EndIKE(map[string]int{"child": 1}[w.Way])
		}},
		Case{Name: "whack-delete-06-larval-cuckoo-ikev2", Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.A.Unwant(w.B)
			w.OnlyOnTheWay("A C→ ESP")
			w.Deliver("A C→", "B C← SA", "A D→", "B D←")
			w.EndDowns(0, 1)
			w.EndIKE(0)
		}},
		Case{Name: "ikev2-child-rekey-07-deadlock", Run: func(w *World) {
			child := w.A.SA()
			w.A.Unreachable(w.B) // a request is out
			w.A.Rekey(child)
			w.A.RekeyIKE()
			w.A.Delete(child)
			w.OnlyOnTheWay("A I→")
			w.Deliver("A I→", "B I←", "A D→ ESP", "B D← ESP", "A C→ IKE", "B C←")
			w.End(0)
			w.EndIKE(1)
			w.Never("A C→ REKEY_SA")
		}},
	)
}

// deletion is a D payload for Child SAs.
func deletion(spis ...uint32) []wire.Payload {
	return []wire.Payload{&wire.Delete{Protocol: wire.ProtocolESP, SPIs: spis}}
}

// bare leaves an IKE SA without a Child SA.
func bare(w *World) {
	w.A.Delete(w.A.SA())
	w.Deliver("A D→", "B D←")
	w.Begin()
}
