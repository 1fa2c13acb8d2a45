// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// matrix is section 18 as it stands in the list: A is doing what a row says when B asks
// for what a column says (sections 2.25.1 and 2.25.2).
var matrix = []struct {
	state   string
	answers [5]string
}{
	//                      rekey that Child,      delete it, make a Child,           rekey the IKE SA,    delete it
	{"idle", [5]string{normal, paired, normal, normal, gone}},
	{"rekeying that Child", [5]string{normal, paired, normal, temporary, gone}},
	{"deleting that Child", [5]string{temporary, empty, normal, temporary, gone}},
	{"without that Child", [5]string{"CHILD_SA_NOT_FOUND", empty, normal, normal, gone}},
	{"making a Child", [5]string{normal, paired, normal, temporary, gone}},
	{"rekeying the IKE SA", [5]string{temporary, paired, temporary, normal, gone}},
	{"deleting the IKE SA", [5]string{temporary, "", temporary, temporary, gone}},
}

var requests = [5]string{"rekey that Child", "delete that Child", "make a Child", "rekey the IKE SA", "delete the IKE SA"}

// The answers, as words of A's response. "" is ∅ or D.
const (
	normal    = "SA"
	paired    = "ESP"
	empty     = "∅"
	gone      = "∅ "
	temporary = "TEMPORARY_FAILURE"
)

// TestCasesMatrix are the pairs of section 18.
func TestCasesMatrix(t *testing.T) {
	for _, row := range matrix {
		for i, request := range requests {
			c := Case{Name: row.state + "/" + request, Options: childless(true)}
			c.Run = func(w *World) { meet(w, row.state, request, row.answers[i]) }
			Run(t, c)
		}
	}
}

// meet brings A into a state, lets B ask, and looks at the answer.
func meet(w *World, state, request, answer string) {
	child, other := begin(w, state)
	tries := len(w.All("A C→"))
	kind := "C"
	switch request {
	case "rekey that Child":
		w.B.Rekey(child)
		w.Deliver("B C→ REKEY_SA")
	case "delete that Child":
		kind = "D"
		w.B.Delete(child)
		w.Deliver("B D→ ESP")
	case "make a Child":
		// Our own machine asks for none beside one that it has: its rekey is bent into that.
		w.B.Rekey(other)
		w.Bend("B C→ REKEY_SA", func(m *Message) { m.Without(wire.RekeySA) })
	case "rekey the IKE SA":
		w.B.RekeyIKE()
		w.Deliver("B C→ IKE")
	case "delete the IKE SA":
		kind = "D"
		w.B.DeleteIKE()
		w.Deliver("B D→ IKE")
	}
	w.Expect("A " + kind + "← " + answer)
	if answer == gone {
		w.True(len(w.A.Infos()) == 0, "the IKE SA is gone at A, and all that A was doing")
	}
	if state == "rekeying that Child" && request == "delete that Child" {
		w.Deliver("A D←", "A C→", "B C←")
		w.Drain()
		w.True(len(w.All("A C→")) == tries, "A has forgotten its rekey")
	}
	if state == "without that Child" && child.Open() {
		w.Run(10 * time.Second)
		w.A.UnknownSPI(child) // B sends by it, and is told
	}
	w.Drain()
}

// begin brings A into a state. The Child SA that the request will be about is B's half of
// what B made; where the state leaves one, there is another one.
func begin(w *World, state string) (child, other *SA) {
	a, b := w.Began().Name, w.Waited().Name
	w.Began().Connect(w.Waited())
	w.Deliver(a+" INIT→", b+" INIT←", a+" AUTH→", b+" AUTH←")
	w.Waited().Create() // both ends make one, and A's stays on its way
	w.Deliver("B C→", "A C←")
	child = w.B.SA()
	if state == "making a Child" {
		return child, child
	}
	w.MayBreak()
	w.Deliver("A C→", "B C←")
	_, other = w.Made(w.A)
	switch state {
	case "rekeying that Child":
		w.A.Rekey(child)
		w.Expect("A C→ REKEY_SA")
	case "deleting that Child":
		w.A.Delete(child)
		w.Expect("A D→ ESP")
	case "without that Child":
		w.A.Delete(child)
		w.Bend("A D→ ESP", func(m *Message) { m.Payloads = nil }) // B goes on
		w.Deliver("B D← ∅")
	case "rekeying the IKE SA":
		w.A.RekeyIKE()
		w.Expect("A C→ IKE")
	case "deleting the IKE SA":
		w.A.DeleteIKE()
		w.Expect("A D→ IKE")
	}
	return child, other
}
