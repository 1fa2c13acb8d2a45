// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"sync"
	"sync/atomic"
)

// window is an anti-replay window (RFC 4303, section 3.4.3) in the manner of RFC 6479: a
// ring of words, of which the one that the newest number falls into is cleared as it is
// entered, so that nothing is ever shifted. It counts what it accepts: atomic counters of
// their own would cost as much as the lock.
type window struct {
	size uint64
	mask uint64
	hint atomic.Uint64 // the top, or up to 63 less: for who looks without the lock

	mu                   sync.Mutex
	top                  uint64 // the newest number that was verified
	ring                 []uint64
	packets, bytes, late uint64
}

func newWindow(size int) *window {
	words := uint64(1)
	for words < uint64(size)/64+1 {
		words *= 2
	}
	return &window{size: uint64(size), mask: words - 1, ring: make([]uint64, words)}
}

// near is how far ahead of the newest number most packets are.
const near = 1 << 16

// ahead gives the whole sequence number of most packets, which have the next ones; false: number
// and stale have to say.
func (w *window) ahead(low uint32, extended bool) (uint64, bool) {
	top := w.hint.Load()
	by := low - uint32(top)
	n := top + uint64(by)
	return n, by-1 < near && (extended || n>>32 == 0)
}

// number gives the whole sequence number of the low half that a packet has (RFC 4303,
// appendix A2.2); false: it cannot have one.
func (w *window) number(low uint32, extended bool) (uint64, bool) {
	if !extended {
		return uint64(low), low != 0
	}
	top := w.hint.Load() // 2^32 is a multiple of 64: its high half is right
	high, bottom := top>>32, uint32(top)-uint32(w.size)+1
	if uint64(uint32(top)) >= w.size-1 { // the window lies within one high half
		if low < bottom {
			high++
		}
	} else if low >= bottom { // it reaches into the one before
		if high == 0 {
			return 0, false
		}
		high--
	}
	n := high<<32 | uint64(low)
	return n, n != 0
}

// stale says whether a number is behind the window, or in it and seen. Of the newest ones
// it does not know it: accept does.
func (w *window) stale(n uint64) bool {
	if n > w.hint.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.isFresh(n)
}

// isFresh says whether a number is ahead of the window, or in it and not yet seen.
func (w *window) isFresh(n uint64) bool {
	if n > w.top {
		return true
	}
	return w.top-n < w.size && w.ring[n/64&w.mask]&(1<<(n%64)) == 0
}

// accepted is what accept says of a number.
type accepted struct{ ok, newest, first bool }

// accept notes a number that was verified, with the octets of its payload, less than 0:
// there is none. Not ok: it was seen, or the window is past it. first is the first one with
// a payload.
func (w *window) accept(n uint64, octets int) accepted {
	w.mu.Lock()
	if !w.isFresh(n) {
		w.mu.Unlock()
		return accepted{}
	}
	a := accepted{ok: true, newest: n > w.top}
	if n > w.top {
		for at, steps := w.top/64, n/64-w.top/64; steps > 0; steps-- {
			if steps > w.mask+1 { // all the ring is old
				at += steps - (w.mask + 1)
				steps = w.mask + 1
			}
			at++
			w.ring[at&w.mask] = 0
		}
		if n/64 != w.top/64 {
			w.hint.Store(n)
		}
		w.top = n
	} else {
		w.late++
	}
	w.ring[n/64&w.mask] |= 1 << (n % 64)
	if octets >= 0 {
		w.packets++
		w.bytes += uint64(octets)
		a.first = w.packets == 1
	}
	w.mu.Unlock()
	return a
}
