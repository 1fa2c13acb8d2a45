// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// has is what an end has that is established, in words; that it asks whether its peer
// lives changes nothing.
func has(e *End) string {
	text := ""
	for _, i := range e.Infos() {
		if i.State == "established" {
			i.Queued, i.Repeats = 0, 0
			text += fmt.Sprintf("%+v\n", i)
		}
	}
	return text + fmt.Sprint(e.Plane.All(Reserved, Installed, Retired), e.Ups, e.Downs)
}

// unmoved does something, and fails if it changed what an end has.
func unmoved(w *World, what string, do func()) {
	w.T.Helper()
	a, b := has(w.A), has(w.B)
	do()
	w.True(has(w.A) == a, "%s: A has\n%s\nand had\n%s", what, has(w.A), a)
	w.True(has(w.B) == b, "%s: B has\n%s\nand had\n%s", what, has(w.B), b)
}

// waiting gives the message of that name, which was not delivered yet.
func waiting(w *World, pattern string) *Message {
	w.T.Helper()
	w.Expect(pattern)
	all := w.All(pattern)
	return all[len(all)-1]
}

func negativeFragments(t *testing.T) {
	big := bytes.Repeat([]byte{7}, 4000)
	row := func(from, to, total int) func(m *Message) (cut [][]byte) {
		return func(m *Message) (cut [][]byte) {
			for n := from; n <= to; n++ {
				first := wire.NoPayload
				if n == 1 {
					first = wire.PayloadNotify
				}
				cut = append(cut, piece(first, big, uint16(n), uint16(total))(m)...)
			}
			return cut
		}
	}
	same := func(texts ...string) func(m *Message) (cut [][]byte) {
		return func(m *Message) (cut [][]byte) {
			for _, text := range texts {
				cut = append(cut, piece(wire.PayloadNotify, []byte(text), 1, 2)(m)...)
			}
			return cut
		}
	}
	unkeyed := func(m *Message) [][]byte { // by somebody who has no key
		stranger := *m.Keys()
		stranger.Ei, stranger.Er = bytes.Repeat([]byte{1}, len(stranger.Ei)), bytes.Repeat([]byte{2}, len(stranger.Er))
		var cut [][]byte
		for n := range uint16(32) {
			cut = append(cut, seal(&stranger, m.Header, wire.NoPayload, big, n+1, 32))
		}
		return cut
	}
	// A message of the peer's in fewer fragments than are there is late (RFC 7383, section
	// 2.6): who has the key gets in nobody's way but its own. A whole one ends it.
	for _, c := range []struct {
		name string
		cut  func(m *Message) [][]byte // what the peer, or somebody, sends before the message
		kept int                       // of it, at most
	}{
		{"oversized, 31 of 32 fragments, 124,000 octets", row(2, 32, 32), 32},
		{"oversized, more fragments than a message may have", row(1, 33, 33), 0},
		{"oversized, of 65,535 fragments", row(65000, 65010, 65535), 0},
		{"overlapping, the same number with other octets", same("one", "two", "three"), 1},
		{"overlapping, the same number in two totals", joined(row(2, 2, 3), row(2, 2, 4), row(2, 2, 3)), 1},
		{"overlapping, the total becomes less than a number that is there", joined(row(5, 5, 5), row(1, 1, 2)), 1},
		{"numbers outside of the total", joined(row(3, 4, 2), piece(0, big, 0, 2)), 0},
		{"by somebody without a key", unkeyed, 0},
	} {
		hostile := func(w *World, pattern string, to *End) {
			m := waiting(w, pattern)
			unmoved(w, c.name, func() {
				for _, b := range c.cut(m) {
					w.Forge(to, to.Endpoint(), m.From.Endpoint(), b)
					kept(w, c.kept)
				}
			})
		}
		t.Run(c.name, func(t *testing.T) {
			size := 60000
			if c.kept == 0 {
				size = 576
			}
			w := New(t, Options{Alone: true, Both: packets(size), IKE: "aes128gcm16-prfsha256-x25519-ke1_mlkem768"})
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			for _, pattern := range []string{"A X→", "B X←", "A AUTH→", "B AUTH←"} {
				hostile(w, pattern, map[byte]*End{'A': w.B, 'B': w.A}[pattern[0]])
				w.Deliver(pattern)
			}
			w.A.Rekey(w.A.SA())
			for _, pattern := range []string{"A C→", "B C←", "A D→", "B D←"} {
				hostile(w, pattern, map[byte]*End{'A': w.B, 'B': w.A}[pattern[0]])
				w.Deliver(pattern)
			}
			kept(w, 0)
			begunIn(w)
		})
	}
}

func negativeReplays(t *testing.T) {
	// every gives all messages that were sent.
	every := func(w *World) (all []*Message) {
		for _, end := range []string{"A", "B"} {
			for _, kind := range []string{"INIT", "X", "AUTH", "C", "F", "D", "I"} {
				for _, arrow := range []string{"→", "←"} {
					all = append(all, w.All(end+" "+kind+arrow)...)
				}
			}
		}
		return all
	}
	reflect := func(w *World, m *Message, flags byte) {
		for _, b := range m.Packets {
			b = slices.Clone(b)
			b[19] ^= flags
			w.Forge(m.From, m.Local, m.Remote, b)
		}
	}
	const ofInitiator, response = 0x08, 0x20
	for _, c := range []struct {
		name string
		do   func(w *World, m *Message)
	}{
		{"replayed", func(w *World, m *Message) { w.Copy(m, m.From.Endpoint()) }},
		{"replayed from elsewhere", func(w *World, m *Message) { w.Copy(m, at("203.0.113.66:4500")) }},
		{"reflected", func(w *World, m *Message) { reflect(w, m, 0) }},
		{"reflected, as of the other end", func(w *World, m *Message) { reflect(w, m, ofInitiator) }},
		{"reflected, as an answer", func(w *World, m *Message) { reflect(w, m, response) }},
		{"reflected, as the other end's answer", func(w *World, m *Message) { reflect(w, m, ofInitiator|response) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := New(t, Options{Alone: true, IKE: "aes128gcm16-prfsha256-x25519-ke1_ecp256", ESP: "aes128gcm16-x25519-ke1_ecp256"})
			tried := 0
			try := func(sent []*Message) {
				for _, m := range sent {
					unmoved(w, c.name+", "+m.String(), func() { c.do(w, m) })
					w.ForgetWindows()
					tried++
				}
			}
			// step does something that sends, with all that was sent before while it is on its
			// way, and with all that was sent when it is done.
			step := func(do func()) {
				before := every(w)
				do()
				try(before)
				w.Settle()
				sent := every(w)
				try(sent)
				// What is answered is answered as before; strangers, and who begins anew, get
				// what keeps nothing but a half-open SA.
				probes := 0
				for _, m := range every(w) {
					known := slices.ContainsFunc(sent, func(o *Message) bool { return o.From == m.From && slices.EqualFunc(o.Packets, m.Packets, bytes.Equal) })
					switch {
					case known || m.Keys() == nil:
					case m.Exchange == wire.Informational && !m.Response && len(m.Payloads) == 0:
						probes++
					default:
						t.Errorf("it made an end send %s", m)
					}
				}
				if probes > 4 { // one of each end in each IKE SA
					t.Errorf("it made the ends ask %d times", probes)
				}
				w.Flush()
			}
			step(func() { w.A.Connect(w.B) })
			step(func() { w.A.Rekey(w.A.SA()) })
			step(func() { w.B.Rekey(w.B.SA()) })
			step(func() { w.A.Unreachable(w.B) })
			step(func() { w.B.RekeyIKE() })
			step(func() { w.A.RekeyIKE() })
			step(func() { w.A.Create() })
			step(func() { w.B.Rekey(w.B.SA()) })
			w.Run(time.Minute)
			w.EndIKE(1)
			w.Flows()
			if tried < 100 {
				t.Errorf("only %d messages", tried)
			}
		})
	}
}
