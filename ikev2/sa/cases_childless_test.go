// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
)

// childless is a World whose IKE_AUTH makes no Child SA, and which is not connected yet if
// alone.
func childless(alone bool) Options {
	return Options{Alone: alone, Both: func(c *sa.Connection) { c.Childless = true }}
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
