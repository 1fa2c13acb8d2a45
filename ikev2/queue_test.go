// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"crypto/rand"
	"net/netip"
	"testing"

	"github.com/rs/zerolog"

	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

var (
	here  = netip.MustParseAddrPort("192.0.2.1:500")
	there = netip.MustParseAddrPort("198.51.100.7:500")
)

// idle is a service that nobody runs, so that its queues only fill. It has two IKE SAs:
// as responder that of message(1, …), and as initiator that of cookie.
func idle(t *testing.T) *Service {
	t.Helper()
	s := New(Config{Machine: sa.Config{Connections: []*sa.Connection{connection(t, "net", "a.example.net")}, Installer: newPlane()}, Log: zerolog.Nop()})
	s.spis.set(wire.SPI{7: 1}, true)
	s.spis.set(wire.SPI{0: 1}, true)
	return s
}

// message is a header with some responder's SPI, and n octets behind it.
func message(spi byte, n int) []byte {
	b := make([]byte, wire.HeaderSize+n)
	b[0], b[15], b[17], b[18], b[19] = 1, spi, 0x20, byte(wire.IKESAInit), 8
	return b
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	s := idle(t)
	deliver := func(b []byte, times int) (taken int) {
		for range times {
			if s.Deliver(here, there, b) {
				taken++
			}
		}
		return taken
	}
	if n := deliver(message(0, 0), newQueue+7); n != newQueue {
		t.Errorf("%d messages that ask for a new IKE SA are taken, want %d", n, newQueue)
	}
	if n := deliver([]byte("short"), 1) + deliver(message(2, 0), 1); n != 0 {
		t.Error("one of no IKE SA is taken before those that wait")
	}
	// They do not keep those out that belong to IKE SAs, also where the responder has
	// no SPI yet and wants a cookie.
	cookie := message(0, 8)
	cookie[19] = 0x20
	if n := deliver(cookie, 1) + deliver(message(1, 0), knownQueue+2); n != knownQueue {
		t.Errorf("%d messages of IKE SAs are taken, want %d", n, knownQueue)
	}
	for range hintQueue + 2 {
		s.Hint(&sa.Unreachable{Local: here, Remote: there})
	}
	c := s.Counters()
	if c.NewDropped != 9 || c.KnownDropped != 3 || c.HintsDropped != 2 || c.Received != newQueue+9+knownQueue+3 {
		t.Errorf("counters %+v", c)
	}
}

func TestMessagesThatWaitAreBoundedInOctets(t *testing.T) {
	s := idle(t)
	large := message(1, 60_000)
	taken := 0
	for s.Deliver(here, there, large) {
		taken++
	}
	if want := queueOctets / len(large); taken != want {
		t.Errorf("%d messages of %d octets are taken, want %d", taken, len(large), want)
	}
	if s.Counters().KnownDropped != 1 {
		t.Errorf("counters %+v", s.Counters())
	}
}

func TestControlInputsAreNotLost(t *testing.T) {
	s := newStation(t, "a.example.net")
	const n = 20_000
	for range n {
		s.Put(&sa.Connect{Connection: "nobody's", Local: s.at, Remote: there, Once: true})
	}
	eventually(t, "each is answered", func() bool { return len(s.told()) == n })
}

// TestAFloodOfStrangersDoesNotStopWhatStands: rekeys and new keys go on, while messages
// that ask for a new IKE SA, or are of none, fill their queue.
func TestAFloodOfStrangersDoesNotStopWhatStands(t *testing.T) {
	a, b := connected(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for made := 0; ; made++ {
			select {
			case <-stop:
				return
			default:
			}
			m := message(0, 40)
			_, _ = rand.Read(m[:8+made%2*8])
			b.Deliver(b.at, there, m)
		}
	}()
	defer func() { close(stop); <-stopped }()
	eventually(t, "the queue is full", func() bool { return b.Counters().NewDropped > 1000 })
	for range 5 {
		before, _ := agree(a, b)
		if _, err := a.Rekey(t.Context(), "b.example.net", true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a rekey", func() bool { spi, ok := agree(a, b); return ok && spi != before })
	}
	if c := b.Counters(); c.KnownDropped != 0 {
		t.Errorf("counters %+v", c)
	}
}
