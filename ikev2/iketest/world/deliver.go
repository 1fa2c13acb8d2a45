// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"time"

	"dmvpn/ikev2/sa"
)

// Deliver delivers messages, in this order, each named by a pattern: sender, exchange
// and arrow, then words that the message must have (see Message.words). What no
// Deliver names stays on its way.
func (w *World) Deliver(patterns ...string) {
	w.T.Helper()
	if w.Storm() {
		w.blow(2 * len(patterns))
		return
	}
	for _, p := range patterns {
		if w.excused(p) {
			continue
		}
		m := w.find(p)
		w.take(m)
		w.deliver(m, true)
	}
}

// excused says that a message need not be on its way: there is a storm, or this run lost
// for good what it would have followed from.
func (w *World) excused(pattern string) bool {
	return w.Storm() || w.gone && !slices.ContainsFunc(w.wire, func(m *Message) bool {
		_, all := m.matches(pattern)
		return all
	})
}

// Expect fails unless all messages that are named are on their way.
func (w *World) Expect(patterns ...string) {
	w.T.Helper()
	for _, p := range patterns {
		if !w.excused(p) {
			w.find(p)
		}
	}
}

// OnlyOnTheWay fails unless just as many messages are on their way, those.
func (w *World) OnlyOnTheWay(patterns ...string) {
	w.T.Helper()
	w.Expect(patterns...)
	if !w.Storm() && !w.gone && len(w.wire) != len(patterns) {
		w.stop("on the way is %s; only %q should be", w.onTheWay(), patterns)
	}
}

// Lose loses a message. A repeat by its sender's timer is another one.
func (w *World) Lose(pattern string) {
	w.T.Helper()
	if w.excused(pattern) {
		return
	}
	m := w.find(pattern)
	w.take(m)
	w.log("lost: %s", m)
}

// Again delivers a copy of a message that was sent before, the last one of that name.
func (w *World) Again(pattern string) {
	w.T.Helper()
	all := w.All(pattern)
	if len(all) == 0 {
		w.Fatalf("no %q was ever sent", pattern)
		return
	}
	w.hand(all[len(all)-1])
}

// Hold takes a message off the wire for a while: it is delivered by the function that
// is given back, though it may have been repeated since. Under random loss there
// is nothing to hold, and the function does nothing.
func (w *World) Hold(pattern string) (release func()) {
	w.T.Helper()
	if w.excused(pattern) {
		return func() {}
	}
	m := w.find(pattern)
	w.take(m)
	w.log("held: %s", m)
	return func() { w.hand(m) }
}

// deliver hands a message over as the variant of this run wants it: once, twice, or
// not at all before it has been repeated.
func (w *World) deliver(m *Message, wait bool) {
	n := w.delivered
	w.delivered++
	if w.began && w.run.lose == n+1 {
		w.log("lost by this run: %s", m)
		if wait {
			w.repeated(m)
		}
		return
	}
	w.hand(m)
	if w.began && w.run.twice {
		w.hand(m)
	}
}

// repeated lets the time go on until a message that was lost comes again, and delivers
// it. If it never does, it is lost for good.
func (w *World) repeated(m *Message) {
	request := w.requestOf(m)
	w.awaited = func(o *Message) bool { return o.is(m) || m.Response && request != nil && o.is(request) }
	defer func() { w.awaited = nil }()
	for end := w.Now.Add(time.Minute); w.Now.Before(end); {
		if i := slices.IndexFunc(w.wire, m.is); i >= 0 {
			again := w.wire[i]
			w.take(again)
			w.hand(again)
			return
		}
		if m.Response && request != nil {
			if i := slices.IndexFunc(w.wire, request.is); i >= 0 {
				again := w.wire[i]
				w.take(again)
				w.hand(again)
				continue
			}
		}
		if !w.tick(end) {
			break
		}
	}
	w.log("lost for good: %s", m)
	w.gone = true
}

// hand gives a message to whom it is for.
func (w *World) hand(m *Message) {
	to, local := w.route(m.source, m.Remote)
	if to == nil || to.Machine == nil || m.Keepalive {
		return
	}
	w.handed = append(w.handed, m)
	original := m
	for _, r := range w.rules {
		if !r.holds(original) {
			continue
		}
		m = m.copy()
		if !r.do(m) {
			w.log("lost by rule: %s", m)
			return
		}
	}
	w.log("%s gets %s", to.Name, m)
	w.took(m)
	m.unbent, to.cause = original, m
	for _, b := range m.Packets {
		to.Input(&sa.Datagram{Local: local, Remote: m.source, Data: slices.Clone(b)})
	}
	to.cause = nil
}
