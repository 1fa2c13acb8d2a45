// SPDX-License-Identifier: Apache-2.0

package world

import (
	"time"

	"dmvpn/ikev2/sa"
)

// tick lets the time go on to the next timer, if it is due by end, and fires it. Else
// it is end, and tick gives false.
func (w *World) tick(end time.Time) bool {
	e := w.earliest()
	if e == nil || e.Machine.Next().After(end) {
		w.Now = later(w.Now, end)
		return false
	}
	w.Now = later(w.Now, e.Machine.Next())
	w.log("%s is due", e.Name)
	e.Input(&sa.Elapsed{})
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Tick lets the time go on to the next timer of anybody; what is on its way stays there.
func (w *World) Tick() { w.tick(w.Now.Add(w.Horizon)) }

// Wait lets the time go on; what is on its way stays there.
func (w *World) Wait(d time.Duration) {
	if w.Storm() {
		w.blow(4)
		return
	}
	for end := w.Now.Add(d); w.tick(end); {
	}
}

// WaitFor lets the time go on, by a minute at most, until a message is on its way.
func (w *World) WaitFor(pattern string) {
	w.T.Helper()
	if w.Storm() {
		w.blow(4)
		return
	}
	for end := w.Now.Add(time.Minute); ; {
		for _, m := range w.wire {
			if _, ok := m.matches(pattern); ok {
				return
			}
		}
		if !w.tick(end) {
			w.stop("within a minute no %q was sent; on the way is %s", pattern, w.onTheWay())
		}
	}
}

// Settle delivers everything that is on its way and what follows, in no time.
func (w *World) Settle() {
	for n := 0; len(w.wire) > 0; n++ {
		if n > 1000 {
			w.stop("the ends do not stop talking")
		}
		m := w.wire[0]
		w.wire = w.wire[1:]
		w.deliver(m, false)
	}
}

// Run lets the time go on, and delivers everything meanwhile.
func (w *World) Run(d time.Duration) {
	end := w.Now.Add(d)
	if w.Storm() && !w.healed {
		w.stormUntil(end)
		return
	}
	w.Settle()
	for w.tick(end) {
		w.Settle()
	}
}

// horizon is World.Horizon where a row does not say otherwise.
const horizon = 100 * time.Hour

// Drain delivers everything, and lets the time go on until only lifetimes are left.
// Then both ends must have the same SAs (I7).
func (w *World) Drain() {
	w.T.Helper()
	w.drain()
	w.agree()
}

func (w *World) drain() {
	w.T.Helper()
	if w.Storm() {
		w.calmDown()
		return
	}
	w.log("drain")
	w.Settle()
	for n := 0; w.tick(w.Now.Add(w.Horizon)); n++ {
		if n > 2000 {
			w.stop("the timers do not end")
		}
		w.Settle()
	}
	w.Now = w.Now.Add(-w.Horizon)
}

// blow lets a stormy wire do so many things: deliver, in any order, lose, copy, and
// let a little time pass.
func (w *World) blow(n int) {
	for range w.random.below(n + 2) {
		if len(w.wire) == 0 || w.random.chance(25) {
			w.tick(w.Now.Add(time.Duration(w.random.below(1500)) * time.Millisecond))
			continue
		}
		w.gust()
	}
}

// stormUntil lets the time go on in a storm.
func (w *World) stormUntil(end time.Time) {
	for w.Now.Before(end) {
		w.blow(8)
		if len(w.wire) == 0 {
			w.tick(later(w.Now, end))
		}
	}
}

func (w *World) gust() {
	m := w.wire[w.random.below(len(w.wire))]
	w.take(m)
	if w.random.chance(w.run.loss) {
		w.log("lost in the storm: %s", m)
		return
	}
	if w.random.chance(w.run.loss / 2) {
		w.log("copied in the storm: %s", m)
		w.wire = append(w.wire, m)
	}
	w.hand(m)
}

// calmDown is the drain of a storm: it goes on for a minute, and then the wire is good
// for as long as it takes to notice that the other end has given up.
func (w *World) calmDown() {
	if !w.healed {
		w.stormUntil(w.Now.Add(time.Minute))
		w.log("the storm is over")
		w.healed, w.run.reimport = true, false
		w.rules = nil
	}
	w.Run(8 * time.Minute)
}
