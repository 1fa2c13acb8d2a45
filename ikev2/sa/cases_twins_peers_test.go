// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"strings"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// instanceNotify is our private notification.
const instanceNotify wire.NotifyType = 0xd17a

// grouped gives all ends one key that proves membership alone.
func grouped(c *sa.Connection) {
	all, err := auth.ParsePattern("*")
	if err != nil {
		panic(err)
	}
	c.SharedKeys = auth.SharedKeys{{Peer: all, Key: crypto.Secret("everybody's")}}
}

// stranger makes the peers another kind: they do not tell their instance numbers.
func stranger(w *World) {
	w.On("A AUTH→", func(m *Message) { m.Without(instanceNotify) })
	w.On("A AUTH←", func(m *Message) { m.Without(instanceNotify) })
	w.On("B AUTH→", func(m *Message) { m.Without(instanceNotify) })
	w.On("B AUTH←", func(m *Message) { m.Without(instanceNotify) })
}

// otherKind makes East another kind in West's eyes.
func otherKind(w *World) {
	w.On("B AUTH→", func(m *Message) { m.Without(instanceNotify) })
	w.On("B AUTH←", func(m *Message) { m.Without(instanceNotify) })
}

// begun fails unless both ends are up once, by one IKE SA with one Child SA, and were
// told of no failure.
func begun(w *World) {
	w.T.Helper()
	w.EndIKE(1)
	w.EndDowns(1, -1)
	for _, e := range []*End{w.A, w.B} {
		w.True(e.Ups == 1 && e.Downs == 0, "%s was told %d times up and %d times down", e.Name, e.Ups, e.Downs)
		w.True(len(e.Failures) == 0, "%s was told of a failure", e.Name)
		w.True(len(e.Alarms) == 0, "%s had an alarm: %q", e.Name, e.Alarms)
	}
	w.Flows()
}

// TestCasesTwinsAndPeers are the rest of section 6: peers of another kind, and peers that
// restart.
func TestCasesTwinsAndPeers(t *testing.T) {
	alone := Options{Alone: true}
	group := Options{Alone: true, Both: grouped}
	lost := func(w *World) {
		cross(w, "www")
		w.Settle()
		w.B.Kill()
		w.Wait(time.Minute)
		w.B.Start()
		cross(w, "ee")
		w.EndIKE(1)
		w.EndDowns(1, -1)
		w.Flows()
		w.Never("A D→") // whoever forgot it is told nothing
		w.True(w.B.IKE().Initiator, "East's is the one")
		w.True(w.A.Ups <= 2 && w.A.Downs == w.A.Ups-1, "West was told %d times up, %d times down", w.A.Ups, w.A.Downs)
		w.True(len(w.A.Alarms) == 0, "West had an alarm: %q", w.A.Alarms)
	}
	Run(t,
		Case{Name: "crossing-streams-11-wwwee-ikev2-permanent", Options: alone, Ways: both("forced, late"), Run: func(w *World) {
			nonces(w)
			cross(w, "wwwee")
			settled(w)
		}},
		Case{Name: "crossing-streams-11-wwwee-ikev2-permanent, East lost its state", Options: alone, Run: func(w *World) {
			lost(w)
			w.Count("A I→", 0) // nobody else has the key: no probe
		}},
		Case{Name: "crossing-streams-11-wwwee-ikev2-permanent, East lost its state, a group's key", Options: group, Run: func(w *World) {
			lost(w)
			w.True(len(w.All("A I→ ∅")) > 0, "West probed the old one")
		}},
		Case{Name: "crossing-streams-11-wwwee-ikev2-permanent, East is another kind, lost its state and is soon back", Options: alone, Run: func(w *World) {
			otherKind(w)
			cross(w, "www")
			w.Settle()
			w.B.Kill()
			w.Wait(10 * time.Second)
			w.B.Start()
			w.B.Connect(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→ INITIAL_CONTACT", "A AUTH←")
			w.True(w.Storm() || len(w.A.Infos()) == 1, "West has dropped the old one on its peer's word")
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.Never("A D→")
			w.True(w.B.IKE().Initiator, "East's is the one")
			w.Flows()
		}},
		Case{Name: "twin-of-another-kind", Options: alone, Ways: both(""), Run: func(w *World) {
			otherKind(w)
			nonces(w)
			cross(w, "wewew")
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.Count("A D→ IKE", 1) // whoever began it: East would keep it
			w.Flows()
		}},
		Case{Name: "crossing-streams-12-ikev2-permanent-ike-auth-east", Options: alone, Ways: []string{westHigher}, Run: func(w *World) {
			nonces(w)
			w.A.Connect(w.B)
			w.B.Connect(w.A)
			w.Deliver("A INIT→", "B INIT→", "B INIT←", "A INIT←")
			w.Expect("A AUTH→", "B AUTH→")
			w.Deliver("A AUTH→")
			w.Deafen("A AUTH←")
			for _, i := range w.B.Infos() {
				if i.State == "connecting" {
					w.B.Input(&sa.Terminate{ID: i.ID}) // as libreswan drops it
				}
			}
			w.Deliver("B AUTH→")
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.True(w.A.IKE().Initiator, "the survivor is untouched")
			w.True(w.A.Ups == 1 && w.A.Downs == 0 && w.B.Ups == 1 && w.B.Downs == 0, "up once")
			w.Never("A D→", "B D→")
			w.Flows()
		}},
		Case{Name: "crossing-streams-12-ikev2-permanent-ike-auth-west", Options: alone, Ways: []string{"refused before", "refused after"}, Run: func(w *World) {
			higher(w, w.B)
			w.A.Want(w.B)
			w.B.Want(w.A)
			w.Deliver("A INIT→", "B INIT→", "B INIT←", "A INIT←")
			refuse := func() {
				w.On("B AUTH←", func(m *Message) {
					m.Payloads = []wire.Payload{&wire.Notify{Type: wire.AuthenticationFailed}}
				})
				w.Deliver("A AUTH→", "B AUTH←")
			}
			if w.Way == "refused before" {
				refuse()
				w.True(len(w.A.Failures) == 0, "no failure is told")
				w.Deliver("B AUTH→", "A AUTH←")
			} else {
				w.Deliver("B AUTH→", "A AUTH←")
				refuse()
			}
			begun(w)
			w.True(w.B.IKE().Initiator, "the peer's is the one")
			w.Count("A INIT→", 1) // no backoff is left behind
		}},
		Case{Name: "crossing-streams-01-ikev2-github-1211, -02-ikev2-conn-fight", Options: alone, Ways: []string{"the responder deletes", "both delete"}, Run: func(w *World) {
			w.On("A AUTH→", breakTS) // the IKE SA is West's,
			w.A.Want(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			w.Calm()
			w.B.Create() // the Child SA East's
			w.Deliver("B C→", "A C←")
			w.B.DeleteIKE()
			if w.Way == "both delete" {
				w.A.DeleteIKE()
			}
			w.EndIKE(1)
			w.EndDowns(1, -1)
			for _, e := range []*End{w.A, w.B} {
				w.True(e.Ups == 2 && e.Downs == 1, "%s was told %d times up and %d times down", e.Name, e.Ups, e.Downs)
			}
			w.Count("A INIT→", 2) // one try
			w.Flows()
		}},
		Case{Name: "crossing-streams-01-ikev2-github-1211, -02-ikev2-conn-fight, two pairs", Options: alone, Ways: both("the responder deletes", "both delete"), Run: func(w *World) {
			nonces(w)
			w.A.Want(w.B)
			w.B.Want(w.A)
			w.Deliver("A INIT→", "B INIT→", "B INIT←", "A INIT←", "A AUTH→", "B AUTH→", "B AUTH←", "A AUTH←")
			west := w.All("A INIT→")[0].SPIi
			w.MayBreak()
			w.B.Input(&sa.Terminate{ID: infoOf(w.B, west).ID})
			if strings.Contains(w.Way, "both delete") {
				w.A.Input(&sa.Terminate{ID: infoOf(w.A, west).ID})
			}
			begun(w) // the other pair takes over
			w.Count("A INIT→", 1)
			w.Count("B INIT→", 1)
		}},
		Case{Name: "twin-rekey-while-settling", Options: alone, Ways: []string{"its Child", "itself"}, Run: func(w *World) {
			higher(w, w.B)
			w.A.Connect(w.B)
			w.B.Connect(w.A)
			w.Deliver("A INIT→", "B INIT→", "B INIT←", "A INIT←", "A AUTH→", "B AUTH←") // both have A's
			loser := w.B.IKE()
			w.Deliver("B AUTH→") // West has both, East only the loser
			if w.Way == "itself" {
				w.B.Input(&sa.Rekey{ID: loser.ID})
			} else {
				w.B.Rekey(w.B.SA())
			}
			w.Expect("B C→")
			w.Deliver("A AUTH←", "A I→ ∅", "B I← ∅") // now West knows that East has the survivor
			w.Expect("A D→ IKE")
			w.Deliver("B C→", "A C← TEMPORARY_FAILURE", "A D→ IKE")
			settled(w)
			w.Count("B C→", 1)
		}},
		Case{Name: "twin-kept-one-deleted-by-peer", Options: alone, Ways: both(""), Run: func(w *World) {
			nonces(w)
			w.A.Want(w.B)
			w.B.Want(w.A)
			w.Deliver("A INIT→", "B INIT→", "B INIT←", "A INIT←", "A AUTH→", "B AUTH→")
			w.Deliver("A AUTH←", "B AUTH←") // both have both; the one with the lower Ni is to go
			we, peer := w.B, w.A            // ours is the loser
			if strings.Contains(w.Way, eastHigher) {
				we, peer = w.A, w.B
			}
			w.Deliver(we.Name+" I→ ∅", peer.Name+" I← ∅")
			w.Expect(we.Name + " D→ IKE")
			w.MayBreak()
			peer.DeleteIKE()
			w.EndIKE(1)
			w.EndDowns(1, -1)
			for _, e := range []*End{w.A, w.B} {
				w.True(e.Ups == 2 && e.Downs == 1, "%s was told %d times up and %d times down", e.Name, e.Ups, e.Downs)
				w.True(len(w.All(e.Name+" INIT→")) <= 2, "one new try of each side, not more")
			}
			w.Flows()
		}},
		Case{Name: "twin-initial-contact-crosses", Options: alone, Ways: both("our kind", "another kind"), Run: func(w *World) {
			nonces(w)
			contacts(w)
			cross(w, "wewew")
			settled(w)
		}},
		Case{Name: "twin-initial-contact-crosses, a group's key", Options: group, Ways: both("our kind", "another kind"), Run: func(w *World) {
			nonces(w)
			contacts(w)
			cross(w, "wwewe")
			settled(w)
		}},
		Case{Name: "twin-reflected-init", Options: alone, Run: func(w *World) {
			w.A.Connect(w.B)
			m := w.All("A INIT→")[0]
			before := w.A.Machine.Counters().Replayed
			w.A.Input(&sa.Datagram{Local: m.Local, Remote: m.Remote, Data: m.Packets[0]})
			w.True(w.A.Machine.Counters().Replayed == before+1, "it is counted")
			w.True(w.A.Machine.Counters().HalfOpen == 0, "nothing is half open")
			w.OnlyOnTheWay("A INIT→")
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "crossing-streams-20-peer-restarts-ondemand-ike-sa-init", Options: alone, Run: func(w *World) {
			w.A.Want(w.B)
			w.B.Kill()
			w.B.Start()
			w.True(w.A.SA() == nil, "fail closed")
			w.B.Connect(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→", "A AUTH←")
			begun(w)
			w.True(w.B.IKE().Initiator, "East's is the one")
			w.Count("A INIT→", 1)
			w.Never("A AUTH→")
		}},
		Case{Name: "crossing-streams-20-peer-restarts-ondemand-ike-auth", Options: alone, Loss: true, Run: func(w *World) {
			w.A.Want(w.B)
			w.Deliver("A INIT→", "B INIT←")
			w.Expect("A AUTH→")
			w.B.Kill()
			w.B.Start()
			w.B.Connect(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→", "A AUTH←")
			w.Settle()
			w.True(w.A.Machine.Counters().Attempts == 1, "West's AUTH is still repeated")
			begun(w)
			w.True(w.B.IKE().Initiator, "East's is the one")
			w.Count("A INIT→", 1)
			w.Count("A AUTH→", 1)
		}},
		Case{Name: "crossing-streams-bootup-01", Options: alone, Ways: []string{"West pauses", "West's INIT is out"}, Run: func(w *World) {
			w.B.Kill()
			w.A.Want(w.B)
			for (len(w.A.Failures) < 2 || w.A.Machine.Counters().Attempts > 0 == (w.Way == "West pauses")) && !w.Storm() {
				w.Run(time.Second)
			}
			inits, failures := len(w.All("A INIT→")), len(w.A.Failures)
			w.B.Start()
			w.B.Connect(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→", "A AUTH←")
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.True(w.A.Ups == 1 && w.A.Downs == 0, "up once")
			w.Count("A INIT→", inits)
			w.True(len(w.A.Failures) == failures, "the pause is forgotten")
			w.Flows()
		}},
		Case{Name: "crossing-streams-22-ikev2-ipsec-interface", Options: alone, Run: func(w *World) {
			w.A.Want(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→")
			w.B.Want(w.A)
			w.Deliver("B AUTH←")
			w.A.Connect(w.B)
			w.B.Connect(w.A)
			begun(w)
			w.Never("A C→", "B C→", "B INIT→")
		}},
		Case{Name: "crossing-streams-24-ikev2-delete-connswitch-github-2101", Options: alone, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Run(10 * time.Second)
			first := w.A.IKE().ID
			w.On("A AUTH→", func(m *Message) { breakTS(m) })
			force(w.A, w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH← TS_UNACCEPTABLE")
			w.Calm()
			w.True(len(w.A.Infos()) == 2, "the first stays: it alone carries a Child")
			w.True(w.A.SA() != nil && w.A.SA().IKE == first, "West sends by the first")
			second := w.A.IKE().ID
			w.WaitFor("A C→")
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.True(w.A.IKE().ID == second, "the second is left")
			w.True(w.A.Ups == 1 && w.A.Downs == 0, "up all the time")
			w.Flows()
		}},
	)
}

// contacts lets both ends claim INITIAL_CONTACT; the way says whether they are our kind.
func contacts(w *World) {
	if strings.Contains(w.Way, "another kind") {
		stranger(w)
	}
	for _, p := range []string{"A AUTH→", "B AUTH→"} {
		w.On(p, func(m *Message) {
			m.Without(wire.InitialContact)
			m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.InitialContact})
		})
	}
}

// infoOf finds an end's IKE SA by its initiator's SPI.
func infoOf(e *End, spii wire.SPI) sa.Info {
	for _, i := range e.Infos() {
		if i.SPIi == spii {
			return i
		}
	}
	return sa.Info{}
}

// breakTS makes the selectors unacceptable.
func breakTS(m *Message) {
	for i, p := range m.Payloads {
		if ts, ok := p.(*wire.Selectors); ok {
			c := *ts
			s := c.List[0]
			s.Protocol = 17
			c.List = []wire.Selector{s}
			m.Payloads[i] = &c
		}
	}
}
