// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// flood is IKE_SA_INIT requests like one that was seen, each with an SPI of its own.
type flood struct {
	w    *World
	like *Message
	n    uint32
}

// next makes one, with a cookie unless it is nil.
func (f *flood) next(cookieData []byte) []byte {
	f.n++
	return f.again(f.n, cookieData)
}

// again makes the one with a number anew.
func (f *flood) again(n uint32, cookieData []byte) []byte {
	return altered(f.w, f.like, func(h *wire.Header, p []wire.Payload) []wire.Payload {
		binary.BigEndian.PutUint32(h.SPIi[:], 0xf1000000+n)
		return cookie(cookieData)(h, p)
	})
}

// send gives B a datagram, without a trace in the World, and returns the payloads of the
// answer, nil for none, and how many lines it wrote into the log.
func (f *flood) send(from netip.AddrPort, b []byte) (answer []wire.Payload, lines int) {
	for _, a := range f.w.B.Machine.Handle(f.w.Now, &sa.Datagram{Local: f.w.B.Endpoint(), Remote: from, Data: b}) {
		switch a := a.(type) {
		case *sa.Send:
			answer = must(wire.Parse(a.Data)).Payloads
		case *sa.Report:
			lines++
		}
	}
	return answer, lines
}

// askedFor gives the cookie that is asked for; nil if none is.
func askedFor(answer []wire.Payload) []byte {
	if n := wire.FindNotify(answer, wire.Cookie); n != nil {
		return n.Data
	}
	return nil
}

// accepted says whether a half-open SA came of it.
func accepted(answer []wire.Payload) bool {
	_, ok := wire.Find[*wire.SA](answer)
	return ok
}

// strangerAt is one of many addresses.
func strangerAt(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}), 500)
}

// flooded begins a flood like A's request, which stays on its way.
func flooded(w *World, do func(f *flood)) {
	w.A.Connect(w.B)
	for _, m := range w.All("A INIT→")[:min(1, len(w.All("A INIT→")))] {
		do(&flood{w: w, like: m})
	}
}

// TestCasesHalfOpen are the limits of section 15.
func TestCasesHalfOpen(t *testing.T) {
	alone := func(l sa.Limits) Options { return Options{Alone: true, Limits: l} }
	Run(t,
		Case{Name: "halfopen-cookie-before-dh", Options: alone(sa.Limits{CookieThreshold: 3}), Run: func(w *World) {
			flooded(w, func(f *flood) {
				for n := range 3 {
					answer, _ := f.send(strangerAt(n), f.next(nil))
					w.True(accepted(answer), "number %d is below the limit", n)
				}
				f.send(strangerAt(3), f.next(nil)) // for it a secret is drawn
				before := len(exported(w.B, w))
				for n := range 20 {
					answer, lines := f.send(strangerAt(10+n), f.next(nil))
					w.True(len(askedFor(answer)) > 0 && lines == 0, "number %d must return a cookie", n)
				}
				w.True(w.B.Machine.Counters().HalfOpen == 3 && len(exported(w.B, w)) == before, "no state without a cookie")
				// A key exchange would find out that this public value is none (RFC 7748, section 6.1).
				zero := func(data []byte) []byte {
					return altered(w, f.like, func(h *wire.Header, p []wire.Payload) []wire.Payload {
						h.SPIi[0] ^= 1
						return cookie(data)(h, with(p, &wire.KeyExchange{Method: wire.Curve25519, Data: make([]byte, 32)}))
					})
				}
				answer, _ := f.send(strangerAt(1), zero(nil))
				data := askedFor(answer)
				w.True(len(data) > 0, "no key exchange without a cookie: %v", answer)
				answer, _ = f.send(strangerAt(1), zero(data))
				w.True(wire.FindNotify(answer, wire.InvalidSyntax) != nil, "one with a good cookie: %v", answer)
			})
			w.Deliver("A INIT→ !COOKIE", "B INIT← COOKIE", "A INIT→ COOKIE", "B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "halfopen-per-address", Options: alone(sa.Limits{PerAddress: 2, PerAddressCookie: 5}), Run: func(w *World) {
			shared(w, strangerAt(10), func(n uint32) netip.AddrPort { return netip.AddrPortFrom(strangerAt(9).Addr(), uint16(10000+n)) })
		}},
		Case{Name: "halfopen-per-prefix", Options: alone(sa.Limits{PerAddress: 2, PerAddressCookie: 5}), Run: func(w *World) {
			shared(w, netip.MustParseAddrPort("[2001:db8:10::1]:500"), func(n uint32) netip.AddrPort {
				return netip.MustParseAddrPort(fmt.Sprintf("[2001:db8:9::%x]:500", n))
			})
		}},
		Case{Name: "halfopen-timeout", Options: alone(sa.Limits{}), Run: func(w *World) {
			flooded(w, func(f *flood) {
				for n := range 10 {
					_, lines := f.send(strangerAt(n), f.next(nil))
					w.True(lines == 0, "no line in the log")
				}
				w.B.Input(&sa.Elapsed{})
				sent, reports := w.B.Sends, len(w.B.Reports)
				w.Wait(29 * time.Second)
				w.True(w.B.Machine.Counters().HalfOpen == 10, "they wait for IKE_AUTH")
				w.Wait(2 * time.Second)
				c := w.B.Machine.Counters()
				w.True(c.HalfOpen == 0 && len(w.B.Infos()) == 0, "their time is over: %d", c.HalfOpen)
				w.True(c.HalfOpenExpired == 10 || !w.Counts(), "they are counted: %d", c.HalfOpenExpired)
				w.True(w.B.Sends == sent && len(w.B.Reports) == reports, "nobody is told")
			})
			begun(w)
		}},
		Case{Name: "halfopen-slow-auth", Options: Options{Alone: true, Both: func(c *sa.Connection) { c.FragmentSize = 160 }}, Loss: true, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			for _, m := range w.All("A AUTH→") {
				w.True(len(m.Packets) > 2, "it is in fragments")
				last := len(m.Packets) - 1
				for n := range 40 {
					w.Wait(time.Second)
					w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), m.Packets[n%last])
					w.True((w.B.Machine.Counters().HalfOpen == 1) == (n < 29), "after %d s", n+1)
				}
				kept, size := w.B.Machine.Kept(m.SPIi)
				w.True(kept == 0 && size == 0, "nothing is kept of it")
			}
			w.Deafen("A AUTH→")
			w.EndIKE(0)
			w.True(len(w.A.Failures) == 1, "the attempt has failed: %v", w.A.Failures)
		}},
		Case{Name: "halfopen-slow-auth, octets", Options: Options{Alone: true}, Loss: true, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			for _, m := range w.All("A AUTH→") {
				give := func(number, total uint16, size int) (n, octets int) {
					w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), seal(m.Keys(), m.Header, wire.PayloadNotify, make([]byte, size), number, total))
					return w.B.Machine.Kept(m.SPIi)
				}
				n, _ := give(1, wire.MaxFragments+1, 1)
				w.True(n == 0, "33 fragments are too many")
				for i := range wire.MaxFragments - 1 {
					n, size := give(uint16(i+1), wire.MaxFragments, 8<<10)
					w.True(n <= wire.MaxFragments && size <= 32<<10, "%d fragments of %d octets are kept", n, size)
				}
			}
			w.Deliver("A AUTH→", "B AUTH←") // is whole
			begun(w)
		}},
	)
}

// TestCasesFloods are the floods of section 15.
func TestCasesFloods(t *testing.T) {
	Run(t,
		Case{Name: "halfopen-established-unharmed", Options: Options{Both: all(liveness, anybody, psk("*", "everybody's"))}, Loss: true, Run: func(w *World) {
			w.Horizon = 20 * time.Second
			c := w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{w.A.Connection()}})
			policy := *w.A.Connection()
			policy.Local = identityOf("c.test")
			c.Config.Connections = []*sa.Connection{&policy}
			restart(w, c)
			c.Connect(w.B) // what a flood's requests look like
			all := w.All("C INIT→")
			f := &flood{w: w, like: all[0]}
			w.Lose("C INIT→")
			// A tenth of a second at 100 000 a second, at each step.
			const each = 10000
			template := f.next(nil)
			pour := func() {
				before := w.B.Machine.Counters()
				var asked, made, logged int
				for range each {
					f.n++
					binary.BigEndian.PutUint32(template, f.n)
					answer, lines := f.send(strangerAt(int(f.n%60000)), template)
					if logged += lines; accepted(answer) {
						made++
					} else if askedFor(answer) != nil {
						asked++
					}
				}
				after := w.B.Machine.Counters()
				w.True(asked+made == each && logged == 0, "%d were asked for a cookie, %d accepted, with %d lines in the log", asked, made, logged)
				w.True(after.InitReceived-before.InitReceived == each && after.CookiesSent-before.CookiesSent == uint64(asked), "the counters are exact: %+v", after)
				w.True(after.HalfOpen <= 64+1, "%d are half-open", after.HalfOpen)
			}
			pour()
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			before := int64(m.HeapAlloc)
			pour()
			runtime.GC()
			runtime.ReadMemStats(&m)
			w.True(int64(m.HeapAlloc)-before < 1<<20, "memory grew by %d octets", int64(m.HeapAlloc)-before)
			old := w.A.SA()
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←", "A D→", "B D←")
			pour()
			hintOf(w.B, w.A)
			w.Deliver("B I→ ∅", "A I← ∅")
			pour()
			w.WaitFor("C INIT→")
			w.Deliver("C INIT→ !COOKIE", "B INIT← COOKIE", "C INIT→ COOKIE", "B INIT← SA", "C AUTH→", "B AUTH←")
			w.True(c.Ups == 1 && w.A.Downs == 0 && w.B.Downs == 0, "a new peer is up, and nobody is down")
			w.Run(31 * time.Second)
			w.Drain()
			w.Flows()
		}},
		Case{Name: "halfopen-auth-oracle", Options: Options{Alone: true, Limits: sa.Limits{CookieThreshold: -1, PerAddressCookie: 6}}, Loss: true, Run: func(w *World) {
			// C guesses the key of somebody, and of nobody, in turn.
			var guesses []*End
			for n := range 10 {
				policy := *w.A.Connection()
				policy.Local = identityOf([]string{"a.test", "nobody.test"}[n%2])
				policy.Peers = nil
				psk("*", fmt.Sprintf("guess %d", n))(&policy)
				c := w.Add(fmt.Sprintf("C%d", n), "198.51.100.3", sa.Config{Connections: []*sa.Connection{&policy}})
				guesses = append(guesses, c)
			}
			nat := w.NAT("203.0.113.1", guesses...)
			nat.Open = true
			w.Strangers()
			for _, c := range guesses {
				c.Connect(w.B)
			}
			w.Run(20 * time.Second)
			sizes := map[int]bool{}
			for _, m := range w.All("B AUTH←") {
				sizes[len(m.Packets[0])] = true
				w.True(len(m.Payloads) == 1 && m.Notify(wire.AuthenticationFailed) != nil, "the answer says no more: %s", m)
			}
			w.True(len(sizes) == 1, "all answers are alike: %v", sizes)
			w.Count("B AUTH←", 6)
			w.True(w.B.Machine.Counters().AuthFailed == 6 || !w.Counts(), "they are counted: %+v", w.B.Machine.Counters())
			w.A.Connect(w.B)
			w.Run(time.Second)
			w.True(w.A.Ups == 1, "from another address one gets in, with the same identity")
			w.Run(3 * time.Minute) // what was refused is at an end, and the others have their turn
			said := w.All("B AUTH← AUTHENTICATION_FAILED")
			w.True(len(said) > 6, "the others were heard too: %d", len(said))
			for i := 6; i < len(said); i++ {
				w.True(said[i].Sent.Sub(said[i-6].Sent) >= 30*time.Second, "never more than 6 in half a minute: %v, %v", said[i-6].Sent, said[i].Sent)
			}
			w.Flows()
		}},
	)
}

// TestCasesOwnAttempts is halfopen-own-attempts of section 15.
func TestCasesOwnAttempts(t *testing.T) {
	destination := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 500)
	}
	Run(t,
		Case{Name: "halfopen-own-attempts", Options: Options{Alone: true, Limits: sa.Limits{Attempts: 4}}, Loss: true, Ways: []string{"once", "for ever"}, Run: func(w *World) {
			const wanted = 14
			for n := range wanted {
				w.A.Input(&sa.Connect{Connection: "t", Local: w.A.Endpoint(), Remote: destination(n), Once: w.Way == "once"})
				w.Wait(time.Second)
				w.True(w.A.Machine.Counters().Attempts <= 4, "%d attempts", w.A.Machine.Counters().Attempts)
			}
			w.A.Connect(w.B)
			w.Run(30 * time.Minute)
			var order []netip.AddrPort
			for _, m := range w.All("A INIT→") {
				if !slices.Contains(order, m.Remote) {
					order = append(order, m.Remote)
				}
			}
			w.True(len(order) == wanted+1, "%d of %d were tried", len(order), wanted+1)
			w.True(slices.IsSortedFunc(order[:min(wanted, len(order))], netip.AddrPort.Compare), "the oldest first: %v", order)
			w.True(w.A.Ups == 1 && w.B.Ups == 1, "the one that is there is reached")
			for n := range wanted {
				w.A.Input(&sa.Disconnect{Connection: "t", Remote: destination(n)})
			}
			w.EndIKE(1)
		}},
	)
	t.Run("halfopen-own-attempts, 10 000", func(t *testing.T) {
		w := New(t, Options{Alone: true})
		tried := map[netip.AddrPort]bool{}
		carry := func(actions []sa.Action) {
			for _, a := range actions {
				if s, ok := a.(*sa.Send); ok {
					tried[s.Remote] = true
				}
			}
			if n := w.A.Machine.Counters().Attempts; n > 256 {
				t.Fatalf("%d attempts", n)
			}
		}
		for n := range 10000 {
			carry(w.A.Machine.Handle(w.Now, &sa.Connect{Connection: "t", Local: w.A.Endpoint(), Remote: destination(n)}))
		}
		if len(tried) != 256 {
			t.Errorf("%d are tried at once", len(tried))
		}
		for len(tried) < 10000 && w.Now.Year() < 2027 {
			w.Now = w.A.Machine.Next()
			carry(w.A.Machine.Handle(w.Now, &sa.Elapsed{}))
		}
		if len(tried) != 10000 {
			t.Errorf("%d were ever tried", len(tried))
		}
	})
}

// shared: many come from one address, or from the addresses of one sender.
func shared(w *World, another netip.AddrPort, port func(n uint32) netip.AddrPort) {
	flooded(w, func(f *flood) {
		cookies := map[uint32][]byte{}
		for range 12 {
			answer, _ := f.send(port(f.n+1), f.next(nil))
			w.True(accepted(answer) == (f.n <= 2), "number %d of one address: %v", f.n, answer)
			if f.n > 2 {
				cookies[f.n] = askedFor(answer)
			}
		}
		for n := uint32(3); n <= f.n; n++ {
			answer, lines := f.send(port(n), f.again(n, cookies[n]))
			w.True(accepted(answer) == (n <= 7), "number %d of one address, with its cookie: %v", n, answer)
			w.True(n <= 7 || answer == nil && lines == 0, "the rest is not answered: %v", answer)
		}
		answer, _ := f.send(another, f.next(nil))
		w.True(accepted(answer), "another address is not concerned")
		w.Wait(31 * time.Second)
		answer, _ = f.send(port(99), f.next(nil))
		w.True(accepted(answer), "nor is this one for ever")
	})
	begun(w)
}
