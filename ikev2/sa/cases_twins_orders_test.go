// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"

	. "dmvpn/ikev2/iketest/world"
)

// chain are the four deliveries of one end's attempt.
func chain(from, to string) []string {
	return []string{from + " INIT→", to + " INIT←", from + " AUTH→", to + " AUTH←"}
}

// TestCasesTwinsInEveryOrder is the row twin-every-order: the eight deliveries of two
// attempts that cross, in all 70 orders, with both orders of Ni, with none or any one of them
// lost.
func TestCasesTwinsInEveryOrder(t *testing.T) {
	for order := range 256 {
		if bits.OnesCount(uint(order)) != 4 {
			continue
		}
		for _, way := range []string{westHigher, eastHigher} {
			for lost := range 9 {
				name := strings.ReplaceAll(fmt.Sprintf("twin-every-order/%08b, %s, %d lost", order, way, lost), "0 lost", "none lost")
				t.Run(name, func(t *testing.T) {
					w := New(t, Options{Alone: true})
					w.Way = way
					nonces(w)
					w.A.Connect(w.B)
					w.B.Connect(w.A)
					everyOrder(w, order, lost)
					settled(w)
				})
			}
		}
	}
}

// everyOrder delivers what two attempts send: from the highest bit down, 1 is East's next
// message, 0 West's. The one with the number lost, from 1, is lost, and comes again only by its
// sender's timer.
func everyOrder(w *World, order, lost int) {
	chains := [2][]string{chain("A", "B"), chain("B", "A")}
	for step := range 8 {
		which := order >> (7 - step) & 1
		if len(chains[which]) == 0 {
			continue // lost before
		}
		next := chains[which][0]
		chains[which] = chains[which][1:]
		switch {
		case len(w.All(next)) == 0: // the attempt was overtaken
			chains[which] = nil
		case step+1 == lost:
			w.Lose(next)
			chains[which] = nil
		default:
			w.Deliver(next)
		}
	}
}
