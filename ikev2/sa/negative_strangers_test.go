// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

func at(endpoint string) netip.AddrPort { return netip.MustParseAddrPort(endpoint) }

// guessed are headers with the SPIs of an IKE SA, of all kinds that an end could take for
// its peer's.
func guessed(i sa.Info, toInitiator bool) (all []wire.Header) {
	for _, x := range []wire.ExchangeType{wire.IKESAInit, wire.IKEIntermediate, wire.IKEAuth, wire.CreateChildSA, wire.IKEFollowupKE, wire.Informational} {
		for id := range uint32(6) {
			for _, response := range []bool{false, true} {
				all = append(all, wire.Header{SPIi: i.SPIi, SPIr: i.SPIr, Exchange: x, Initiator: !toInitiator, Response: response, MessageID: id})
			}
		}
	}
	return all
}

func negativeGuesses(t *testing.T) {
	nobodys := &crypto.Keys{Ei: bytes.Repeat([]byte{1}, 20), Er: bytes.Repeat([]byte{2}, 20)}
	ends := func(w *World) [][2]*End { return [][2]*End{{w.A, w.B}, {w.B, w.A}} }
	t.Run("right SPIs and no key", func(t *testing.T) {
		w := New(t, Options{})
		child := w.A.SA()
		for _, pair := range ends(w) {
			to, from := pair[0], pair[1]
			for _, h := range guessed(to.IKE(), to.IKE().Initiator) {
				sends := to.Sends
				unmoved(w, h.String(), func() {
					for _, p := range [][]wire.Payload{nil, {&wire.Delete{Protocol: wire.ProtocolIKE}}, deletion(child.Inbound, child.Outbound)} {
						text := must(wire.AppendInner(nil, p))
						w.Forge(to, to.Endpoint(), from.Endpoint(), seal(nobodys, h, wire.First(p), text, 0, 0))
					}
				})
				w.True(to.Sends == sends, "%s is answered: %s", h, h)
			}
		}
		w.End(1)
		w.Stays(child)
	})
	t.Run("right SPIs, in clear", func(t *testing.T) {
		w := New(t, Options{})
		child := w.A.SA()
		for _, pair := range ends(w) {
			to, from := pair[0], pair[1]
			sends := to.Sends
			for _, h := range guessed(to.IKE(), to.IKE().Initiator) {
				unmoved(w, h.String(), func() {
					for _, p := range [][]wire.Payload{
						{&wire.Delete{Protocol: wire.ProtocolIKE}}, deletion(child.Inbound, child.Outbound), {&wire.Notify{Type: wire.AuthenticationFailed}},
						{&wire.Notify{Type: wire.InvalidIKESPI}}, {&wire.Notify{Type: wire.InvalidSPI, Data: []byte{1, 2, 3, 4}}}, {&wire.Notify{Type: wire.InitialContact}},
						{&wire.Notify{Type: wire.InvalidSyntax}}, {&wire.Notify{Type: wire.QuickCrashDetection, Data: make([]byte, 32)}},
					} {
						w.Forge(to, to.Endpoint(), from.Endpoint(), must((&wire.Message{Header: h, Payloads: p}).Append(nil)))
					}
				})
			}
			w.True(to.Sends <= sends+1, "it asks the peer once, and says nothing else: %d", to.Sends-sends)
		}
		w.End(1)
		w.Stays(child)
	})
	t.Run("a token of quick crash detection", func(t *testing.T) {
		w := New(t, Options{Alone: true})
		for _, e := range []*End{w.A, w.B} {
			e.Config.CrashSecret = crypto.Secret("the secret of " + e.Name)
			e.Start()
		}
		w.A.Connect(w.B)
		w.Settle()
		begun(w)
		w.Begin()
		child := w.A.SA()
		token := w.B.IKE().SPIr
		for n := range 300 {
			guess := append(bytes.Repeat([]byte{byte(n)}, 24), token[:]...)
			h := wire.Header{SPIi: w.A.IKE().SPIi, SPIr: w.A.IKE().SPIr, Exchange: wire.Informational, Response: true}
			unmoved(w, "a token", func() {
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), must((&wire.Message{Header: h, Payloads: []wire.Payload{
					&wire.Notify{Type: wire.InvalidIKESPI}, &wire.Notify{Type: wire.QuickCrashDetection, Data: guess}}}).Append(nil)))
			})
		}
		w.End(1)
		w.Stays(child)
	})
	t.Run("SPIs that nobody has", func(t *testing.T) {
		w := New(t, Options{})
		child := w.A.SA()
		for _, pair := range ends(w) {
			to, from := pair[0], pair[1]
			sends, i := to.Sends, to.IKE()
			unmoved(w, "guesses", func() {
				for n := range 500 {
					g := i
					if n%2 == 0 { // one of the two is right
						g.SPIi[7] ^= byte(1 + n%200)
					} else {
						g.SPIr[0] ^= byte(1 + n%200)
					}
					h := guessed(g, to.IKE().Initiator)[n%72]
					if h.Exchange == wire.IKESAInit {
						h.Exchange = wire.Informational
					}
					w.Forge(to, to.Endpoint(), from.Endpoint(), seal(nobodys, h, wire.NoPayload, nil, 0, 0))
				}
			})
			w.True(to.Sends-sends <= 50, "strangers are answered %d times in a second", to.Sends-sends)
		}
		w.Flush()
		w.End(1)
		w.Stays(child)
	})
	t.Run("of a half-open SA", func(t *testing.T) {
		w := New(t, Options{Alone: true})
		w.A.Connect(w.B)
		w.Deliver("A INIT→", "B INIT←")
		i := w.A.Infos()[0]
		for _, pair := range ends(w) {
			to, from := pair[0], pair[1]
			sends := to.Sends
			for _, h := range guessed(i, to == w.A) {
				if h.Exchange == wire.IKESAInit {
					continue // anybody may send these
				}
				w.Forge(to, to.Endpoint(), from.Endpoint(), seal(nobodys, h, wire.NoPayload, nil, 0, 0))
				w.Forge(to, to.Endpoint(), from.Endpoint(), must((&wire.Message{Header: h, Payloads: []wire.Payload{&wire.Notify{Type: wire.AuthenticationFailed}}}).Append(nil)))
			}
			w.True(to.Sends == sends, "%s answers", to.Name)
		}
		begunIn(w)
	})
	t.Run("of a Child SA", func(t *testing.T) {
		w := New(t, Options{})
		child := w.A.SA()
		sends := w.A.Sends
		for n := range uint32(500) {
			w.A.Input(&sa.UnknownSPI{Local: child.Local, Remote: child.Remote, SPI: child.Inbound ^ (1 + n)})
			w.A.Input(&sa.UnknownSPI{Local: child.Local, Remote: at(fmt.Sprintf("203.0.113.7:%d", 1000+n)), SPI: child.Inbound ^ (1 + n)})
		}
		w.True(w.A.Sends <= sends+1+50, "A says INVALID_SPI %d times: once to B, in clear to an address of strangers", w.A.Sends-sends)
		w.Flush()
		w.End(1)
		w.Stays(child)
	})
}

func negativeDeletes(t *testing.T) {
	// three is A and C at B, both established.
	three := func(t *testing.T) (w *World, c *End) {
		w = New(t, Options{Alone: true, B: all(anybody, psk("a.test", "between a and b", "c.test", "between b and c"))})
		w.A.Connect(w.B)
		w.Settle()
		c = w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{goodPeer(w)}})
		c.Connect(w.B)
		w.Settle()
		w.True(c.Ups == 1 && w.A.Ups == 1 && w.B.Ups == 2, "both are there")
		w.MayBreak()
		return w, c
	}
	// says lets C say something in its own IKE SA.
	says := func(w *World, c *End, p ...wire.Payload) *Message {
		w.Run(time.Minute)
		c.Unreachable(w.B)
		w.Bend("C I→", func(m *Message) { m.Payloads = p })
		answers := w.All("B I←")
		w.Settle()
		return answers[len(answers)-1]
	}
	for _, x := range []struct {
		name  string
		what  func(child *SA) []wire.Payload
		empty bool
	}{
		{"the SPI that A takes", func(child *SA) []wire.Payload { return deletion(child.Inbound) }, true},
		{"the SPI that B takes from A", func(child *SA) []wire.Payload { return deletion(child.Outbound) }, true},
		{"both, and many others", func(child *SA) []wire.Payload {
			return deletion(1000, child.Inbound, 2000, child.Outbound, 3000)
		}, true},
		{"INVALID_SPI about it", func(child *SA) []wire.Payload {
			n := &wire.Notify{Type: wire.InvalidSPI, Data: []byte{byte(child.Inbound >> 24), byte(child.Inbound >> 16), byte(child.Inbound >> 8), byte(child.Inbound)}}
			return []wire.Payload{n}
		}, true},
		{"INITIAL_CONTACT behind IKE_AUTH", func(*SA) []wire.Payload { return []wire.Payload{&wire.Notify{Type: wire.InitialContact}} }, true},
	} {
		t.Run("by another peer, in its own IKE SA, "+x.name, func(t *testing.T) {
			w, c := three(t)
			child := w.A.SA()
			before := has(w.A)
			answer := says(w, c, x.what(child)...)
			w.True(len(answer.Payloads) == 0, "B answers %s", answer)
			w.True(w.A.Downs == 0 && w.B.Downs == 0 && c.Downs == 0, "somebody is down")
			w.Stays(child)
			w.True(len(before) > 0 && w.A.IKE().ID != 0 && w.B.Peer("a.test").ID != 0, "A's is there")
			w.Never("B C→", "B D→")
		})
	}
	t.Run("by another peer, its IKE SA, and AUTHENTICATION_FAILED", func(t *testing.T) {
		for _, p := range []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}, &wire.Notify{Type: wire.AuthenticationFailed}} {
			w, c := three(t)
			child := w.A.SA()
			says(w, c, p)
			w.True(w.B.Peer("c.test").ID == 0 && w.B.Downs == 1, "its own is gone, and that alone")
			w.Stays(child)
			w.True(w.A.Downs == 0, "A notices")
		}
	})
	t.Run("by another peer, a rekey of A's", func(t *testing.T) {
		for _, which := range []func(child *SA) uint32{func(s *SA) uint32 { return s.Inbound }, func(s *SA) uint32 { return s.Outbound }} {
			w, c := three(t)
			child := w.A.SA()
			c.Rekey(c.SA())
			w.Bend("C C→", func(m *Message) {
				m.Payloads = with(slices.Clone(m.Payloads), wire.NewChildNotify(wire.RekeySA, which(child)))
			})
			w.Expect("B C← CHILD_SA_NOT_FOUND")
			w.Flush()
			w.Stays(child)
			w.True(w.A.Downs == 0 && len(w.B.Plane.All(Installed, Retired)) == 2, "A's stays")
		}
	})
	t.Run("by another peer with A's IKE SA named in its header", func(t *testing.T) {
		w, c := three(t)
		child := w.A.SA()
		c.Unreachable(w.B)
		m := waiting(w, "C I→")
		h, a := m.Header, w.A.IKE()
		h.SPIi, h.SPIr = a.SPIi, a.SPIr
		p := []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}}
		for id := range uint32(4) {
			h.MessageID = id
			unmoved(w, "a deletion", func() {
				w.Forge(w.B, w.B.Endpoint(), c.Endpoint(), seal(m.Keys(), h, wire.First(p), must(wire.AppendInner(nil, p)), 0, 0))
			})
		}
		w.Never("B D←")
		w.Stays(child)
	})
	t.Run("by nobody that is known, in clear", func(t *testing.T) {
		w, _ := three(t)
		child := w.A.SA()
		i := w.B.Peer("a.test")
		for _, h := range []wire.Header{
			{SPIi: i.SPIi, SPIr: i.SPIr, Exchange: wire.Informational, Initiator: true, MessageID: 2},
			{SPIi: i.SPIi, SPIr: i.SPIr, Exchange: wire.Informational, Initiator: true, Response: true},
			{SPIi: i.SPIi, Exchange: wire.IKESAInit, Initiator: true},
		} {
			for _, p := range [][]wire.Payload{{&wire.Delete{Protocol: wire.ProtocolIKE}}, deletion(child.Inbound), deletion(child.Outbound)} {
				unmoved(w, h.String(), func() {
					w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), must((&wire.Message{Header: h, Payloads: p}).Append(nil)))
				})
			}
		}
		w.Never("B D←", "B I←")
		w.Stays(child)
	})
}
