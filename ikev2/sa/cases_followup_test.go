// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// Kinds of chains of IKE_FOLLOWUP_KE.
const (
	ofChild = "of a Child SA"
	ofIKE   = "of the IKE SA"
)

// chains begins one, by A.
func chains(w *World) (child *SA, ike wire.SPI) {
	child, ike = w.A.SA(), w.A.IKE().SPIi
	if w.Way == ofIKE {
		w.A.RekeyIKE()
	} else {
		w.A.Rekey(child)
	}
	return child, ike
}

// staysFirst fails unless what A wanted to rekey is still what is used; in the end A has rekeyed it
// all the same, behind a pause.
func staysFirst(w *World, child *SA, ike wire.SPI) {
	w.T.Helper()
	w.True(w.A.IKE().SPIi == ike && w.B.IKE().SPIi == ike, "the old IKE SA stays")
	w.Stays(child)
	w.Flows()
	w.OnlyOnTheWay() // no second try at once
	w.Never("A D→", "B D→")
	w.Calm()
	w.End(1)
	w.EndIKE(1)
	if w.Way == ofIKE {
		w.True(w.A.IKE().SPIi != ike, "the next try is good")
	} else {
		w.True(w.A.SA() != child, "the next try is good")
	}
	w.Flows()
}

// TestCasesFollowup are the rows of section 11 about IKE_FOLLOWUP_KE.
func TestCasesFollowup(t *testing.T) {
	multi := Options{IKE: ikeMulti, ESP: multiKE}
	kinds := []string{ofIKE, ofChild}
	unlinked := func(m *Message) { m.Without(wire.AdditionalKeyExchange) }
	// relinked gives the second IKE_FOLLOWUP_KE another link.
	relinked := func(w *World, link func(first []byte) []byte) {
		child, ike := chains(w)
		w.Deliver("A C→", "B C←")
		var first []byte
		for _, m := range w.All("A F→") {
			first = m.Notify(wire.AdditionalKeyExchange).Data
		}
		w.Deliver("A F→", "B F← ADDITIONAL_KEY_EXCHANGE")
		w.Bend("A F→", func(m *Message) {
			m.Payloads = with(m.Payloads, &wire.Notify{Type: wire.AdditionalKeyExchange, Data: link(first)})
		})
		w.Deliver("B F← STATE_NOT_FOUND")
		staysFirst(w, child, ike)
	}
	Run(t,
		Case{Name: "ikev2-intermediate-11-rekey-ike-omit-addke-initiator", Options: multi, Ways: kinds, Run: func(w *World) {
			w.On("A F→", unlinked)
			child, ike := chains(w)
			w.Deliver("A C→", "B C←", "A F→", "B F← INVALID_SYNTAX")
			w.Deliver("A I→ ∅", "B I← ∅") // is the IKE SA still there?
			staysFirst(w, child, ike)
		}},
		Case{Name: "ikev2-intermediate-11-rekey-ike-omit-addke-initiator, -12, the responder", Options: multi, Ways: kinds, Run: func(w *World) {
			w.On("B C←", unlinked)
			child, ike := chains(w)
			w.Deliver("A C→", "B C←")
			w.Never("A F→")
			staysFirst(w, child, ike)
		}},
		Case{Name: "ikev2-intermediate-11-rekey-ike-omit-addke-initiator, -12, the responder, later", Options: multi, Ways: kinds, Run: func(w *World) {
			w.On("B F←", unlinked)
			child, ike := chains(w)
			w.Deliver("A C→", "B C←", "A F→", "B F←")
			staysFirst(w, child, ike)
		}},
		Case{Name: "followup-unknown-link, unknown", Options: multi, Ways: kinds, Run: func(w *World) {
			relinked(w, func([]byte) []byte { return bytes.Repeat([]byte{5}, 8) })
		}},
		Case{Name: "followup-unknown-link, out of order", Options: multi, Ways: kinds, Run: func(w *World) {
			relinked(w, func(first []byte) []byte { return first })
		}},
		Case{Name: "followup-unknown-link, after minutes", Options: multi, Ways: kinds, Run: func(w *World) {
			child, ike := chains(w)
			w.Deliver("A C→", "B C←")
			w.True(len(w.B.Plane.All(Reserved)) == map[string]int{ofIKE: 0, ofChild: 1}[w.Way], "B has it half made")
			w.Wait(2 * time.Minute)
			w.True(len(w.B.Plane.All(Reserved)) == 0, "B has given it up")
			w.Deliver("A F→", "B F← STATE_NOT_FOUND")
			staysFirst(w, child, ike)
		}},
		Case{Name: "followup-chain-lost", Options: multi, Ways: kinds, Loss: true, Run: func(w *World) {
			child, _ := chains(w)
			w.Deliver("A C→", "B C←", "A F→", "B F←")
			w.A.Kill()
			w.Flush()
			w.Wait(20 * time.Second)
			w.True(chainsOf(w.B) == 1, "B waits for the last one")
			w.Wait(11 * time.Second)
			w.True(chainsOf(w.B) == 0 && len(w.B.Plane.All(Reserved)) == 0, "B has given it up")
			w.True(child.End == w.A && w.B.SA() != nil && w.B.Downs == 0, "the old SA is untouched")
			w.True(len(w.B.Infos()) == 1, "%d IKE SAs", len(w.B.Infos()))
			w.B.Kill()
		}},
	)
}

// chainsOf is how many chains an end answers.
func chainsOf(e *End) (n int) {
	for _, i := range e.Infos() {
		n += e.Machine.Chains(i.ID)
	}
	return n
}
