// SPDX-License-Identifier: Apache-2.0

package esp

import (
	crypto "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	vectors       = 100_000_000 // that are sealed with
	vectorWorkers = 4
	vectorEvents  = 200_000 // packets between one rekey, hand-over or kill and the next
	ledgerNumbers = 1 << 23 // of one key
)

// ledger notes the initialization vectors of one key.
type ledger [ledgerNumbers / 64]atomic.Uint64

// note says whether a vector is new.
func (l *ledger) note(vector uint64) bool {
	bit := uint64(1) << (vector % 64)
	return l[vector/64].Or(bit)&bit == 0
}

// holder has the SA that packets leave by now, with all that was sealed under its key.
type holder struct {
	out  *Outbound
	seen *ledger
}

// senders is what several workers seal with while the SA under them changes hands.
type senders struct {
	t       *testing.T
	current atomic.Pointer[holder]
	keys    sync.Map // that were used

	changing                 sync.Mutex
	random                   *rand.Rand
	rekeys, handovers, kills int
	sealed, events, deaths   atomic.Int64
}

// rekey takes a fresh key: of another SA, or of the one that follows a crash, which leaves
// nobody who knows what was used.
func (s *senders) rekey() {
	x := Transform{Algorithm: AESGCM16, Key: make([]byte, 20)}
	if s.random.IntN(8) == 0 {
		x = Transform{Algorithm: ChaCha20Poly1305, Key: make([]byte, 36)}
	}
	_, _ = crypto.Read(x.Key)
	if _, used := s.keys.LoadOrStore(string(x.Key), true); used {
		s.t.Error("a key was drawn twice")
	}
	out, err := NewOutbound(OutboundConfig{SPI: 0x1000, Extended: true, Transform: x})
	if err != nil {
		s.t.Error(err)
		return
	}
	out.protect = &remembered{out.protect, x}
	s.current.Store(&holder{out, new(ledger)})
}

// remembered is a protection that knows its keys, for whoever takes them over.
type remembered struct {
	protection
	x Transform
}

// change is one event in the life of the SA, under workers that go on.
func (s *senders) change() {
	s.changing.Lock()
	defer s.changing.Unlock()
	h := s.current.Load()
	switch s.random.IntN(4) {
	case 0:
		s.rekeys++
		s.rekey()
	case 1: // killed as it handed over: what it told is lost
		s.kills++
		h.out.HandOver()
		s.rekey()
	default:
		s.handovers++
		p := h.out.protect.(*remembered)
		next, err := NewOutbound(OutboundConfig{SPI: h.out.SPI, Extended: true, Transform: p.x, After: h.out.HandOver()})
		if err != nil {
			s.t.Error(err)
			return
		}
		next.protect = &remembered{next.protect, p.x}
		s.current.Store(&holder{next, h.seen})
	}
}

// outgrown rekeys an SA whose ledger is full.
func (s *senders) outgrown(h *holder) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.current.Load() == h {
		s.rekeys++
		s.rekey()
	}
}

func (s *senders) work(r *rand.Rand) {
	var scratch Scratch
	room := make([]byte, Front, Front+Back+16)
	for s.sealed.Load() < vectors && !s.t.Failed() {
		h := s.current.Load()
		n := 1 + r.IntN(64)
		first, err := h.out.Reserve(n)
		if err == ErrExhausted {
			runtime.Gosched() // it was handed over under us
			continue
		}
		if first+uint64(n) > ledgerNumbers {
			s.outgrown(h)
			continue
		}
		if r.IntN(50) == 0 { // killed within its block, of which the rest is lost
			n = r.IntN(n)
			s.deaths.Add(1)
		}
		for k := range n {
			b, err := h.out.SealAt(&scratch, first+uint64(k), room, Front, 47)
			if err != nil {
				s.t.Error(err)
				return
			}
			if vector := binary.BigEndian.Uint64(b[headerSize:]); vector >= ledgerNumbers || !h.seen.note(vector) {
				s.t.Errorf("vector %x twice under one key", vector)
				return
			}
		}
		now, before := s.sealed.Add(int64(n))/vectorEvents, s.events.Load()
		if now > before && s.events.CompareAndSwap(before, now) {
			s.change()
		}
	}
}

// TestNoVectorTwice reads the vector of each of 10^8 sealed packets, while workers die within
// the blocks of numbers that they took, and the SA is rekeyed, handed over under workers that
// still seal, and lost. Under one key there is none twice.
func TestNoVectorTwice(t *testing.T) {
	t.Parallel()
	s := &senders{t: t, random: rand.New(rand.NewPCG(4303, 1))}
	s.rekey()
	var wg sync.WaitGroup
	for w := range vectorWorkers {
		wg.Go(func() { s.work(rand.New(rand.NewPCG(4303, uint64(2+w)))) })
	}
	wg.Wait()
	t.Logf("%d packets, %d rekeys, %d hand-overs, %d kills, %d workers that died", s.sealed.Load(), s.rekeys, s.handovers, s.kills, s.deaths.Load())
	if s.rekeys == 0 || s.handovers == 0 || s.kills == 0 || s.deaths.Load() == 0 {
		t.Error("something of this never happened")
	}
}
