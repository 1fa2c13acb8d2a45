// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"strings"

	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

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
	w.checkVectors(m)
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
