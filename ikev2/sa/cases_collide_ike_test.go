// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// mixedIKE is mixed for IKE SAs.
var mixedIKE = Options{A: IKE(ikeSingle + "," + ikeMulti), B: IKE(ikeMulti + "," + ikeSingle)}

// groupsIKE lets both ends begin with a group that the other does not take. The first
// IKE SA is made before.
func groupsIKE(w *World) {
	w.A.Reconfigure(IKE(ikeMine))
	w.B.Reconfigure(IKE(ikeHers))
}

// bothRekeyIKE lets both ends rekey the IKE SA.
func bothRekeyIKE(w *World) (old wire.SPI) {
	old = w.A.IKE().SPIi
	w.A.RekeyIKE()
	w.B.RekeyIKE()
	return old
}

// survives ends a case whose IKE SA was rekeyed by both ends: one is left, that of the
// end whose rekey stands, with the Child SA, which went nowhere else meanwhile.
func survives(w *World, stands *End) {
	w.T.Helper()
	w.End(1)
	w.EndIKE(1)
	for _, m := range w.All(stands.Name + " C→ IKE") {
		if last := w.All(stands.Name + " C→ IKE"); m == last[len(last)-1] {
			w.True(holder(w.A) == wire.SPI(m.SPI()) && holder(w.B) == wire.SPI(m.SPI()), "the IKE SA of %s serves", stands.Name)
		}
	}
	w.Flows()
}

// TestCasesCollideIKE are those of section 3 in which rekeys of the IKE SA collide.
func TestCasesCollideIKE(t *testing.T) {
	Run(t,
		Case{Name: "ike_rekey/test_collision", Lowest: four, Ways: []string{"A first", "B first"}, Run: func(w *World) {
			old := bothRekeyIKE(w)
			w.Deliver("A C→ IKE", "B C→ IKE")
			w.True(holder(w.A) == old && holder(w.B) == old, "the Child SA is where it was")
			if w.Way == "A first" {
				w.Deliver("B C←", "A C←")
			} else {
				w.Deliver("A C←", "B C←")
			}
			stands, redundant := w.Judge()
			w.Deliver(redundant.Name+" D→ IKE", stands.Name+" D→ IKE", redundant.Name+" D← ∅", stands.Name+" D← ∅")
			survives(w, stands)
			w.Count("A D→", 1)
			w.Count("B D→", 1)
		}},
		Case{Name: "ike_rekey/test_collision_multi_ke", Lowest: four, Options: withIKE(ikeMulti), Run: func(w *World) {
			bothRekeyIKE(w)
			w.Deliver("A C→", "B C→", "A C←", "B C←")
			stands, redundant := w.Judge()
			s, r := stands.Name, redundant.Name
			w.OnlyOnTheWay(s + " F→")
			w.Deliver(s+" F→", r+" F←", s+" F→", r+" F←", s+" D→ IKE", r+" D← ∅")
			survives(w, stands)
			w.Never(r+" F→", r+" D→")
		}},
		Case{Name: "ike_rekey/test_collision_mixed", Lowest: four, Options: mixedIKE, Run: func(w *World) {
			bothRekeyIKE(w)
			w.Deliver("A C→", "B C→", "B C← ADDITIONAL_KEY_EXCHANGE", "A C← !ADDITIONAL_KEY_EXCHANGE")
			stands, _ := w.Judge()
			if stands == w.A {
				w.Deliver("B D→ IKE", "A D← ∅", "A F→", "B F←", "A F→", "B F←", "A D→ IKE", "B D← ∅")
			} else {
				w.Deliver("B D→ IKE", "A D← ∅")
				w.Never("A F→", "A D→")
			}
			survives(w, stands)
		}},
		Case{Name: "ike_rekey/test_collision_ke_invalid", Lowest: four, Run: func(w *World) {
			groupsIKE(w)
			bothRekeyIKE(w)
			w.Deliver("A C→", "B C→", "B C← INVALID_KE_PAYLOAD", "A C← INVALID_KE_PAYLOAD")
			w.Deliver("A C→", "B C→", "B C← SA", "A C← SA")
			stands, redundant := w.Judge()
			w.Deliver(redundant.Name+" D→ IKE", stands.Name+" D→ IKE")
			survives(w, stands)
		}},
		Case{Name: "ike_rekey/test_collision_ke_invalid_delayed_retry", Lowest: three, Run: func(w *World) {
			groupsIKE(w)
			bothRekeyIKE(w)
			w.Deliver("A C→", "B C→", "B C← INVALID_KE_PAYLOAD", "A C← INVALID_KE_PAYLOAD")
			w.Deliver("B C→", "A C← SA", "A C→", "B C← TEMPORARY_FAILURE", "B D→ IKE", "A D← ∅")
			survives(w, w.B)
			w.Count("A C→", 2)
		}},
		Case{Name: "ike_rekey/test_collision_delayed_response", Lowest: four, Run: func(w *World) {
			bothRekeyIKE(w)
			w.Deliver("A C→", "B C→", "A C←")
			stands, _ := w.Judge()
			w.Deliver("B D→ IKE", "A D← ∅")
			if stands == w.B {
				w.True(len(w.B.Infos()) == 2, "B has the redundant SA that A never made")
				w.Deliver("B C←")
				w.OnlyOnTheWay()
			} else {
				w.Deliver("B C←", "A D→ IKE", "B D← ∅")
			}
			survives(w, stands)
		}},
		Case{Name: "ike_rekey/test_collision_delayed_response_multi_ke", Lowest: bWins, Ways: beforeAndAfter, Options: withIKE(ikeMulti), Run: func(w *World) {
			bothRekeyIKE(w)
			w.Deliver("A C→", "B C→", "A C←", "B F→", "A F←", "B F→", "A F←")
			if w.Way == "before the D" {
				w.Deliver("B C←", "B D→ IKE", "A D← ∅")
			} else {
				w.Deliver("B D→ IKE", "A D← ∅", "B C←")
			}
			w.Judge()
			survives(w, w.B)
			w.Never("A F→", "A D→")
		}},
		Case{Name: "ike_rekey/test_collision_dropped_request", Loss: true, Lowest: three, Run: func(w *World) {
			bothRekeyIKE(w)
			w.Lose("A C→")
			w.Deliver("B C→", "A C←", "B D→ IKE", "A D← ∅")
			survives(w, w.B)
			w.Count("A C→", 1)
			w.Never("A D→")
		}},
		Case{Name: "ike_rekey/test_collision_delayed_request", Lowest: three, Run: func(w *World) {
			bothRekeyIKE(w)
			w.Deliver("B C→", "A C←", "A C→", "B D→ IKE", "A D← ∅", "B C← TEMPORARY_FAILURE")
			survives(w, w.B)
			w.Count("A C→", 1)
		}},
		Case{Name: "ike_rekey/test_collision_delayed_request_and_delete", Lowest: three, Run: func(w *World) {
			bothRekeyIKE(w)
			w.Deliver("B C→", "A C←", "A C→", "B C← TEMPORARY_FAILURE")
			w.True(holder(w.A) == holder(w.B), "A has taken B's SA")
			w.Deliver("B D→ IKE", "A D← ∅")
			survives(w, w.B)
			w.Count("A C→", 1)
		}},
		Case{Name: "ike_rekey/test_collision_delayed_request_multi_ke", Lowest: three, Ways: beforeAndAfter, Options: withIKE(ikeMulti), Run: func(w *World) {
			bothRekeyIKE(w)
			w.Deliver("B C→", "A C←", "B F→", "A F←", "A C→")
			if w.Way == "before the D" {
				w.Deliver("B C← TEMPORARY_FAILURE", "B F→", "A F←", "B D→ IKE", "A D← ∅")
			} else {
				w.Deliver("B F→", "A F←", "B D→ IKE", "A D← ∅", "B C← TEMPORARY_FAILURE")
			}
			survives(w, w.B)
			w.Count("A C→", 1)
		}},
		Case{Name: "ike_rekey/test_collision_delete", Ways: []string{"A's C first", "B's D first"}, Run: func(w *World) {
			w.A.RekeyIKE()
			w.B.DeleteIKE()
			if w.Way == "A's C first" {
				w.Deliver("A C→", "B C← TEMPORARY_FAILURE", "B D→ IKE", "A D← ∅")
			} else {
				w.Deliver("B D→ IKE", "A C→", "A D← ∅", "B C← TEMPORARY_FAILURE")
			}
			w.End(0)
			w.EndIKE(0)
			w.Count("A C→", 1)
		}},
		Case{Name: "ike_rekey/test_collision_delete_multi_ke", Options: withIKE(ikeMulti), Ways: []string{"A's F first", "B's D first"}, Run: func(w *World) {
			w.A.RekeyIKE()
			w.Deliver("A C→", "B C←")
			w.B.DeleteIKE()
			if w.Way == "A's F first" {
				w.Deliver("A F→", "B F← TEMPORARY_FAILURE", "B D→ IKE", "A D← ∅")
			} else {
				w.Deliver("B D→ IKE", "A F→", "A D← ∅", "B F← TEMPORARY_FAILURE")
			}
			w.End(0)
			w.EndIKE(0)
		}},
		Case{Name: "ike_rekey/test_collision_delete_drop_delete", Loss: true, Run: func(w *World) {
			w.A.RekeyIKE()
			w.B.DeleteIKE()
			w.Lose("B D→ IKE")
			w.Deliver("A C→", "B C← TEMPORARY_FAILURE")
			w.Wait(time.Second)
			w.WaitFor("B D→ IKE")
			w.Deliver("B D→ IKE", "A D← ∅")
			w.End(0)
			w.EndIKE(0)
			w.Count("A C→", 1)
		}},
	)
}
