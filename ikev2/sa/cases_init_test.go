// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// loaded lets an end ask for a cookie from the first half-open SA on.
var loaded = sa.Limits{CookieThreshold: -1}

// altered is a message as somebody else would make it who saw it.
func altered(w *World, m *Message, change func(h *wire.Header, p []wire.Payload) []wire.Payload) []byte {
	h := m.Header
	p := change(&h, slices.Clone(m.Payloads))
	b, err := (&wire.Message{Header: h, Payloads: p}).Append(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	return b
}

// with puts another payload in the place of the one of its kind, or in front.
func with(all []wire.Payload, p wire.Payload) []wire.Payload {
	for i, o := range all {
		n, isNotify := p.(*wire.Notify)
		old, wasNotify := o.(*wire.Notify)
		if o.PayloadType() == p.PayloadType() && (!isNotify || wasNotify && old.Type == n.Type) {
			all[i] = p
			return all
		}
	}
	return append([]wire.Payload{p}, all...)
}

// reply is a response to an IKE_SA_INIT that anybody could send who saw it.
func reply(w *World, m *Message, p ...wire.Payload) []byte {
	return altered(w, m, func(h *wire.Header, _ []wire.Payload) []wire.Payload {
		h.Initiator, h.Response = false, true
		return p
	})
}

// ask lets B get a copy of an IKE_SA_INIT with some changes, and gives the cookie that B
// answers with, nil for none.
func ask(w *World, m *Message, from netip.AddrPort, change func(h *wire.Header, p []wire.Payload) []wire.Payload) []byte {
	before := len(w.All("B INIT← COOKIE"))
	w.Forge(w.B, w.B.Endpoint(), from, altered(w, m, change))
	all := w.All("B INIT← COOKIE")
	if len(all) == before {
		return nil
	}
	return all[len(all)-1].Notify(wire.Cookie).Data
}

// cookie puts a cookie in front.
func cookie(data []byte) func(h *wire.Header, p []wire.Payload) []wire.Payload {
	return func(_ *wire.Header, p []wire.Payload) []wire.Payload {
		if data == nil {
			return p
		}
		return with(p, &wire.Notify{Type: wire.Cookie, Data: data})
	}
}

// other gives an IKE_SA_INIT another SPIi, and a cookie.
func otherSPI(n byte, data []byte) func(h *wire.Header, p []wire.Payload) []wire.Payload {
	return func(h *wire.Header, p []wire.Payload) []wire.Payload {
		h.SPIi[0] ^= n
		return cookie(data)(h, p)
	}
}

// TestCasesCookies are the cookies of section 7.
func TestCasesCookies(t *testing.T) {
	alone := Options{Alone: true, Limits: loaded}
	Run(t,
		Case{Name: "sa-init-regular", Options: Options{Alone: true}, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→ =0", "B INIT← =0", "A AUTH→ =1", "B AUTH← =1")
			begun(w)
			i := w.A.IKE()
			w.True(!i.SPIi.IsZero() && !i.SPIr.IsZero(), "no SPI is 0")
		}},
		Case{Name: "ikev2-ddos-cookie-01", Options: alone, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→")
			w.True(w.B.Machine.Counters().HalfOpen == 0, "B kept no state")
			w.Deliver("B INIT← COOKIE", "A INIT→ COOKIE =0")
			first, second := w.All("A INIT→ !COOKIE")[0], w.All("A INIT→ COOKIE")[0]
			n, ok := second.Payloads[0].(*wire.Notify)
			w.True(ok && n.Type == wire.Cookie, "COOKIE is the first payload")
			plain := altered(w, second, func(_ *wire.Header, p []wire.Payload) []wire.Payload { return p[1:] })
			w.True(slices.Equal(plain, first.Packets[0]), "all else is unchanged")
			w.Deliver("B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "ikev2-ddos-cookie-02-mangle", Options: alone, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT← COOKIE")
			w.Bend("A INIT→ COOKIE", bendCookie)
			w.True(w.B.Machine.Counters().HalfOpen == 0, "B kept no state")
			w.Deliver("B INIT← COOKIE")
			w.Calm()
			w.Deliver("A INIT→ COOKIE", "B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "ikev2-ddos-cookie-03-add", Options: Options{Alone: true}, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), reply(w, w.All("A INIT→")[0], &wire.Notify{Type: wire.Cookie, Data: []byte("nobody's")}))
			w.Lose("A INIT→ !COOKIE")
			w.Deliver("A INIT→ COOKIE", "B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "cookie-secret-rotates", Options: alone, Ways: []string{"once", "twice"}, Run: func(w *World) {
			w.A.Connect(w.B)
			m := w.All("A INIT→")[0]
			first := ask(w, m, w.A.Endpoint(), cookie(nil))
			turns := 1
			if w.Way == "twice" {
				turns = 2
			}
			for n := range turns {
				w.Wait(2*time.Minute + time.Second)
				w.True(ask(w, m, w.A.Endpoint(), otherSPI(byte(n+1), nil)) != nil, "another one is asked")
			}
			again := ask(w, m, w.A.Endpoint(), cookie(first))
			if w.Way == "once" {
				w.True(again == nil && w.B.Machine.Counters().HalfOpen == 1, "the cookie of the last secret is good")
			} else {
				w.True(again != nil && w.B.Machine.Counters().HalfOpen == 0, "an older one is not")
			}
		}},
		Case{Name: "cookie-lengths", Options: Options{Alone: true}, Ways: []string{"1", "64", "0", "65"}, Run: func(w *World) {
			w.A.Connect(w.B)
			n := map[string]int{"1": 1, "64": 64, "0": 0, "65": 65}[w.Way]
			data := slices.Repeat([]byte{7}, n)
			w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), reply(w, w.All("A INIT→")[0], &wire.Notify{Type: wire.Cookie, Data: data}))
			all := w.All("A INIT→ COOKIE")
			if n == 0 || n == 65 {
				w.True(len(all) == 0, "it is dropped")
			} else {
				w.True(len(all) == 1 && slices.Equal(all[0].Notify(wire.Cookie).Data, data), "it comes back as it is")
			}
			w.Settle()
			begun(w)
		}},
		Case{Name: "cookie-rounds-bounded", Options: Options{Alone: true}, Loss: true, Ways: []string{"a peer that wants ever new ones", "forged ones beside the true answer"}, Run: func(w *World) {
			w.A.Connect(w.B)
			forge := func(n byte) {
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), reply(w, w.All("A INIT→")[0], &wire.Notify{Type: wire.Cookie, Data: []byte{n}}))
			}
			if w.Way == "forged ones beside the true answer" {
				for n := range 20 {
					forge(byte(n))
				}
				w.True(len(w.All("A INIT→")) <= 5, "20 of them cost %d messages", len(w.All("A INIT→")))
				begun(w)
				return
			}
			w.Deafen("A INIT→")
			n := byte(0)
			w.On("B INIT←", func(*Message) {})
			for range 100 {
				forge(n)
				n++
				w.Wait(5 * time.Second)
			}
			w.True(len(w.All("A INIT→")) <= 17, "A stopped after %d messages", len(w.All("A INIT→")))
			w.True(len(w.A.Failures) == 1, "the attempt has failed: %v", w.A.Failures)
		}},
		Case{Name: "cookie-bound-to-sender", Options: alone, Ways: []string{"another address", "another port", "another Ni", "another SPIi", "the same"}, Run: func(w *World) {
			w.A.Connect(w.B)
			m := w.All("A INIT→")[0]
			good := ask(w, m, w.A.Endpoint(), cookie(nil))
			from, change := w.A.Endpoint(), cookie(good)
			switch w.Way {
			case "another address":
				from = netip.MustParseAddrPort("198.51.100.9:500")
			case "another port":
				from = netip.AddrPortFrom(from.Addr(), 501)
			case "another Ni":
				change = func(h *wire.Header, p []wire.Payload) []wire.Payload {
					return cookie(good)(h, with(p, wire.Nonce(slices.Repeat([]byte{9}, 32))))
				}
			case "another SPIi":
				change = otherSPI(1, good)
			}
			again := ask(w, m, from, change)
			w.True(again != nil == (w.Way != "the same"), "a new cookie is asked for: %x", again)
			w.True(w.B.Machine.Counters().HalfOpen == 0 || w.Way == "the same", "no state")
		}},
		Case{Name: "cookie-plus-invalid-ke", Options: Options{Alone: true, Limits: loaded, A: IKE("aes128gcm16-prfsha256-x25519-ecp256"), B: IKE("aes128gcm16-prfsha256-ecp256")},
			Ways: []string{"B asks again", "B does not"}, Run: func(w *World) {
				w.A.Connect(w.B)
				w.Deliver("A INIT→", "B INIT← COOKIE", "A INIT→ COOKIE", "B INIT← INVALID_KE_PAYLOAD")
				w.Expect("A INIT→ COOKIE")
				for i, m := range w.All("A INIT→ COOKIE") {
					ke, _ := wire.Find[*wire.KeyExchange](m.Payloads)
					w.True(i == 0 || ke.Method == wire.ECP256, "the cookie comes with the new group")
				}
				if w.Way == "B asks again" {
					w.Bend("A INIT→ COOKIE", bendCookie)
					w.Deliver("B INIT← COOKIE")
					w.Calm()
				}
				w.Deliver("A INIT→ COOKIE", "B INIT← SA", "A AUTH→", "B AUTH←")
				begun(w)
			}},
	)
}

// bendCookie changes the last octet.
func bendCookie(m *Message) {
	bent := slices.Clone(m.Notify(wire.Cookie).Data)
	bent[len(bent)-1] ^= 1
	m.Payloads = with(m.Payloads, &wire.Notify{Type: wire.Cookie, Data: bent})
}
