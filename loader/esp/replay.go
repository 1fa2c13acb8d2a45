// SPDX-License-Identifier: Apache-2.0

package esp

import "sync"

// window is an anti-replay window (RFC 4303, section 3.4.3) in the manner of RFC 6479: a
// ring of words, of which the one that the newest number falls into is cleared as it is
// entered, so that nothing is ever shifted.
type window struct {
	mu   sync.Mutex
	size uint64
	top  uint64 // the newest number that was verified
	mask uint64
	ring []uint64
}

func newWindow(size int) *window {
	words := uint64(1)
	for words < uint64(size)/64+1 {
		words *= 2
	}
	return &window{size: uint64(size), mask: words - 1, ring: make([]uint64, words)}
}

// number gives the whole sequence number of the low half that a packet has (RFC 4303,
// appendix A2.2); false: it cannot have one.
func (w *window) number(low uint32, extended bool) (uint64, bool) {
	if !extended {
		return uint64(low), low != 0
	}
	w.mu.Lock()
	top := w.top
	w.mu.Unlock()
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

// fresh says whether a number is ahead of the window, or in it and not yet seen.
func (w *window) fresh(n uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isFresh(n)
}

func (w *window) isFresh(n uint64) bool {
	if n > w.top {
		return true
	}
	return w.top-n < w.size && w.ring[n/64&w.mask]&(1<<(n%64)) == 0
}

// accept notes a number that was verified; false: another worker was faster with the
// same one, or the window moved past it meanwhile. late is true if it was not the newest.
func (w *window) accept(n uint64) (ok, late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isFresh(n) {
		return false, false
	}
	if n > w.top {
		for at, steps := w.top/64, n/64-w.top/64; steps > 0; steps-- {
			if steps > w.mask+1 { // all the ring is old
				at += steps - (w.mask + 1)
				steps = w.mask + 1
			}
			at++
			w.ring[at&w.mask] = 0
		}
		w.top = n
	} else {
		late = true
	}
	w.ring[n/64&w.mask] |= 1 << (n % 64)
	return true, late
}
