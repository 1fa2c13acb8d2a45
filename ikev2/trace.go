// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Implementation constants of the trace.
const (
	traceRing    = 1000                  // lines that are kept
	traceReaders = 8                     // at once
	traceQueue   = 256                   // lines that wait for one reader
	traceBurst   = 200                   // messages that nobody asked for, kept at once,
	traceEvery   = 20 * time.Millisecond // and then one each period: a flood costs nothing
)

// Line is one IKE message, decoded. Nothing in it is secret.
type Line struct {
	Time          time.Time
	Local, Remote netip.AddrPort
	Out           bool
	Message       string
	Missed        uint64 // lines before it that the reader was too slow for
}

// ErrTraces says that there are as many readers as there may be.
var ErrTraces = errors.New("ike: others are reading the trace already: end one of them")

// recorder keeps the last messages, as many as it may for their own sake and all
// that somebody asked for, and hands them to the readers.
type recorder struct {
	mu      sync.Mutex
	ring    []Line // the oldest at next, once it is full
	next    int
	readers map[*Trace]bool
	unasked allowance
	ended   bool
	missed  atomic.Uint64
}

func newRecorder() *recorder {
	return &recorder{readers: map[*Trace]bool{}, unasked: allowance{tokens: traceBurst}}
}

// A Trace is one reader of the messages with some addresses.
type Trace struct {
	// Last is what was kept before, the oldest first.
	Last []Line
	// Lines are those that come. It is closed with the service and by Close.
	Lines <-chan Line

	recorder *recorder
	of       []netip.Addr // none: all
	lines    chan Line
	missed   uint64
}

// Trace reads the messages with the addresses, or all without any, until Close. A
// reader that is too slow misses lines, which is told and counted.
func (s *Service) Trace(of ...netip.Addr) (*Trace, error) {
	r := s.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, ErrStopped
	}
	if len(r.readers) >= traceReaders {
		return nil, ErrTraces
	}
	t := &Trace{recorder: r, of: of, lines: make(chan Line, traceQueue)}
	t.Lines = t.lines
	for _, l := range slices.Concat(r.ring[r.next:], r.ring[:r.next]) {
		if t.has(l.Remote.Addr()) {
			t.Last = append(t.Last, l)
		}
	}
	r.readers[t] = true
	return t, nil
}

// Close ends the reading.
func (t *Trace) Close() {
	t.recorder.mu.Lock()
	defer t.recorder.mu.Unlock()
	t.recorder.leave(t)
}

func (r *recorder) leave(t *Trace) {
	if r.readers[t] {
		delete(r.readers, t)
		close(t.lines)
	}
}

func (t *Trace) has(remote netip.Addr) bool { return len(t.of) == 0 || slices.Contains(t.of, remote) }

// wants says whether a message is to be decoded for the trace.
func (r *recorder) wants(now time.Time, remote netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range r.readers {
		if t.has(remote) {
			return true
		}
	}
	return r.unasked.take(now, traceBurst, traceEvery)
}

func (r *recorder) add(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < traceRing {
		r.ring = append(r.ring, l)
	} else {
		r.ring[r.next] = l
		r.next = (r.next + 1) % traceRing
	}
	for t := range r.readers {
		if !t.has(l.Remote.Addr()) {
			continue
		}
		l.Missed = t.missed
		select {
		case t.lines <- l:
			t.missed = 0
		default:
			t.missed++
			r.missed.Add(1)
		}
	}
}

// end closes all readers: no line will come any more.
func (r *recorder) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for t := range r.readers {
		r.leave(t)
	}
}
