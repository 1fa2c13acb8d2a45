// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unsafe"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// clean fails unless an end's data plane has nothing but so many SAs that are open.
func clean(w *World, e *End, n int) {
	w.T.Helper()
	w.True(len(e.Plane.All(Reserved)) == 0, "%s has half-made SPIs: %v", e.Name, e.Plane.All(Reserved))
	w.True(len(e.Plane.All(Installed, Retired)) == n, "%s has %v", e.Name, e.Plane.All(Installed, Retired))
}

// TestCasesInstall are the eight impair-install rows of section 17. Our data plane installs an
// SA in one step: which part of it fails makes no difference but for what the log says.
func TestCasesInstall(t *testing.T) {
	var cases []Case
	for _, part := range []string{"inbound-state", "inbound-policy", "outbound-state", "outbound-policy"} {
		refusal := func(*sa.Child) error { return errors.New("no " + part) }
		name := "impair-install-ipsec-sa-" + part
		// first is a Child SA of IKE_AUTH or of the CREATE_CHILD_SA behind it.
		first := func(w *World, e *End) {
			w.MayBreak()
			e.Plane.Refuse = refusal
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→")
			if w.Way == "CREATE_CHILD_SA" {
				w.Deliver("B AUTH←", "A C→")
			}
		}
		later := func(w *World, e *End) {
			clean(w, w.A, 0)
			clean(w, w.B, 0)
			w.True(w.A.IKE().ID != 0 && w.B.IKE().ID != 0, "the IKE SA stays")
			told := false
			for _, r := range e.Reports {
				told = told || strings.Contains(r, "no "+part)
			}
			w.True(told, "the log says why")
			ike := w.A.IKE().ID
			e.Plane.Refuse = nil
			w.Run(5 * time.Minute)
			w.EndDowns(1, -1)
			w.True(w.A.IKE().ID == ike, "a later try on the same IKE SA is good")
			w.Flows()
		}
		made := []string{"IKE_AUTH", "CREATE_CHILD_SA"}
		options := Options{Alone: true}
		byCreate := Options{Alone: true, Both: func(c *sa.Connection) { c.Childless = true }}
		for i, way := range made {
			o := []Options{options, byCreate}[i]
			cases = append(cases,
				Case{Name: name + "-responder-ikev2, " + way, Options: o, Ways: []string{way}, Run: func(w *World) {
					first(w, w.B)
					w.Deliver(map[string]string{"IKE_AUTH": "B AUTH← NO_ADDITIONAL_SAS IDr", "CREATE_CHILD_SA": "B C← NO_ADDITIONAL_SAS"}[w.Way])
					w.Never("A D→")
					w.True(w.A.Ups == 0 && w.B.Ups == 0, "nobody is up")
					later(w, w.B)
				}},
				Case{Name: name + "-initiator-ikev2, " + way, Options: o, Ways: []string{way}, Run: func(w *World) {
					first(w, w.A)
					w.Deliver(map[string]string{"IKE_AUTH": "B AUTH← SA", "CREATE_CHILD_SA": "B C← SA"}[w.Way])
					w.Deliver("A D→ D", "B D←")
					later(w, w.A)
				}},
			)
		}
		cases = append(cases,
			Case{Name: name + "-responder-ikev2, rekey", Run: func(w *World) {
				old := w.A.SA()
				w.B.Plane.Refuse = refusal
				w.A.Rekey(old)
				w.Deliver("A C→", "B C← NO_ADDITIONAL_SAS")
				w.Stays(old)
				w.Never("A D→", "B D→")
				clean(w, w.A, 1)
				clean(w, w.B, 1)
				w.B.Plane.Refuse = nil
				w.Run(time.Minute)
				w.End(1)
				w.True(w.A.SA() != old, "a later try is good")
				w.Flows()
			}},
			Case{Name: name + "-initiator-ikev2, rekey", Run: func(w *World) {
				old := w.A.SA()
				w.A.Plane.Refuse = refusal
				w.A.Rekey(old)
				w.Deliver("A C→", "B C← SA", "A D→ D", "B D←")
				w.Stays(old)
				clean(w, w.A, 1)
				w.A.Plane.Refuse = nil
				w.Run(time.Minute)
				w.End(1)
				w.True(w.A.SA() != old, "a later try is good")
				w.Flows()
			}},
		)
	}
	Run(t, cases...)
}

// TestCasesInstallTimes are install-slow and spi-clash of section 17.
func TestCasesInstallTimes(t *testing.T) {
	Run(t,
		// Install returns when the work is done, so that what is told late is the data plane's
		// news of it.
		Case{Name: "install-slow", Ways: []string{"traffic first", "deletion first", "nothing but deletion"}, Run: func(w *World) {
			old := w.A.SA()
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←")
			own, other := w.Made(w.A)
			if own == nil || other == nil {
				w.End(1)
				return
			}
			news := func() {
				w.B.Input(&sa.Arrived{Inbound: other.Inbound, Local: other.Local, Remote: other.Remote})
			}
			if w.Way == "traffic first" {
				news()
				w.Uses(w.B, other)
			}
			w.Deliver("A D→", "B D←")
			w.Uses(w.B, other)
			if w.Way == "deletion first" {
				news()
			}
			w.Run(10 * time.Second)
			// What the data plane said of the old SA comes when it is gone.
			for _, s := range []*SA{old, old.Other()} {
				if s != nil {
					s.End.Input(&sa.Arrived{Inbound: s.Inbound, Local: s.Local, Remote: s.Remote})
					s.End.Input(&sa.Expired{Inbound: s.Inbound})
					s.End.Input(&sa.Expired{Inbound: s.Inbound, Hard: true})
				}
			}
			w.Never("B C→", "B D→")
			w.Count("A C→", 1)
			w.End(1)
			w.Flows()
		}},
		Case{Name: "install-slow, the peer's deletion", Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→")
			_, other := w.Made(w.A)
			w.B.Delete(other)
			w.Deliver("B D→", "A D←") // of an SA that A has not installed yet
			w.Deliver("B C←")
			own, _ := w.Made(w.A)
			w.Unused(own)
			w.End(0)
		}},
		Case{Name: "spi-clash, no SPI is free", Ways: []string{"responder", "initiator"}, Run: func(w *World) {
			old := w.A.SA()
			e := w.B
			if w.Way == "initiator" {
				e = w.A
			}
			e.Plane.Full = func() error { return errors.New("no SPI is free") }
			w.A.Rekey(old)
			if w.Way == "initiator" {
				w.Never("A C→") // nothing is sent without one
			} else {
				w.Deliver("A C→", "B C← NO_ADDITIONAL_SAS")
			}
			w.Stays(old)
			e.Plane.Full = nil
			w.Run(time.Minute)
			w.End(1)
			w.True(w.A.SA() != old, "a later try is good")
			w.Flows()
		}},
		Case{Name: "spi-clash", Options: Options{Alone: true, B: all(anybody, psk("*", "between a and b"))}, Loss: true, Run: func(w *World) {
			// C's half of its Child SA has the SPI that A's has.
			c := another(w, "C", "c.test")
			w.Strangers()
			w.A.Connect(w.B)
			w.Run(time.Second)
			if w.Storm() {
				return
			}
			spi := w.A.SA().Inbound
			w.On("C AUTH→", func(m *Message) {
				if offer, ok := wire.Find[*wire.SA](m.Payloads); ok {
					offer.Proposals[0].SPI = octets(spi)
				}
			})
			w.On("C D→ D", func(m *Message) { m.Payloads = deletion(spi) })
			c.Connect(w.B)
			w.Run(time.Second)
			a, b := w.B.Plane.All(Installed)[0], w.B.Plane.All(Installed)[1]
			w.True(a.Outbound == spi && b.Outbound == spi && a.Peer.ID != b.Peer.ID && a.Current() && b.Current(), "both serve their peers: %s, %s", a, b)
			c.Input(&sa.Terminate{ID: c.IKE().ID, Child: c.SA().Inbound})
			w.Run(10 * time.Second)
			w.True(a.Open() && a.Current() && !b.Open(), "the deletion of one is not that of the other: %s, %s", a, b)
			w.Flows()
		}},
		Case{Name: "spi-clash, of one peer", Loss: true, Run: func(w *World) {
			w.Strangers()
			old := w.B.SA()
			w.On("A C→ ESP", func(m *Message) {
				if offer, ok := wire.Find[*wire.SA](m.Payloads); ok {
					offer.Proposals[0].SPI = octets(old.Outbound)
				}
			})
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C←")
			w.Uses(w.B, old)
			w.Deliver("A D→", "B D←")
			w.Run(10 * time.Second)
			if w.Storm() {
				return
			}
			w.True(!old.Open(), "the old one is gone")
			w.True(w.B.SA() != nil && w.B.SA().Outbound == old.Outbound && w.B.SA().Inbound != old.Inbound, "the new one is in use: %s", w.B.SA())
			for _, m := range w.All("B D←") {
				d, _ := wire.Find[*wire.Delete](m.Payloads)
				w.True(d != nil && d.SPIs[0] == old.Inbound, "it is the old one that B names")
			}
		}},
	)
}

// TestCasesRestart are restart-peer-keeps and clock-jump of section 17. Session resumption
// (ikev2-resume-01-psk) is not implemented.
func TestCasesRestart(t *testing.T) {
	Run(t,
		Case{Name: "restart-peer-keeps", Ways: []string{"idle", "asked meanwhile"}, Loss: true, Run: func(w *World) {
			ike, child := w.B.IKE(), w.B.SA()
			hintOf(w.A, w.B)
			w.Deliver("A I→", "B I←")
			w.B.Rekey(child)
			w.Deliver("B C→") // it goes in the middle of an exchange
			kept := w.B.Machine
			w.B.Machine = nil
			w.Run(10 * time.Second)
			if w.Way == "asked meanwhile" {
				w.A.RekeyIKE()
				w.Run(time.Second)
			}
			w.B.Machine = kept
			w.B.Reconfigure(func(*sa.Connection) {})
			w.Run(2 * time.Minute)
			w.True(w.Way == "asked meanwhile" || w.B.IKE().ID == ike.ID, "it is the same IKE SA")
			w.A.Rekey(w.A.SA())
			w.Run(time.Minute)
			hintOf(w.B, w.A)
			w.Run(time.Minute)
			w.End(1)
			w.True(len(w.A.Failures) == 0 && len(w.B.Failures) == 0, "nobody noticed")
			w.Flows()
		}},
		Case{Name: "restart-peer-keeps, replaced", Options: Options{Alone: true}, Loss: true, Run: func(w *World) {
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			before := w.A.IKE().SPIi
			w.B.Kill()
			w.Run(10 * time.Second)
			w.B.Start()
			w.B.Connect(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→ INITIAL_CONTACT", "A AUTH←")
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.True(w.A.IKE().SPIi != before && w.A.Downs == 0, "the new one took over")
			w.Flows()
		}},
	)
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		t.Run("clock-jump, "+by.String(), func(t *testing.T) { clockJump(t, by) })
	}
}

// jumped is the same instant on a wall clock that was set to another time.
func jumped(t time.Time, by time.Duration) time.Time {
	// The seconds of a Time that has a monotonic reading too.
	*(*uint64)(unsafe.Pointer(&t)) += uint64(by/time.Second) << 30
	return t
}

// clockJump lets the wall clock jump while an SA is used, and looks at its lifetimes.
func clockJump(t *testing.T, by time.Duration) {
	start := time.Now()
	if x := jumped(start, by); x.Sub(start) != 0 || x.Round(0).Sub(start.Round(0)) != by {
		t.Fatalf("a Time is not made as it was: %v, %v", start, x)
	}
	lifetimes := func(c *sa.Connection) {
		c.Lifetimes = sa.Lifetimes{IKESoft: 20 * time.Minute, IKEHard: 25 * time.Minute, ChildSoft: 10 * time.Minute, ChildHard: 15 * time.Minute, Jitter: time.Second}
		c.Liveness = 30 * time.Second
	}
	w := New(t, Options{Alone: true, Both: lifetimes})
	w.Now = start
	restart(w, w.A)
	restart(w, w.B)
	w.A.Connect(w.B)
	w.Settle()
	w.Begin()
	child, ike := w.A.SA(), w.A.IKE().ID
	due := w.A.Machine.Next().Sub(w.Now)
	w.Now = jumped(w.Now, by)
	for _, e := range w.Ends {
		e.Input(&sa.Elapsed{})
	}
	if w.OnTheWay() != 0 || w.A.Downs+w.B.Downs > 0 || w.A.Machine.Next().Sub(w.Now) != due {
		t.Errorf("the jump is noticed: %d messages, due in %v, before in %v", w.OnTheWay(), w.A.Machine.Next().Sub(w.Now), due)
	}
	w.Run(9 * time.Minute)
	if w.A.SA() != child || w.A.IKE().ID != ike {
		t.Error("an SA went before its time")
	}
	w.Run(2 * time.Minute)
	if w.A.SA() == child {
		t.Error("a Child SA was not rekeyed in time")
	}
	if w.Run(10 * time.Minute); w.A.IKE().ID == ike || w.A.Downs+w.B.Downs > 0 {
		t.Error("the IKE SA was not rekeyed in time")
	}
}
