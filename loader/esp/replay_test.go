// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// model is the window as RFC 4303 describes it, with memory for everything.
type model struct {
	size, top uint64
	seen      map[uint64]bool
}

func (m *model) accept(n uint64) bool {
	if n+m.size <= m.top || m.seen[n] {
		return false
	}
	m.seen[n] = true
	if n > m.top {
		m.top = n
		if len(m.seen) > int(4*m.size)+1024 {
			for k := range m.seen {
				if k+m.size <= m.top {
					delete(m.seen, k)
				}
			}
		}
	}
	return true
}

// Random duplicates, reorderings and losses, jumps within the window and far ahead,
// through every window with and without ESN: not one false accept, not one false reject.
// ESP_REPLAY_PACKETS sets the number in all.
func TestReplayAgainstModel(t *testing.T) {
	packets := 1_000_000
	if s := os.Getenv("ESP_REPLAY_PACKETS"); s != "" {
		var err error
		if packets, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	sizes := []int{64, 128, 1024, 8128, 131072}
	for _, size := range sizes {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/esn=%t", size, extended), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(uint64(size), 7))
				w := newWindow(size)
				m := &model{size: uint64(size), seen: map[uint64]bool{}}
				if extended { // begin just below a new high half
					w.top, m.top = 1<<32-uint64(size)/2, 1<<32-uint64(size)/2
				}
				for range packets / (2 * len(sizes)) {
					n := choose(r, m.top, uint64(size))
					if !extended {
						n &= 1<<32 - 1
					}
					if n == 0 {
						continue
					}
					got := false
					if number, ok := w.number(uint32(n), extended); ok {
						if number != n && within(n, m.top, uint64(size)) {
							t.Fatalf("top %#x: low half of %#x taken for %#x", m.top, n, number)
						}
						n = number
						if w.fresh(n) {
							got, _ = w.accept(n)
						}
					} else if within(n, m.top, uint64(size)) && n > 1 {
						t.Fatalf("top %#x: no number for %#x", m.top, n)
					}
					if want := m.accept(n); got != want {
						t.Fatalf("top %#x: %#x: accepted %t, want %t", m.top, n, got, want)
					}
				}
			})
		}
	}
}

func within(n, top, size uint64) bool { return n+size > top && n < top+1<<31 }

// choose gives a number as a network might deliver it.
func choose(r *rand.Rand, top, size uint64) uint64 {
	switch x := r.IntN(100); {
	case x < 60:
		return top + 1
	case x < 80:
		return top - min(top, r.Uint64N(size+size/4+1))
	case x < 95:
		return top + 1 + r.Uint64N(8)
	case x < 99:
		return top + 1 + r.Uint64N(2*size)
	default:
		return top - min(top, size-1)
	}
}

func TestReplayTable(t *testing.T) {
	for _, size := range []int{64, 128, 1024, 8128, 131072} {
		w := newWindow(size)
		z := uint64(size)
		for _, c := range []struct {
			n  uint64
			ok bool
			of string
		}{
			{1, true, "the first"},
			{1, false, "the first again"},
			{z, true, "ahead by nearly a window"},
			{2, true, "late, in the window"},
			{2, false, "late, again"},
			{z + 1, true, "the next"},
			{1, false, "behind the window by one"},
			{3, true, "in the window"},
			{10 * z, true, "far ahead"},
			{9*z + 1, true, "the oldest of the window"},
			{9 * z, false, "one behind it"},
			{9*z + 1, false, "the oldest again"},
			{10*z - 1, true, "the one before the newest"},
			{10 * z, false, "the newest again"},
		} {
			if ok := w.fresh(c.n); ok != c.ok {
				t.Errorf("window %d: %s (%d): fresh %t", size, c.of, c.n, ok)
			}
			if ok, _ := w.accept(c.n); ok != c.ok {
				t.Errorf("window %d: %s (%d): accepted %t", size, c.of, c.n, ok)
			}
		}
	}
}
