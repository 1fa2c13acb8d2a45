// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"strings"
	"time"

	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// rule is done to every message that a pattern names, or to one and its repeats, each
// time that it is delivered. One for which do is false is lost.
type rule struct {
	pattern string
	message *Message
	do      func(m *Message) bool
}

func (r rule) holds(m *Message) bool {
	if r.message != nil {
		return r.message.is(m)
	}
	_, all := m.matches(r.pattern)
	return all
}

func bend(change func(m *Message)) func(m *Message) bool {
	return func(m *Message) bool {
		change(m)
		m.Reseal()
		return true
	}
}

// emit puts what a machine sends onto the wire. The fragments of one message are one
// Message; a repeat of what is still on its way is not added.
func (w *World) emit(e *End, a *sa.Send) {
	m := &Message{From: e, Sent: w.Now, Local: a.Local, Remote: a.Remote, source: e.source(a.Local, a.Remote), Packets: [][]byte{slices.Clone(a.Data)}, Keepalive: a.Keepalive}
	if n := len(w.wire); n > 0 && !m.Keepalive {
		if last := w.wire[n-1]; last.From == e && last.fragment(a.Data) {
			last.Packets = append(last.Packets, m.Packets[0])
			if last.whole() {
				w.wire = w.wire[:n-1]
				w.add(last)
			}
			return
		}
	}
	if f := fragmentOf(a.Data); f != nil && f.Total > 1 {
		m.Header, _, _ = wire.ParseHeader(a.Data)
		w.wire = append(w.wire, m)
		return
	}
	w.add(m)
}

// add looks into a whole message and puts it onto the wire.
func (w *World) add(m *Message) {
	w.open(m)
	w.name(m)
	again := w.sentBefore(m)
	w.log("  %s sends %s%s", m.From.Name, m, map[bool]string{true: " (again)"}[again])
	w.checkSent(m)
	answer := (m.Response || plain(m.Exchange)) && m.From.cause != nil && w.awaited != nil && w.awaited(m.From.cause.unbent)
	if w.awaited != nil && again && !w.awaited(m) && !answer && slices.ContainsFunc(w.handed, m.is) {
		return // it was delivered; only the message that this run loses must be repeated
	}
	if !again {
		w.sent = append(w.sent, m)
		if n := m.Nonce(); n != nil && m.kind == "C" {
			w.nonces[m.From.Name+arrow(m.Response)] = n
		}
	}
	if !slices.ContainsFunc(w.wire, m.is) {
		w.wire = append(w.wire, m)
	}
}

func arrow(response bool) string {
	if response {
		return "←"
	}
	return "→"
}

func fragmentOf(b []byte) *wire.Fragment {
	msg, err := wire.Parse(b)
	if err != nil || len(msg.Payloads) == 0 {
		return nil
	}
	f, _ := msg.Payloads[len(msg.Payloads)-1].(*wire.Fragment)
	return f
}

// fragment says whether b goes on with a message that is not whole.
func (m *Message) fragment(b []byte) bool {
	h, _, err := wire.ParseHeader(b)
	f, last := fragmentOf(b), fragmentOf(m.Packets[len(m.Packets)-1])
	return err == nil && f != nil && last != nil && h == m.Header && !m.whole() && f.Number == last.Number+1 && f.Total == last.Total
}

func (m *Message) whole() bool {
	f := fragmentOf(m.Packets[len(m.Packets)-1])
	return f == nil || f.Number == f.Total
}

// name tells D from I: a response is called as its request is.
func (w *World) name(m *Message) {
	if m.Exchange != wire.Informational {
		return
	}
	if !m.Response {
		if _, ok := wire.Find[*wire.Delete](m.Payloads); ok {
			m.kind = "D"
		}
		return
	}
	if r := w.requestOf(m); r != nil {
		m.kind = r.kind
	}
}

// requestOf finds the request that a response answers.
func (w *World) requestOf(m *Message) *Message {
	return w.flowOf(m).requests[m.MessageID]
}

func (w *World) sentBefore(m *Message) bool { return slices.ContainsFunc(w.sent, m.is) }

// find gives the oldest message on its way that a pattern names.
func (w *World) find(pattern string) *Message {
	w.T.Helper()
	var near *Message
	for _, m := range w.wire {
		name, all := m.matches(pattern)
		if all {
			return m
		}
		if name {
			near = m
		}
	}
	if near != nil {
		w.stop("no %q is on its way; there is %s", pattern, near)
	}
	w.stop("no %q is on its way; there is: %s", pattern, w.onTheWay())
	return nil
}

func (w *World) onTheWay() string {
	var all []string
	for _, m := range w.wire {
		all = append(all, m.String())
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

// take takes a message off the wire.
func (w *World) take(m *Message) {
	w.wire = slices.DeleteFunc(w.wire, func(o *Message) bool { return o == m })
}

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

// Bend delivers a message that is changed on its way, and sealed anew, by somebody
// who has its sender's keys; its repeats are changed in the same way.
func (w *World) Bend(pattern string, change func(m *Message)) {
	w.T.Helper()
	if w.excused(pattern) {
		return
	}
	m := w.find(pattern)
	w.take(m)
	w.rules = append(w.rules, rule{message: m, do: bend(change)})
	w.deliver(m, true)
}

// On bends every message that a pattern names from now on.
func (w *World) On(pattern string, change func(m *Message)) {
	w.rules = append(w.rules, rule{pattern: pattern, do: bend(change)})
}

// Deafen loses every message that a pattern names from now on.
func (w *World) Deafen(patterns ...string) {
	for _, p := range patterns {
		w.rules = append(w.rules, rule{pattern: p, do: func(*Message) bool { return false }})
	}
}

// Calm takes all of On, Deafen and Refuse back.
func (w *World) Calm() { w.rules = nil }

// Refuse lets every request that a pattern names be answered with a notification: its
// receiver gets a liveness check of the same message id instead, so that the
// windows go on, and what it answers is bent into that.
func (w *World) Refuse(pattern string, answer ...wire.Payload) {
	type at struct {
		spis
		id uint32
	}
	was := map[at]wire.ExchangeType{}
	w.On(pattern, func(m *Message) {
		was[at{spis{m.SPIi, m.SPIr}, m.MessageID}] = m.Exchange
		m.Exchange, m.Payloads = wire.Informational, nil
	})
	words := strings.Fields(pattern)
	other := map[string]string{"A": "B", "B": "A"}[words[0]]
	w.On(other+" "+strings.Replace(words[1], "→", "←", 1), func(m *Message) {
		if x, ok := was[at{spis{m.SPIi, m.SPIr}, m.MessageID}]; ok {
			m.Exchange, m.Payloads = x, answer
		}
	})
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
