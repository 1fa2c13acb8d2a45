// SPDX-License-Identifier: Apache-2.0

package world

import (
	"strings"

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

// Recut delivers every message that a pattern names, from now on, in the datagrams that cut
// makes of it: fragments in another order, fewer of them, or others.
func (w *World) Recut(pattern string, cut func(m *Message) [][]byte) {
	w.rules = append(w.rules, rule{pattern: pattern, do: func(m *Message) bool {
		m.Packets = cut(m)
		return true
	}})
}

// Deafen loses every message that a pattern names from now on.
func (w *World) Deafen(patterns ...string) {
	for _, p := range patterns {
		w.rules = append(w.rules, rule{pattern: p, do: func(*Message) bool { return false }})
	}
}

// Calm takes all of On, Recut, Deafen and Refuse back.
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
