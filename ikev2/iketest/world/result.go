// SPDX-License-Identifier: Apache-2.0

package world

import "encoding/binary"

// What a row's end state says. Each of these drains first, and none looks at
// anything under random loss, when only the invariants hold.

// End fails unless after the drain each end has n Child SAs. Where n is 0 each end was
// told once that the peer is down; else the peer was up all the time.
func (w *World) End(n int) {
	w.T.Helper()
	downs := 0
	if n == 0 {
		downs = 1
	}
	w.EndDowns(n, downs)
}

// EndDowns is End for a row with other ups and downs: how often each end was told
// that the peer is down since the case began, -1 for as often as it was. That it is up it
// was told as often as that must have been.
func (w *World) EndDowns(n, downs int) {
	w.T.Helper()
	w.Drain()
	if w.Storm() {
		return
	}
	for _, e := range []*End{w.A, w.B} {
		if all := e.Plane.All(Installed, Retired); len(all) != n {
			w.stop("%s has %d Child SAs at the end, not %d: %v", e.Name, len(all), n, all)
		}
		ups := downs + len(e.up)
		if e.wasUp {
			ups--
		}
		if downs >= 0 && (e.Downs != downs || e.Ups != ups) {
			w.stop("%s was told %d times that the peer is up and %d times that it is down, not %d and %d", e.Name, e.Ups, e.Downs, ups, downs)
		}
	}
}

// EndIKE fails unless after the drain each end has n IKE SAs.
func (w *World) EndIKE(n int) {
	w.T.Helper()
	w.Drain()
	if w.Storm() {
		return
	}
	for _, e := range []*End{w.A, w.B} {
		if all := w.view(e); len(all) != n {
			w.stop("%s has %d IKE SAs at the end, not %d: %v", e.Name, len(all), n, all)
		}
	}
}

// Uses fails unless an end sends by an SA, whichever half is given.
func (w *World) Uses(e *End, s *SA) {
	w.T.Helper()
	if h := e.half(s); !w.Storm() && !h.Current() {
		w.stop("%s sends by %s, not by %s", e.Name, e.SA(), h)
	}
}

// Stays fails unless both halves of an SA are what packets leave by.
func (w *World) Stays(s *SA) {
	w.T.Helper()
	w.Uses(w.A, s)
	w.Uses(w.B, s)
}

// Unused fails if packets ever left by an SA.
func (w *World) Unused(all ...*SA) {
	w.T.Helper()
	for _, s := range all {
		if s != nil && s.Used && !w.Storm() {
			w.stop("packets left by %s", s)
		}
	}
}

// Made gives both halves of the Child SA that an end's last CREATE_CHILD_SA request was
// about; nil where it was never installed.
func (w *World) Made(e *End) (own, other *SA) {
	for _, x := range w.Ends {
		for _, s := range x.Plane.order {
			for _, m := range w.All(e.Name + " C→ ESP") {
				spi := binary.BigEndian.Uint32(m.SPI())
				switch {
				case x == e && s.Inbound == spi && s.Outbound != 0:
					own = s
				case x != e && s.Outbound == spi:
					other = s
				}
			}
		}
	}
	return own, other
}

// All gives the messages that a pattern names and that were sent since the case began,
// each once, however often it was repeated. Under random loss there may be fewer.
func (w *World) All(pattern string) []*Message {
	var all []*Message
	for _, m := range w.sent {
		if _, ok := m.matches(pattern); ok {
			all = append(all, m)
		}
	}
	return all
}

// Count fails unless just so many messages were sent that a pattern names.
func (w *World) Count(pattern string, n int) {
	w.T.Helper()
	if have := len(w.All(pattern)); have != n && !w.Storm() {
		w.stop("%q was sent %d times, not %d", pattern, have, n)
	}
}

// Never fails if a message was sent that a pattern names.
func (w *World) Never(patterns ...string) {
	w.T.Helper()
	for _, p := range patterns {
		w.Count(p, 0)
	}
}

// Flows fails unless packets go both ways.
func (w *World) Flows() {
	w.T.Helper()
	for _, e := range []*End{w.A, w.B} {
		if err := e.Ping(); err != nil && !w.Storm() {
			w.stop("no packet passes: %v", err)
		}
	}
}

// True fails if what a row says is not so.
func (w *World) True(ok bool, format string, args ...any) {
	w.T.Helper()
	if !ok && !w.Storm() {
		w.stop("not so: "+format, args...)
	}
}
