// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// TestCasesRawESP: UDP encapsulation is forced by one end, and what the other one makes of it.
func TestCasesRawESP(t *testing.T) {
	forces := func(c *sa.Connection) { c.ForceEncapsulation = true }
	inUDP := func(w *World, want bool) {
		w.T.Helper()
		for _, s := range w.B.Plane.All(Installed) {
			w.True(s.Encapsulation == want, "ESP of B in UDP: %v", s.Encapsulation)
		}
	}
	Run(t,
		Case{Name: "esp-forced-udp", Options: Options{Alone: true, B: forces}, Run: func(w *World) {
			w.Strangers() // A sees a NAT before B, and B none
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			if w.Storm() {
				return
			}
			inUDP(w, true)
			w.True(w.A.SA().Encapsulation && w.A.IKE().Peer.NATRemote && !w.B.IKE().Peer.NATRemote, "A sends in UDP")
			w.EndIKE(1)
		}},
		Case{Name: "esp-no-nat-traversal", Options: Options{Alone: true, B: forces}, Ways: []string{"the initiator", "the responder"}, Run: func(w *World) {
			disguise(w, w.A, func(m *Message) { m.Without(wire.NATDetectionSourceIP, wire.NATDetectionDestinationIP) })
			w.Strangers()
			from, to := w.A, w.B
			if w.Way == "the responder" {
				from, to = to, from
			}
			from.Connect(to)
			w.Deliver(from.Name+" INIT→", to.Name+" INIT←", from.Name+" AUTH→", to.Name+" AUTH←")
			if w.Storm() {
				return
			}
			inUDP(w, false)
			w.True(w.Way == "the initiator" || w.B.IKE().Peer.Remote.Port() == 500, "IKE stays on port 500")
			w.EndIKE(1)
		}},
		Case{Name: "esp-raw-all-the-same", Options: Options{Alone: true, B: forces}, Run: func(w *World) {
			w.Strangers()
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			if w.Storm() {
				return
			}
			inUDP(w, true)
			w.B.Input(&sa.Arrived{Inbound: w.B.SA().Inbound, Raw: true})
			inUDP(w, false)
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE", "B C←", "A D→ IKE", "B D← ∅")
			old := w.B.SA().Inbound
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C←", "A D→ ESP", "B D← ESP")
			w.True(w.B.SA().Inbound != old, "the Child SA is another one")
			inUDP(w, false)
			w.EndIKE(1)
		}},
		Case{Name: "esp-raw-through-a-nat", Options: Options{Alone: true, B: forces}, Run: func(w *World) {
			behindNAT(w)
			if w.Storm() {
				return
			}
			w.B.Input(&sa.Arrived{Inbound: w.B.SA().Inbound, Raw: true})
			inUDP(w, true)
			w.EndIKE(1)
		}},
	)
}
