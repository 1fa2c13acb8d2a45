// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// childless is a World whose IKE_AUTH makes no Child SA, and which is not connected yet if
// alone.
func childless(alone bool) Options {
	return Options{Alone: alone, Either: alone, Both: func(c *sa.Connection) { c.Childless = true }}
}

// twoChildren connects two ends that are Alone, childless, and lets each make a Child SA.
func twoChildren(w *World) (byA, byB *SA) {
	w.Began().Connect(w.Waited())
	a, b := w.Began().Name, w.Waited().Name
	w.Deliver(a+" INIT→", b+" INIT←", a+" AUTH→", b+" AUTH←")
	w.Waited().Create()
	w.Deliver(a+" C→", b+" C→", a+" C←", b+" C←")
	own, _ := w.Made(w.A)
	theirs, _ := w.Made(w.B)
	w.Begin()
	return own, theirs
}

// TestCasesChildless are those of section 5 about IKE SAs that begin without a Child SA
// (RFC 6023).
func TestCasesChildless(t *testing.T) {
	Run(t,
		Case{Name: "childless/test_regular", Options: childless(true), Run: func(w *World) {
			from, to := w.Began(), w.Waited()
			a, b := from.Name, to.Name
			from.Connect(to)
			w.Deliver(a+" INIT→", b+" INIT← CHILDLESS_IKEV2_SUPPORTED", a+" AUTH→ !SA !TSi !TSr", b+" AUTH← !SA !TSi !TSr")
			w.True(w.A.Newest() == nil && w.B.Newest() == nil, "there is no Child SA")
			w.Deliver(a+" C→ ESP KE !REKEY_SA", b+" C← KE") // with its own key exchange
			w.End(1)
			w.EndIKE(1)
			w.Flows()
		}},
		Case{Name: "childless/test_regular_manual", Options: childless(true), Run: func(w *World) {
			from, to := w.Began(), w.Waited()
			a, b := from.Name, to.Name
			from.Connect(to)
			w.Deliver(a+" INIT→", b+" INIT←", a+" AUTH→ !SA", b+" AUTH← !SA", a+" C→", b+" C←")
			w.Begin()
			bare(w)
			w.A.Create()
			w.Deliver("A C→ ESP KE !REKEY_SA", "B C← KE")
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "childless/test_failure_init", Options: childless(true), Run: func(w *World) {
			from, to := w.Began(), w.Waited()
			from.Connect(to)
			w.Deliver(from.Name + " INIT→")
			w.Bend(to.Name+" INIT←", func(m *Message) { m.Without(wire.ChildlessIKEv2Supported) })
			w.Never(from.Name + " AUTH→")
			w.EndDowns(0, 0)
			w.EndIKE(0)
			w.Never(from.Name + " AUTH→")
			w.True(len(from.Failures) == 1, "the failure is told: %d times", len(from.Failures))
		}},
		Case{Name: "childless/test_failure_resp", Options: Options{Alone: true, Either: true}, Run: func(w *World) {
			from, to := w.Began(), w.Waited()
			to.Reconfigure(func(c *sa.Connection) { c.Childless = true })
			from.Connect(to)
			a, b := from.Name, to.Name
			w.Deliver(a+" INIT→", b+" INIT←", a+" AUTH→ SA", b+" AUTH← INVALID_SYNTAX")
			w.EndDowns(0, 0)
			w.EndIKE(0)
			w.True(len(from.Failures) == 1, "the failure is told: %d times", len(from.Failures))
		}},
	)
}
