// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// strangeRequests lets B get requests of IKE SAs that nobody has. What B answers gets lost.
func strangeRequests(w *World, n int, from func(i int) netip.AddrPort) (answers int) {
	sent := w.B.Sends
	for i := range n {
		h := wire.Header{SPIi: wire.SPI{1}, SPIr: wire.SPI{2}, Exchange: wire.Informational, Initiator: true}
		binary.BigEndian.PutUint32(h.SPIi[4:], uint32(i))
		w.Forge(w.B, w.B.Endpoint(), from(i), must((&wire.Message{Header: h}).Append(nil)))
	}
	answers = w.B.Sends - sent
	for range answers {
		w.Lose("B I← INVALID_IKE_SPI")
	}
	return answers
}

// lostSPI is INVALID_SPI in clear, of no IKE SA, as anybody can send it.
func lostSPI(spi uint32, spii wire.SPI) []byte {
	h := wire.Header{SPIi: spii, Exchange: wire.Informational, Initiator: true}
	return must((&wire.Message{Header: h, Payloads: []wire.Payload{&wire.Notify{Type: wire.InvalidSPI, Data: octets(spi)}}}).Append(nil))
}

// TestCasesLostHub are about a hub that comes back without memory: its spokes are there again
// at once, and nobody else can make them doubt for nothing.
func TestCasesLostHub(t *testing.T) {
	alone := Options{Alone: true, Either: true}
	Run(t,
		Case{Name: "lost-hub-gets-esp", Options: alone, Loss: true, Ways: []string{"SPIs are zero", "SPIs are random"}, Run: func(w *World) {
			tokens(w)
			if w.Way == "SPIs are random" {
				w.On("B I→ INVALID_SPI", func(m *Message) { m.SPIi, m.SPIr = wire.SPI{1, 2, 3}, wire.SPI{4, 5, 6} })
			}
			old := w.A.SA()
			restarts(w)
			began := w.Now
			w.B.UnknownSPI(old)
			w.Deliver("B I→ INVALID_SPI", "A I→ ∅", "B I← INVALID_IKE_SPI QUICK_CRASH_DETECTION", "A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			w.True(!w.Plain() || w.Now.Equal(began), "it took %s", w.Now.Sub(began))
			w.Calm()
			reborn(w)
		}},
		Case{Name: "lost-hub-gets-esp, many spokes of one address", Options: Options{Alone: true, Both: grouped}, Loss: true, Run: func(w *World) {
			nat := w.NAT("203.0.113.1", w.A)
			policy := *w.A.Connection()
			policy.Local = identityOf("c.test")
			w.B.Reconfigure(anybody)
			c := w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{&policy}})
			c.Behind(nat)
			tokens(w)
			c.Want(w.B)
			w.Run(10 * time.Second)
			ofA, ofC := w.A.SA(), c.SA()
			if w.Storm() && (ofA == nil || ofC == nil) {
				return
			}
			from := func(e *End, s *SA) *sa.UnknownSPI {
				return &sa.UnknownSPI{Local: w.B.Reached(4500), Remote: e.Reached(4500), SPI: s.Outbound}
			}
			restarts(w)
			for range 100 {
				w.B.Input(from(c, ofC))
			}
			w.Count("B I→ INVALID_SPI", 1)
			w.Run(time.Second)
			w.True(c.Ups == 2, "C is there again")
			w.B.Input(from(w.A, ofA))
			w.Run(time.Second)
			w.True(w.A.Ups == 2, "and A is, although B has an IKE SA with its address again")
			w.Drain()
			w.A.Unwant(w.B)
			c.Unwant(w.B)
		}},
		Case{Name: "lost-hub-gets-esp, not by who connects anyway", Options: alone, Loss: true, Run: func(w *World) {
			tokens(w)
			old := w.A.SA()
			restarts(w)
			w.B.Connect(w.A)
			w.B.UnknownSPI(old)
			w.Never("B I→ INVALID_SPI")
			w.Run(10 * time.Second)
			w.EndIKE(1)
			w.True(w.A.Downs == 0, "A has not seen any loss")
			w.A.Unwant(w.B)
		}},
		Case{Name: "lost-hub-forged", Ways: []string{"SPIs are zero", "SPIs are random", "another SPI", "from elsewhere", "no SPI"}, Run: func(w *World) {
			ike, from, spii := w.A.IKE().ID, w.B.Endpoint(), wire.SPI{}
			if w.Way == "from elsewhere" {
				from = netip.MustParseAddrPort("203.0.113.9:500")
			}
			if w.Way == "SPIs are random" {
				spii = wire.SPI{1, 2, 3, 4, 5, 6, 7, 8}
			}
			heeded := w.Way == "SPIs are zero" || w.Way == "SPIs are random"
			for probes := 1; probes <= 3 && w.A.SA() != nil; probes++ {
				sent := w.A.Sends
				spi := w.A.SA().Outbound
				if w.Way == "another SPI" {
					spi ^= 1
				}
				b := lostSPI(spi, spii)
				if w.Way == "no SPI" {
					b = must((&wire.Message{Header: wire.Header{Exchange: wire.Informational, Initiator: true}, Payloads: []wire.Payload{&wire.Notify{Type: wire.InvalidSPI}}}).Append(nil))
				}
				for range 100 {
					w.Forge(w.A, w.A.Endpoint(), from, b)
				}
				if !heeded {
					w.True(w.A.Sends == sent, "it is never answered")
					w.Never("A I→")
					continue
				}
				w.Count("A I→", probes)
				w.Deliver("A I→ ∅", "B I← ∅")
				w.Run(11 * time.Second)
			}
			w.True(w.A.IKE().ID == ike, "it is no more than a hint")
			w.Never("A I←", "A D→", "A C→")
			w.End(1)
		}},
	)
}

// TestCasesAnswersInClear are about what strangers use up of the answers that others need.
func TestCasesAnswersInClear(t *testing.T) {
	limits := sa.Limits{ErrorsPerSecond: 120}
	Run(t,
		Case{Name: "answers-per-address", Options: Options{Limits: limits}, Loss: true, Run: func(w *World) {
			stranger := func(last byte) func(int) netip.AddrPort {
				return func(i int) netip.AddrPort {
					return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, last}), uint16(1000+i))
				}
			}
			for _, x := range []struct{ last, answers byte }{{1, 50}, {1, 0}, {2, 50}, {3, 20}, {4, 0}} {
				n := strangeRequests(w, 100, stranger(x.last))
				w.True(n == int(x.answers), "%d is answered %d times, not %d", x.last, n, x.answers)
			}
			w.Run(time.Second)
			n := strangeRequests(w, 100, stranger(4))
			w.True(n == 50, "in the next second %d times", n)
			w.End(1)
		}},
		Case{Name: "answers-invalid-spi", Options: Options{Limits: limits}, Loss: true, Run: func(w *World) {
			strays := func(last byte) {
				for n := range 120 { // two packets of each of 60 endpoints
					from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, last}), uint16(1000+n/2))
					w.B.Input(&sa.UnknownSPI{Local: w.B.Endpoint(), Remote: from, SPI: 0x01020304})
				}
			}
			sent := w.B.Sends
			for i, total := range []int{50, 100, 120, 120} {
				strays(byte(i))
				w.True(w.B.Sends-sent == total, "%d, not %d", w.B.Sends-sent, total)
			}
			w.Flush()
			w.Run(time.Second)
			sent = w.B.Sends
			strays(9)
			w.True(w.B.Sends-sent == 50, "in the next second %d", w.B.Sends-sent)
			w.Flush()
			w.End(1)
		}},
		Case{Name: "answers-invalid-ke-always", Options: Options{Alone: true, Limits: limits, A: IKE("aes128gcm16-prfsha256-x25519-ecp384"), B: IKE("aes128gcm16-prfsha256-ecp384")}, Loss: true, Run: func(w *World) {
			n := strangeRequests(w, 200, func(i int) netip.AddrPort {
				return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 500)
			})
			w.True(n == 120, "there is nothing left for strangers: %d", n)
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT← INVALID_KE_PAYLOAD", "A INIT→", "B INIT← SA", "A AUTH→", "B AUTH←")
			begun(w)
		}},
	)
}
