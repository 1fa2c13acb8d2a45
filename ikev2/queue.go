// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Deliver hands in an IKE message that arrived, without its non-ESP marker, and does
// not wait: one that finds the queue full is dropped, counted and reported as false.
// It copies data.
func (s *Service) Deliver(local, remote netip.AddrPort, data []byte) bool {
	s.counters.received.Add(1)
	queue, dropped := s.fresh, &s.counters.newDropped
	if s.spis.has(data) {
		queue, dropped = s.known, &s.counters.knownDropped
	}
	size := int64(len(data))
	if s.waiting.Add(size) > queueOctets {
		s.waiting.Add(-size)
		dropped.Add(1)
		return false
	}
	select {
	case queue <- &sa.Datagram{Local: local, Remote: remote, Data: slices.Clone(data)}:
		return true
	default:
		s.waiting.Add(-size)
		dropped.Add(1)
		return false
	}
}

// ownSPIs are those of the IKE SAs that there are: the loop sets them, and everybody
// may ask. What has one goes before what anybody can make up.
type ownSPIs struct{ own sync.Map } // keys are wire.SPI

func (s *ownSPIs) set(own wire.SPI, there bool) {
	if there {
		s.own.Store(own, struct{}{})
	} else {
		s.own.Delete(own)
	}
}

// has says whether a message is to an IKE SA that there is: our own SPI is the responder's
// in what the original initiator sends (RFC 7296, section 3.1), and the initiator's else.
func (s *ownSPIs) has(message []byte) bool {
	const fromInitiator = 0x08
	if len(message) < wire.HeaderSize {
		return false
	}
	own := wire.SPI(message[:8])
	if message[19]&fromInitiator != 0 {
		own = wire.SPI(message[8:16])
	}
	_, there := s.own.Load(own)
	return there
}

// Hint hands in an UnknownSPI or Unreachable, which anybody can cause: it does not
// wait, and what finds the queue full is dropped and counted.
func (s *Service) Hint(in sa.Input) {
	select {
	case s.hints <- in:
	default:
		s.counters.hintsDropped.Add(1)
	}
}

// Put hands in any other input. It does not wait, and the input is not lost.
func (s *Service) Put(in sa.Input) {
	s.control.put(func(ctx context.Context, now time.Time) { s.handle(ctx, now, in) })
}

// inputs is a queue whose writers never wait: they are our own daemon, and their
// number is that of its peers.
type inputs struct {
	mu    sync.Mutex
	list  []func(context.Context, time.Time)
	wake  chan struct{} // has one element while the list has any
	ended bool          // nobody takes any more
}

func (q *inputs) put(do func(context.Context, time.Time)) {
	q.mu.Lock()
	if !q.ended {
		q.list = append(q.list, do)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *inputs) take() []func(context.Context, time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}

// end drops what waits, and what comes.
func (q *inputs) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list, q.ended = nil, true
}

type counters struct {
	received, knownDropped, newDropped, hintsDropped atomic.Uint64
	sent, sendFailed, unlogged                       atomic.Uint64
}

// Counters are the service's own, beside those of the machine.
type Counters struct {
	Received     uint64 // messages handed in
	KnownDropped uint64 // of them, for IKE SAs that there are: the loop did not keep up
	NewDropped   uint64 // of them, the rest: what asks for a new IKE SA, and what is of none
	HintsDropped uint64
	Sent         uint64 // messages and keepalives
	SendFailed   uint64
	Unlogged     uint64 // reports left out of the log: too many of one peer
	TraceMissed  uint64 // lines that readers of the trace were too slow for
}

// Counters gives the service's counters.
func (s *Service) Counters() Counters {
	c := &s.counters
	return Counters{
		Received: c.received.Load(), KnownDropped: c.knownDropped.Load(), NewDropped: c.newDropped.Load(), HintsDropped: c.hintsDropped.Load(),
		Sent: c.sent.Load(), SendFailed: c.sendFailed.Load(), Unlogged: c.unlogged.Load(), TraceMissed: s.recorder.missed.Load(),
	}
}
