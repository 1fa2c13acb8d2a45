// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// comesBack lets an end that lost everything begin anew.
func comesBack(w *World, e, to *End) {
	e.Kill()
	w.Run(10 * time.Second)
	e.Start()
	e.Connect(to)
	w.Run(10 * time.Second)
}

// TestCasesInitialContact are the rows of section 12 about peers that come again.
func TestCasesInitialContact(t *testing.T) {
	alone := Options{Alone: true}
	group := Options{Alone: true, Both: grouped}
	// oneLeft fails unless A has one IKE SA with B, that of B's last life, and was never told
	// that it was down.
	oneLeft := func(w *World) {
		w.T.Helper()
		w.EndIKE(1)
		w.EndDowns(1, -1)
		w.True(w.A.IKE().SPIi == w.B.IKE().SPIi, "it is the new one")
		w.True(len(w.A.Alarms) == 0, "alarms: %q", w.A.Alarms)
		w.Never("A D→")
		w.Flows()
	}
	Run(t,
		Case{Name: "initial-contact-first-auth, in a request", Options: alone, Run: func(w *World) {
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			w.B.Kill()
			w.Run(10 * time.Second)
			w.B.Start()
			w.B.Connect(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→ INITIAL_CONTACT", "A AUTH←")
			oneLeft(w)
			w.Never("A I→") // B alone has the key
		}},
		Case{Name: "initial-contact-first-auth, in a request, a group's key", Options: group, Run: func(w *World) {
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			w.B.Kill()
			w.Run(10 * time.Second)
			w.B.Start()
			w.B.Connect(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→ INITIAL_CONTACT", "A AUTH←")
			w.True(len(w.All("A I→ ∅")) == 1, "the old one is probed")
			oneLeft(w)
		}},
		Case{Name: "initial-contact-first-auth, in a response", Options: group, Run: func(w *World) {
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			w.B.Kill()
			w.Run(10 * time.Second)
			w.B.Start()
			w.On("B AUTH←", func(m *Message) { m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.InitialContact}) })
			force(w.A, w.B)
			w.Run(time.Minute)
			oneLeft(w)
		}},
		Case{Name: "initial-contact-first-auth, elsewhere", Options: alone, Run: func(w *World) {
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			before := w.A.IKE().ID
			w.On("B I→", func(m *Message) { m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.InitialContact}) })
			w.On("B C→", func(m *Message) { m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.InitialContact}) })
			hintOf(w.B, w.A)
			w.Deliver("B I→", "A I←")
			w.B.Rekey(w.B.SA())
			w.Deliver("B C→", "A C←", "B D→", "A D←")
			w.True(w.A.IKE().ID == before, "nothing happened")
			begun(w)
		}},
		Case{Name: "initial-contact-first-auth, before a proof that fails", Options: Options{Alone: true, Both: grouped}, Run: func(w *World) {
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			w.Strangers()
			c := *w.B.Connection()
			psk("*", "not everybody's")(&c)
			thief := w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{&c}})
			before := w.A.IKE().ID
			thief.Connect(w.A)
			w.Deliver("C INIT→", "A INIT←", "C AUTH→ INITIAL_CONTACT", "A AUTH← AUTHENTICATION_FAILED")
			w.Drain()
			w.True(w.A.IKE().ID == before && w.A.Downs == 0, "the true one is untouched")
			w.Never("A I→", "A D→")
			w.Flows()
		}},
		Case{Name: "ikev2-hostpair-03-initial-contact", Options: group, Loss: true, Ways: []string{"with the notification", "-02, without"}, Run: func(w *World) {
			if strings.Contains(w.Way, "without") {
				w.On("B AUTH→", func(m *Message) { m.Without(wire.InitialContact) })
			}
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			for range 4 {
				comesBack(w, w.B, w.A)
				w.True(len(w.A.Infos()) == 1, "%d IKE SAs", len(w.A.Infos()))
			}
			oneLeft(w)
			w.True(w.A.Ups == 1 && w.A.Downs == 0, "up all the time")
		}},
		Case{Name: "ikev2-hostpair-03-initial-contact, another kind", Options: group, Loss: true, Ways: []string{"with the notification", "-02, without"}, Run: func(w *World) {
			stranger(w)
			if strings.Contains(w.Way, "without") {
				w.On("B AUTH→", func(m *Message) { m.Without(wire.InitialContact) })
			}
			w.B.Connect(w.A)
			for range 4 {
				w.Run(time.Minute)
				comesBack(w, w.B, w.A)
				w.True(len(w.A.Infos()) == 1, "%d IKE SAs", len(w.A.Infos()))
			}
			oneLeft(w)
		}},
		Case{Name: "ikev2-hostpair-01, ikev2-27-uniqueid", Options: group, Loss: true, Ways: []string{"another address", "another NAT port"}, Run: func(w *World) {
			nat := w.NAT("203.0.113.1", w.B)
			// C is another spoke at the same outer address.
			policy := *w.B.Connection()
			policy.Local = identityOf("c.test")
			w.A.Connection().Peers = nil
			c := w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{&policy}})
			c.Behind(nat)
			w.B.Connect(w.A)
			c.Connect(w.A)
			w.Run(10 * time.Second)
			ofC := w.A.Peer("c.test")
			w.MayBreak()
			w.B.Kill()
			w.Run(10 * time.Second)
			if w.Way == "another address" {
				w.B.Behind(nil)
				w.B.Address = netip.MustParseAddr("198.51.100.77")
			} else {
				nat.ForgetOnly(w.B)
			}
			w.B.Start()
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			w.True(w.A.Peer("b.test").SPIi == w.B.IKE().SPIi, "the new one takes the peer")
			w.True(w.A.Downs == 0 && len(w.A.Moves) == 1, "its move is told, and nothing else")
			w.True(w.A.Peer("c.test").ID == ofC.ID, "C is unharmed")
			w.True(len(w.A.Infos()) == 2, "%d IKE SAs", len(w.A.Infos()))
			w.Drain()
		}},
		Case{Name: "ikev2-initial-contact-send", Options: alone, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→ INITIAL_CONTACT", "B AUTH←")
			w.A.Input(&sa.Readdressed{Old: w.A.Address, New: w.A.Address}) // make before break
			w.Deliver("A INIT→", "B INIT←", "A AUTH→ !INITIAL_CONTACT", "B AUTH←")
			begun(w)
			w.A.DeleteIKE()
			w.Drain()
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→ INITIAL_CONTACT", "B AUTH←")
			w.EndIKE(1)
			w.True(!slices.ContainsFunc(w.All("B AUTH←"), func(m *Message) bool { return m.Notify(wire.InitialContact) != nil }), "never by who answers")
		}},
	)
}
