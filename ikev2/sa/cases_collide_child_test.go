// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// Rows of the nonce table: all; without B's response, which never came in time; those
// that B wins, and A.
var (
	four  = []int{1, 2, 3, 4}
	three = []int{1, 2, 4}
	bWins = []int{1, 3}
	aWins = []int{2, 4}
)

// mixed is a World in which A's chains have additional key exchanges and B's have none:
// each end prefers what it answers with.
var mixed = Options{A: ESP(single + "," + multiKE), B: ESP(multiKE + "," + single)}

// groups is one in which both ends begin with a group that the other does not take.
var groups = Options{A: ESP(wantsMine), B: ESP(wantsHers)}

var beforeAndAfter = []string{"before the D", "after the D"}

// bothRekey lets both ends rekey the same Child SA.
func bothRekey(w *World) (old *SA) {
	old = w.A.SA()
	w.A.Rekey(old)
	w.B.Rekey(old)
	return old
}

// TestCasesCollideChild are those of section 2: rekeys of a Child SA that collide.
func TestCasesCollideChild(t *testing.T) {
	Run(t,
		Case{Name: "child_rekey/test_collision", Lowest: four, Ways: []string{"A first", "B first"}, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("A C→", "B C→") // the requests cross,
			if w.Way == "A first" {   // and so do the responses
				w.Deliver("B C←", "A C←")
			} else {
				w.Deliver("A C←", "B C←")
			}
			stands, redundant := w.Judge()
			w.Deliver(redundant.Name+" D→", stands.Name+" D→")
			w.Deliver(redundant.Name+" D← D", stands.Name+" D← D")
			w.Unused(made(w, redundant)...)
			w.End(1)
			w.Unused(made(w, redundant)...)
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_multi_ke", Lowest: four, Options: withESP(multiKE), Run: func(w *World) {
			bothRekey(w)
			w.Deliver("A C→", "B C→", "A C←", "B C←")
			stands, redundant := w.Judge()
			s, r := stands.Name, redundant.Name
			w.OnlyOnTheWay(s + " F→")
			w.Deliver(s+" F→", r+" F←", s+" F→", r+" F←", s+" D→", r+" D← D")
			w.End(1)
			w.Never(r+" F→", r+" D→")
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_mixed", Lowest: four, Options: mixed, Run: func(w *World) {
			old := bothRekey(w)
			w.Deliver("A C→", "B C→", "B C← ADDITIONAL_KEY_EXCHANGE", "A C← !ADDITIONAL_KEY_EXCHANGE")
			if stands, _ := w.Judge(); stands == w.A {
				w.Deliver("B D→") // its finished SA
				w.Stays(old)
				w.Deliver("A D← D", "A F→", "B F←", "A F→", "B F←")
				w.Uses(w.B, old)
				w.Deliver("A D→", "B D← D")
				w.End(1)
				return
			}
			w.OnlyOnTheWay("B D→")
			w.Deliver("B D→", "A D← D")
			w.End(1)
			w.Never("A F→", "A D→")
		}},
		Case{Name: "child_rekey/test_collision_delayed_response", Lowest: four, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("A C→", "B C→", "A C←")
			w.Deliver("B D→", "A D← D")
			w.Deliver("B C←")
			w.Judge()
			w.Deliver("A D→", "B D← D")
			w.End(1)
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_delayed_response_delete", Lowest: four, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("A C→", "B C→", "A C←", "B D→", "A D← D")
			kept := w.B.SA()
			if stands, _ := w.Judge(); stands == w.A {
				_, kept = w.Made(w.A)
			}
			w.B.Delete(kept)
			w.Deliver("B D→", "A D←", "B C←")
			w.End(0)
			w.Count("A C→", 1)
		}},
		Case{Name: "child_rekey/test_collision_delayed_response_multi_ke", Lowest: bWins, Ways: beforeAndAfter, Options: withESP(multiKE), Run: func(w *World) {
			bothRekey(w)
			w.Deliver("A C→", "B C→", "A C←", "B F→", "A F←", "B F→", "A F←")
			if w.Way == "before the D" {
				w.Deliver("B C←", "B D→", "A D← D")
			} else {
				w.Deliver("B D→", "A D← D", "B C←")
			}
			w.Judge()
			w.End(1)
			w.Never("A F→", "A D→")
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_delayed_request", Lowest: three, Ways: beforeAndAfter, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("B C→", "A C←", "A C→")
			if w.Way == "before the D" {
				w.Deliver("B C← TEMPORARY_FAILURE", "B D→", "A D← D")
			} else {
				w.Deliver("B D→", "A D← D", "B C← TEMPORARY_FAILURE")
			}
			w.End(1)
			w.Count("A C→", 1)
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_delayed_request_more", Lowest: three, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("B C→", "A C←", "B D→", "A D← D", "A C→", "B C← CHILD_SA_NOT_FOUND")
			w.End(1)
			w.Count("A C→", 1)
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_delayed_request_more_delete", Lowest: three, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("B C→", "A C←", "B D→", "A D← D")
			w.B.Delete(w.B.SA())
			w.Deliver("B D→", "A D← D", "A C→", "B C← CHILD_SA_NOT_FOUND")
			w.End(0)
			w.Count("A C→", 1)
		}},
		Case{Name: "child_rekey/test_collision_delayed_request_multi_ke", Lowest: three, Ways: beforeAndAfter, Options: withESP(multiKE), Run: func(w *World) {
			bothRekey(w)
			w.Deliver("B C→", "A C←", "B F→", "A F←", "A C→")
			if w.Way == "before the D" {
				w.Deliver("B C← TEMPORARY_FAILURE", "B F→", "A F←", "B D→", "A D← D")
			} else {
				w.Deliver("B F→", "A F←", "B D→", "A D← D", "B C← TEMPORARY_FAILURE")
			}
			w.End(1)
			w.Count("A C→", 1)
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_ke_invalid", Lowest: four, Options: groups, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("A C→", "B C→", "B C← INVALID_KE_PAYLOAD", "A C← INVALID_KE_PAYLOAD")
			w.Deliver("A C→", "B C→", "B C← SA", "A C← SA") // the retries cross
			stands, redundant := w.Judge()
			w.Deliver(redundant.Name+" D→", stands.Name+" D→")
			w.End(1)
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_ke_invalid_delayed_retry", Lowest: three, Options: groups, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("A C→", "B C→", "B C← INVALID_KE_PAYLOAD", "A C← INVALID_KE_PAYLOAD")
			w.Deliver("B C→", "A C← SA", "A C→", "B C← TEMPORARY_FAILURE", "B D→", "A D← D")
			w.End(1)
			w.Count("A C→", 2)
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_responder_incorrect_delete", Lowest: aWins, Run: func(w *World) {
			old := bothRekey(w)
			w.Deliver("A C→", "B C→", "A C←", "B D→", "A D← D")
			w.B.Delete(old)
			w.Deliver("B D→", "A D← D", "B C←")
			w.Judge()
			w.End(1)
			w.Never("A D→")
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_delete", Ways: []string{"A's C first", "B's D first"}, Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.B.Delete(old)
			if w.Way == "A's C first" {
				w.Deliver("A C→", "B C← TEMPORARY_FAILURE", "B D→", "A D← D")
			} else {
				w.Deliver("B D→", "A C→", "A D← D", "B C←")
			}
			w.End(0)
			w.Count("A C→", 1)
		}},
		Case{Name: "child_rekey/test_collision_delete_multi_ke", Options: withESP(multiKE), Ways: []string{"A's F first", "B's D first"}, Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←")
			w.B.Delete(old)
			if w.Way == "A's F first" {
				w.Deliver("A F→", "B F← TEMPORARY_FAILURE", "B D→", "A D← D")
			} else {
				w.Deliver("B D→", "A F→", "B F← TEMPORARY_FAILURE", "A D← D")
			}
			w.End(0)
			w.Count("A C→", 1)
		}},
		Case{Name: "child_rekey/test_collision_delete_drop_delete", Loss: true, Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.B.Delete(old)
			w.Lose("B D→")
			w.Deliver("A C→", "B C← TEMPORARY_FAILURE")
			w.WaitFor("B D→")
			w.Deliver("B D→", "A D← D")
			w.End(0)
			w.Count("A C→", 1)
		}},
		Case{Name: "child_rekey/test_collision_delete_drop_rekey", Loss: true, Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.B.Delete(old)
			w.Lose("A C→")
			w.Deliver("B D→", "A D← D")
			w.WaitFor("A C→")
			w.Deliver("A C→", "B C← CHILD_SA_NOT_FOUND")
			w.End(0)
			w.Count("A C→", 1)
		}},
		Case{Name: "child_rekey/test_collision_delete_delayed_response", Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→")
			w.B.Delete(w.B.Newest())
			w.Deliver("B D→", "A D← ∅", "B C←")
			w.End(0)
			_, half := w.Made(w.A)
			own, _ := w.Made(w.A)
			w.True(own == nil && half != nil, "A has installed nothing")
		}},
		Case{Name: "child_rekey/test_collision_ike_rekey", Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.B.RekeyIKE()
			w.Deliver("A C→ REKEY_SA", "B C→ IKE", "B C← TEMPORARY_FAILURE", "A C← TEMPORARY_FAILURE")
			w.OnlyOnTheWay()
			w.Wait(3 * time.Second)
			w.OnlyOnTheWay()
			w.End(1)
			w.EndIKE(1)
			w.Count("A C→ REKEY_SA", 2)
			w.True(len(w.All("B C→ IKE")) >= 2, "B has tried again")
			w.Flows()
		}},
		Case{Name: "child_rekey/test_collision_ike_delete", Ways: []string{"A's C first", "B's D first"}, Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.B.DeleteIKE()
			if w.Way == "A's C first" {
				w.Deliver("A C→", "B C← TEMPORARY_FAILURE", "B D→ IKE", "A D← ∅")
			} else {
				w.Deliver("B D→ IKE", "A C→", "A D← ∅", "B C← TEMPORARY_FAILURE")
			}
			w.End(0)
			w.Count("A C→", 1)
		}},
		Case{Name: "collision-last-octet", Lowest: four, Run: func(w *World) {
			w.LastOctet()
			bothRekey(w)
			w.Deliver("A C→", "B C→", "A C←", "B C←")
			stands, redundant := w.Judge()
			w.Deliver(redundant.Name+" D→", stands.Name+" D→")
			w.End(1)
			w.Unused(made(w, redundant)...)
		}},
		Case{Name: "collision-prefix-nonce", Lowest: []int{1}, Ways: []string{"16", "256"}, Run: func(w *World) {
			w.Strangers()
			old := bothRekey(w)
			ni := w.All("A C→")[0].Nonce() // the lowest, until B's is bent into its neighbour
			w.Bend("B C→", func(m *Message) {
				nonce := slices.Clone(ni[:16])
				if w.Way == "256" {
					nonce = append(slices.Clone(ni), make([]byte, 256-len(ni))...)
				}
				for i, p := range m.Payloads {
					if _, ok := p.(wire.Nonce); ok {
						m.Payloads[i] = wire.Nonce(nonce)
					}
				}
			})
			w.Deliver("A C→", "B C←")
			if w.Storm() {
				return
			}
			gone := deleted(w.All("A D→"))
			if w.Way == "16" {
				w.True(gone == old.Inbound, "B's nonce is the lowest: A deletes the old SA")
			} else {
				w.True(gone == spiOf(w.All("A C→")[0]), "A's nonce is the lowest: A deletes its own")
			}
		}},
		Case{Name: "collision-delete-crosses", Lowest: bWins, Ways: []string{"A's D repeats", "B's D repeats"}, Run: func(w *World) {
			bothRekey(w)
			w.Deliver("A C→", "B C→", "A C←", "B C←")
			w.Judge()
			w.Expect("A D→", "B D→")
			w.Deliver("A D→", "B D→")
			if w.Way == "A's D repeats" {
				w.Again("A D→")
			} else {
				w.Again("B D→")
			}
			w.OnlyOnTheWay("B D← D", "A D← D")
			w.End(1)
			w.Flows()
		}},
		Case{Name: "collision-other-child", Ways: []string{"B rekeys the other", "B makes a third"}, Options: childless(true), Run: func(w *World) {
			one, two := twoChildren(w)
			w.A.Rekey(one)
			w.B.Rekey(two)
			w.Deliver("A C→ REKEY_SA")
			if w.Way == "B rekeys the other" {
				w.Deliver("B C→ REKEY_SA")
			} else {
				w.Bend("B C→", func(m *Message) { m.Without(wire.RekeySA) })
			}
			w.Deliver("B C← SA", "A C← SA")
			w.End(2)
			w.Flows()
		}},
		Case{Name: "temporary-failure-for-ever", Run: func(w *World) {
			ike := w.A.IKE().ID
			w.Refuse("A C→ REKEY_SA", &wire.Notify{Type: wire.TemporaryFailure})
			w.A.Rekey(w.A.SA())
			w.Run(6 * time.Minute)
			tries := w.All("A C→ REKEY_SA")
			w.True(len(tries) > 10, "A tries again: %d times", len(tries))
			pauses := map[time.Duration]bool{}
			for i := 1; i < len(tries); i++ {
				pause := tries[i].Sent.Sub(tries[i-1].Sent)
				w.True(pause > 2*time.Second, "a pause of %v", pause)
				pauses[pause] = true
			}
			w.True(len(pauses) > 5, "the pauses have jitter: %v", pauses)
			w.True(w.A.IKE().ID != ike, "A has connected anew")
			w.Calm()
			w.End(1)
			w.EndIKE(1)
			w.Flows()
		}},
	)
}

// made are the halves of what an end's rekey made.
func made(w *World, e *End) []*SA {
	own, other := w.Made(e)
	return []*SA{own, other}
}

func spiOf(m *Message) uint32 {
	return named([]*Message{{Payloads: []wire.Payload{&wire.Notify{SPI: m.SPI()}}}}, 0)
}

// deleted is the first SPI that the last of some messages deletes.
func deleted(all []*Message) uint32 {
	if len(all) == 0 {
		return 0
	}
	d, ok := wire.Find[*wire.Delete](all[len(all)-1].Payloads)
	if !ok || len(d.SPIs) == 0 {
		return 0
	}
	return d.SPIs[0]
}
