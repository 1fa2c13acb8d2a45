// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"net/netip"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
)

// copies lets an end get a message n times more, and says how many datagrams it sends to the
// address that they seem to come from.
func copies(w *World, to *End, m *Message, from netip.AddrPort, n int) (answers int) {
	for range n {
		for _, b := range m.Packets {
			for _, a := range to.Machine.Handle(w.Now, &sa.Datagram{Local: to.Endpoint(), Remote: from, Data: b}) {
				if s, ok := a.(*sa.Send); ok && s.Remote == from {
					answers++
				}
			}
		}
	}
	return answers
}

// TestCasesReflection: who has seen one request makes us send little to anybody.
func TestCasesReflection(t *testing.T) {
	alone := Options{Alone: true}
	victim := netip.MustParseAddrPort("203.0.113.9:500")
	Run(t,
		Case{Name: "copies of an IKE_SA_INIT from elsewhere", Options: alone, Loss: true, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→")
			w.Expect("B INIT← SA")
			for _, m := range w.All("A INIT→") {
				if w.Storm() {
					break // whatever B is at
				}
				w.True(copies(w, w.B, m, victim, 100) == 0, "nothing goes to an address that never proved itself")
				other := netip.AddrPortFrom(w.A.Address, 1024)
				w.True(copies(w, w.B, m, other, 1) == 1, "a NAT may have begun anew: another port is answered")
				w.True(copies(w, w.B, m, other, 100) <= 5, "but not without end")
				w.Wait(1100 * time.Millisecond)
				w.True(copies(w, w.B, m, other, 1) == 1, "later again")
			}
			w.Deliver("B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "copies of a protected request", Options: Options{Alone: true, Both: func(c *sa.Connection) { c.FragmentSize = 200 }}, Loss: true, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT← SA", "A AUTH→")
			w.Expect("B AUTH←")
			for _, m := range w.All("A AUTH→") {
				answer := w.All("B AUTH←")
				if w.Storm() || len(answer) == 0 {
					break
				}
				n := copies(w, w.B, m, w.A.Endpoint(), 100)
				w.True(n > 0 && n <= 5*len(answer[0].Packets), "%d datagrams for 100 copies, of %d each", n, len(answer[0].Packets))
				w.Wait(1100 * time.Millisecond)
				w.True(copies(w, w.B, m, w.A.Endpoint(), 1) == len(answer[0].Packets), "later again")
			}
			w.Deliver("B AUTH←")
			begun(w)
		}},
	)
}
