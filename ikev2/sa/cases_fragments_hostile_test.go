// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"slices"
	"testing"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// stages deliver a message in another way each time that it is repeated; before the last one it
// is not whole, so that the one who gets it has not done yet what it is for.
func stages(w *World, pattern string, done func() bool, all ...func(m *Message) [][]byte) {
	n := 0
	w.Recut(pattern, func(m *Message) [][]byte {
		n++
		if n > len(all) {
			return m.Packets
		}
		w.True(!done(), "%q is not whole before the last of %d stages", pattern, n)
		return all[n-1](m)
	})
}

// exchange delivers a request, and the response if there is one, as often as it takes.
func exchange(w *World, request, response string, done func() bool) {
	for n := 0; n < 8 && !done(); n++ {
		if n > 0 {
			w.WaitFor(request)
		}
		w.Deliver(request)
		if len(w.All(response)) > 0 {
			w.Deliver(response)
		}
	}
}

// some takes some of a message's fragments, counted from 1, when it is cut into total.
func some(total int, numbers ...int) func(m *Message) [][]byte {
	return func(m *Message) (cut [][]byte) {
		all := cutAt(m, total)
		if len(all) < total {
			return m.Packets // an answer in clear
		}
		for _, n := range numbers {
			cut = append(cut, all[n-1])
		}
		return cut
	}
}

func whole(m *Message) [][]byte { return m.Packets }

// joined is what some functions make, together.
func joined(all ...func(m *Message) [][]byte) func(m *Message) [][]byte {
	return func(m *Message) (cut [][]byte) {
		for _, f := range all {
			cut = append(cut, f(m)...)
		}
		return cut
	}
}

// piece is one fragment of one's own.
func piece(first wire.PayloadType, text []byte, number, total uint16) func(m *Message) [][]byte {
	return func(m *Message) [][]byte {
		return [][]byte{seal(m.Keys(), m.Header, first, text, number, total)}
	}
}

// TestCasesFragmentsHostile are the other rows of section 10.
func TestCasesFragmentsHostile(t *testing.T) {
	totals := map[string][]func(m *Message) [][]byte{
		"larger":  {some(2, 1), joined(some(3, 1, 2), some(2, 2)), some(3, 3)},
		"smaller": {joined(some(3, 1), some(2, 1, 2)), some(3, 2, 3)},
		"whole":   {some(3, 1, 2), whole},
	}
	big := bytes.Repeat([]byte{7}, 4000)
	many := func(m *Message) (cut [][]byte) {
		for n := range 31 {
			cut = append(cut, piece(0, big, uint16(n+2), 32)(m)...)
		}
		return cut
	}
	hostile := map[string]func(m *Message) [][]byte{
		"number 0":                       piece(0, big, 0, 2),
		"number above the total":         piece(0, big, 3, 2),
		"total 0":                        func(m *Message) [][]byte { return [][]byte{zeroTotal(piece(0, big, 1, 1)(m)[0])} },
		"total 65535":                    piece(0, big, 2, 65535),
		"a first payload in a later one": piece(wire.PayloadNotify, big, 2, 2),
		"two first ones that differ":     joined(some(2, 1), piece(wire.PayloadNotify, big, 1, 2)),
		"too many octets":                many,
	}
	var ways []string
	for name := range hostile {
		ways = append(ways, name)
	}
	slices.Sort(ways)
	answered := func(w *World, p string) func() bool { return func() bool { return len(w.All(p)) > 0 } }
	Run(t,
		Case{Name: "frag-total-changes", Options: Options{Alone: true}, Ways: []string{"larger", "smaller", "whole"}, Run: func(w *World) {
			established := func() bool { return w.A.IKE().ID != 0 }
			stages(w, "A AUTH→", answered(w, "B AUTH←"), totals[w.Way]...)
			stages(w, "B AUTH←", established, totals[w.Way]...)
			stages(w, "A C→", answered(w, "B C←"), totals[w.Way]...)
			stages(w, "B C←", answered(w, "A D→"), totals[w.Way]...)
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			exchange(w, "A AUTH→", "B AUTH←", established)
			kept(w, 0)
			w.A.Rekey(w.A.SA())
			exchange(w, "A C→", "B C←", answered(w, "A D→"))
			w.Deliver("A D→", "B D←")
			kept(w, 0)
			begun(w)
		}},
		Case{Name: "frag-hostile", Options: Options{Alone: true}, Ways: ways, Run: func(w *World) {
			good := whole
			if w.Way == "two first ones that differ" {
				good = some(2, 2) // with the first one that came
			}
			stages(w, "A AUTH→", answered(w, "B AUTH←"), hostile[w.Way], good)
			stages(w, "A C→", answered(w, "B C←"), hostile[w.Way], good)
			suffers := func(request, response string) {
				c := w.B.Machine.Counters()
				w.Deliver(request)
				now := w.B.Machine.Counters()
				w.True(!w.Counts() || now.Syntax+now.Replayed > c.Syntax+c.Replayed, "it is counted")
				kept(w, 32)
				for n := 0; n < 3 && !answered(w, response)(); n++ {
					w.WaitFor(request)
					w.Deliver(request)
				}
				w.Deliver(response)
			}
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			suffers("A AUTH→", "B AUTH←")
			w.A.Rekey(w.A.SA())
			suffers("A C→", "B C←")
			w.Deliver("A D→", "B D←")
			kept(w, 0)
			begun(w)
		}},
	)
}

// zeroTotal gives a fragment the total 0. It is sealed for another: nobody gets so far.
func zeroTotal(b []byte) []byte {
	b = slices.Clone(b)
	b[wire.HeaderSize+6], b[wire.HeaderSize+7] = 0, 0
	return b
}
