// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"dmvpn/ikev2/sa"
)

// flow is the requests of one side of an IKE SA.
type flow struct {
	spis
	initiator bool
}

// window is what the wire saw of a flow.
type window struct {
	next      uint32
	requests  map[uint32]*Message
	responses map[uint32]*Message
	pending   *Message
	unknown   bool // which id is next
}

func (w *World) flowOf(m *Message) *window {
	at := flow{spis{m.SPIi, m.SPIr}, m.Initiator != m.Response}
	if plain(m.Exchange) {
		at.r = [8]byte{}
	}
	f := w.flows[at]
	if f == nil {
		f = &window{unknown: w.resumed, requests: map[uint32]*Message{}, responses: map[uint32]*Message{}}
		if letters[m.Exchange] == "AUTH" || letters[m.Exchange] == "X" {
			f.next = 1 // behind IKE_SA_INIT
		}
		w.flows[at] = f
	}
	return f
}

// checkSent holds I5 and I6 against what an end sends.
func (w *World) checkSent(m *Message) {
	if m.Keepalive || m.SPIi.IsZero() { // nor is INVALID_SPI of no IKE SA a request
		return
	}
	f := w.flowOf(m)
	if m.Response {
		w.checkResponse(m, f)
		return
	}
	switch old := f.requests[m.MessageID]; {
	case plain(m.Exchange):
		// Repeated with a cookie or another method it has the same id.
	case old != nil && !old.is(m) && old.Remote == m.Remote:
		w.fail("I6: %s sends another request with the id of %s", m, old)
	case old != nil:
		return
	case f.pending != nil:
		w.fail("I6: %s while %s is not answered", m, f.pending)
	case m.MessageID != f.next && !f.unknown:
		w.fail("I6: %s has not the message id %d", m, f.next)
	}
	f.requests[m.MessageID], f.next, f.unknown = m, m.MessageID+1, false
	if !plain(m.Exchange) {
		f.pending = m
	}
}

func (w *World) checkResponse(m *Message, f *window) {
	c := m.From.cause
	if c == nil || c.Response || c.MessageID != m.MessageID || c.SPIi != m.SPIi {
		w.fail("I5: %s was not asked for just now", m)
		return
	}
	if m.keys == nil {
		return // an answer without state
	}
	if old := f.responses[m.MessageID]; old != nil && !slices.EqualFunc(old.Packets, m.Packets, bytes.Equal) {
		w.fail("I5: %s is not the answer that was given before: %s", m, old)
	}
	f.responses[m.MessageID] = m
}

// took notes that a response reached the one who waits for it.
func (w *World) took(m *Message) {
	if !m.Response || m.keys == nil {
		return
	}
	if f := w.flowOf(m); f.pending != nil && f.pending.MessageID == m.MessageID {
		f.pending = nil
	}
}

// MayBreak says that from now on a peer may be without an outbound SA while it
// is up, or send where nobody listens: something was deleted, or somebody is
// gone.
func (w *World) MayBreak() { w.mayBreak = true }

// step holds I1 against both ends after one of them was given an input.
func (w *World) step(e *End) {
	if due := e.Machine.Next(); !due.IsZero() && !due.After(w.Now) {
		w.stop("%s wants to be called at once again", e.Name)
	}
	for _, e := range w.Ends {
		if e.Machine == nil {
			continue
		}
		isUp := map[uint64]bool{}
		for key, id := range e.up {
			isUp[id] = true
			if e.Plane.current[id] == 0 && !w.tolerant() {
				w.fail("I1: %s: %s is up and has no outbound SA", e.Name, key)
			}
		}
		for id, spi := range e.Plane.current {
			if spi != 0 && !isUp[id] {
				w.fail("I4: %s: %s is in use, but its peer is not up", e.Name, e.Plane.sas[spi])
			}
		}
		for _, s := range e.Plane.All(Installed) {
			early := s.first && s.Other() == nil
			if s.Current() && !s.Other().Open() && !early && !w.tolerant() && !w.strangers {
				w.fail("I1: %s sends by %s, which the other end does not take", e.Name, s)
			}
		}
		if len(e.Plane.gap) > 0 && len(e.up) > 0 && !w.tolerant() {
			w.fail("I1: %s", strings.Join(e.Plane.gap, "; "))
		}
		e.Plane.gap = nil
	}
}

func (w *World) tolerant() bool { return w.mayBreak || w.Storm() }

// agree holds I7: both ends have the same SAs, nothing is half made, and the machines
// have what their data planes have.
func (w *World) agree() {
	w.T.Helper()
	for _, e := range w.Ends {
		if e.Machine == nil {
			continue
		}
		if c := e.Machine.Counters(); c.HalfOpen != 0 || c.Attempts != 0 {
			w.fail("I7: %s: %d half-open SAs, %d attempts are left", e.Name, c.HalfOpen, c.Attempts)
		}
		for _, s := range e.Plane.All(Reserved) {
			w.fail("I7: %s: SPI %08x is reserved and never used", e.Name, s.Inbound)
		}
		var machine, plane []string
		for _, i := range e.Infos() {
			if i.Queued > 0 {
				w.fail("I7: %s: %d tasks are left", e.Name, i.Queued)
			}
			for _, c := range i.Children {
				machine = append(machine, fmt.Sprintf("%08x", c.Inbound))
			}
		}
		for _, s := range e.Plane.All(Installed, Retired) {
			plane = append(plane, fmt.Sprintf("%08x", s.Inbound))
		}
		slices.Sort(machine)
		slices.Sort(plane)
		if !slices.Equal(machine, plane) {
			w.fail("I7: %s: the machine has the Child SAs %v, its data plane %v", e.Name, machine, plane)
		}
	}
	if w.strangers || len(w.Ends) != 2 {
		return
	}
	a, b := w.view(w.A), w.view(w.B)
	if !slices.Equal(a, b) {
		w.fail("I7: A has %v, B has %v", a, b)
	}
}

// view is what an end has, in words that are the same at both ends.
func (w *World) view(e *End) []string {
	var all []string
	for _, i := range e.Infos() {
		if i.State == "closed" {
			continue
		}
		var children []string
		for _, c := range i.Children {
			children = append(children, fmt.Sprintf("%08x/%08x", min(c.Inbound, c.Outbound), max(c.Inbound, c.Outbound)))
		}
		slices.Sort(children)
		all = append(all, fmt.Sprintf("%s_i %s_r %s %v", i.SPIi, i.SPIr, i.State, children))
	}
	slices.Sort(all)
	return all
}

// Nonces are the four of two rekeys that crossed, as the cases' table numbers them:
// 1 in A's request, 2 in B's, 3 in B's response, 4 in A's.
var nonceNames = [...]string{1: "A→", 2: "B→", 3: "B←", 4: "A←"}

// lowest is the number of the lowest nonce, 0 before both ends sent a request.
func (w *World) lowest() int {
	if w.nonces["A→"] == nil || w.nonces["B→"] == nil {
		return 0
	}
	best := 0
	for i, n := range nonceNames {
		if i > 0 && w.nonces[n] != nil && (best == 0 || bytes.Compare(w.nonces[n], w.nonces[nonceNames[best]]) < 0) {
			best = i
		}
	}
	return best
}

// Judge says by the nonces that were sent which end's rekey stands and whose is
// redundant (section 2.8.1). It fails if the lowest is not where the run wants it.
func (w *World) Judge() (stands, redundant *End) {
	w.T.Helper()
	n := w.lowest()
	if w.run.lowest != 0 && n != w.run.lowest && !w.Storm() {
		w.stop("nonce %d is the lowest; this run is for %d", n, w.run.lowest)
	}
	if n == 1 || n == 3 {
		return w.B, w.A
	}
	return w.A, w.B
}

// steer lets the draws of this step begin as the run's row of the nonce table says.
func (w *World) steer(e *End) {
	e.dice.first = any_
	if w.run.lowest == 0 || !w.began {
		return
	}
	answering := e.cause != nil && !e.cause.Response && e.cause.kind == "C"
	name := e.Name + arrow(answering)
	e.dice.first = high
	if name == nonceNames[w.run.lowest] {
		e.dice.first = low
	}
}

// earliest is the end that is due first.
func (w *World) earliest() *End {
	var due []*End
	for _, e := range w.Ends {
		if e.Machine != nil && !e.Machine.Next().IsZero() {
			due = append(due, e)
		}
	}
	if len(due) == 0 {
		return nil
	}
	return slices.MinFunc(due, func(a, b *End) int { return cmp.Compare(a.Machine.Next().UnixNano(), b.Machine.Next().UnixNano()) })
}

var _ sa.Installer = (*Plane)(nil)
