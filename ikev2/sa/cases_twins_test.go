// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// edge lets all that an end draws begin with a 0 bit or a 1 bit, so that its nonces are
// lower or higher than the other end's.
type edge struct {
	io.Reader
	high bool
}

func (e edge) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if n > 0 {
		p[0] &= 0x7f
		if e.high {
			p[0] |= 0x80
		}
	}
	return n, err
}

// higher makes both machines anew, one with the higher nonces.
func higher(w *World, high *End) {
	for _, e := range []*End{w.A, w.B} {
		e.Config.Random = edge{e.Config.Random, e == high}
		restart(w, e)
	}
}

// restart begins anew with the end's configuration as it is now.
func restart(w *World, e *End) { e.Machine = sa.New(w.Now, e.Config) }

// orders of the two ends' Ni.
const (
	westHigher = "West's Ni is higher"
	eastHigher = "East's Ni is higher"
)

// nonces makes the order of Ni that the way's text names.
func nonces(w *World) {
	if strings.Contains(w.Way, westHigher) {
		higher(w, w.A)
	} else {
		higher(w, w.B)
	}
}

// both gives each way with both orders of Ni.
func both(ways ...string) []string {
	var all []string
	for _, x := range ways {
		all = append(all, strings.TrimPrefix(x+", "+westHigher, ", "), strings.TrimPrefix(x+", "+eastHigher, ", "))
	}
	return all
}

// force lets an end begin although it has an SA with the other one or is making it: it
// does not know whom it will meet.
func force(from, to *End) {
	from.Input(&sa.Connect{Connection: from.Connection().Name, Local: netip.AddrPortFrom(from.Address, 500), Remote: netip.AddrPortFrom(to.Address, 4501), Once: true})
}

// take delivers messages as far as they were sent.
func take(w *World, patterns ...string) {
	for _, p := range patterns {
		if len(w.All(p)) > 0 || w.Storm() {
			w.Deliver(p)
		}
	}
}

// cross plays an order of events as West sees them: w is what it sends first, its AUTH,
// and the answer to that; e is what it gets, INIT and AUTH. West is A, East B.
func cross(w *World, order string) {
	forced, late := strings.Contains(w.Way, "forced"), strings.Contains(w.Way, "late")
	var west, east int
	for _, who := range order {
		if who == 'w' {
			switch west++; west {
			case 1:
				if forced {
					force(w.A, w.B)
				} else {
					w.A.Connect(w.B)
				}
			case 2:
				take(w, "A INIT→", "B INIT←")
			case 3:
				take(w, "A AUTH→", "B AUTH←")
			}
			continue
		}
		switch east++; east {
		case 1:
			if forced {
				force(w.B, w.A)
			} else {
				w.B.Connect(w.A)
			}
			take(w, "B INIT→")
			if !late {
				take(w, "A INIT←")
			}
		case 2:
			if late {
				take(w, "A INIT←")
			}
			take(w, "B AUTH→")
		}
	}
}

// ni is the nonce of an end's IKE_SA_INIT; nil if it sent none.
func ni(w *World, e *End) []byte {
	var last []byte
	for _, m := range w.All(e.Name + " INIT→") {
		n, _ := wire.Find[wire.Nonce](m.Payloads)
		last = n
	}
	return last
}

// settled fails unless just one IKE SA with one Child SA is left, that of the higher Ni
// where both went on to IKE_AUTH, and both ends were told once that the other is up.
func settled(w *World) {
	w.T.Helper()
	w.EndIKE(1)
	w.EndDowns(1, -1)
	for _, e := range []*End{w.A, w.B} {
		w.True(e.Ups == 1 && e.Downs == 0, "%s was told %d times up and %d times down", e.Name, e.Ups, e.Downs)
		w.True(len(e.Failures) == 0, "%s was told of a failure", e.Name)
		w.True(len(e.Alarms) == 0, "%s had an alarm: %q", e.Name, e.Alarms)
		w.True(len(e.Moves) == 0 || strings.Contains(w.Way, "forced"), "%s was told of a move", e.Name) // the ports of force differ
	}
	w.Flows()
	if len(w.All("A AUTH→")) > 0 && len(w.All("B AUTH→")) > 0 {
		ofWest := bytes.Compare(ni(w, w.A), ni(w, w.B)) > 0
		w.True(w.A.IKE().Initiator == ofWest, "the one with the higher Ni is kept")
		loser := "A"
		if ofWest {
			loser = "B"
		}
		if strings.Contains(w.Way, "another kind") {
			w.True(len(w.All("A D→ IKE"))+len(w.All("B D→ IKE")) > 0, "the other one is deleted, by whoever is sooner")
			return
		}
		w.Count(loser+" D→ IKE", 1)
	} else {
		w.Never("A D→", "B D→")
	}
}

// TestCasesTwins are those of section 6: two peers start at once.
func TestCasesTwins(t *testing.T) {
	alone := Options{Alone: true}
	order := func(name, order string, ways ...string) Case {
		return Case{Name: name, Options: alone, Ways: ways, Run: func(w *World) {
			nonces(w)
			cross(w, order)
			settled(w)
		}}
	}
	forced := both("", "forced", "late", "forced, late")
	Run(t,
		Case{Name: "crossing-streams-11-eewww-ikev2-permanent", Options: alone, Ways: both("", "forced"), Run: func(w *World) {
			nonces(w)
			cross(w, "eewww")
			if !strings.Contains(w.Way, "forced") {
				w.Never("A INIT→")
			}
			settled(w)
		}},
		Case{Name: "crossing-streams-11-eweww-ikev2-permanent", Options: alone, Ways: both("", "forced"), Run: func(w *World) {
			nonces(w)
			cross(w, "eweww")
			if !strings.Contains(w.Way, "forced") {
				w.Count("A INIT→", 1)
				w.Never("A AUTH→")
			}
			settled(w)
		}},
		order("crossing-streams-11-ewwew-ikev2-permanent", "ewwew", both("")...),
		order("crossing-streams-11-ewwwe-ikev2-permanent", "ewwwe", both("", "late", "forced, late")...),
		Case{Name: "crossing-streams-11-weeww-ikev2-permanent", Options: alone, Ways: both("", "forced"), Run: func(w *World) {
			nonces(w)
			cross(w, "weeww")
			if !strings.Contains(w.Way, "forced") {
				w.Never("A AUTH→")
			}
			settled(w)
		}},
		order("crossing-streams-11-wewew-ikev2-permanent", "wewew", forced...),
		order("crossing-streams-11-wewwe-ikev2-permanent", "wewwe", forced...),
		order("crossing-streams-11-wwewe-ikev2-permanent", "wwewe", forced...),
		order("twin-wweew", "wweew", both("")...),
	)
}
