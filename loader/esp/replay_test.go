// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// replayPackets is how many random packets come in, over all windows.
const replayPackets = 10_000_000

var replayWindows = []int{64, 128, 1024, 8128, 131072}

// model is the window as RFC 4303, section 3.4.3, describes it: a bitmap whose lowest bit
// is the newest number, shifted as a newer one comes.
type model struct {
	size, top  uint64
	seen, mask *big.Int
}

// newModel makes one for which all numbers up to top are seen.
func newModel(size int, top uint64) *model {
	mask := new(big.Int).Lsh(big.NewInt(1), uint(size))
	mask.Sub(mask, big.NewInt(1))
	return &model{uint64(size), top, new(big.Int).Set(mask), mask}
}

func (m *model) fresh(n uint64) bool {
	return n > m.top || m.top-n < m.size && m.seen.Bit(int(m.top-n)) == 0
}

func (m *model) accept(n uint64) {
	if n > m.top {
		if ahead := n - m.top; ahead < m.size {
			m.seen.And(m.seen.Lsh(m.seen, uint(ahead)), m.mask)
		} else {
			m.seen.SetUint64(0)
		}
		m.top = n
	}
	m.seen.SetBit(m.seen, int(m.top-n), 1)
}

// choose gives a number as a network might deliver it. Those behind the window come from
// not further than ESN can tell.
func (m *model) choose(r *rand.Rand) uint64 {
	back := func(most uint64) uint64 { return m.top - min(m.top-1, r.Uint64N(most+1)) }
	switch x := r.IntN(1000); {
	case m.top == 0 || x < 600:
		return m.top + 1
	case x < 800:
		return back(m.size + m.size/4)
	case x < 900:
		return back(8)
	case x < 960:
		return m.top + 1 + r.Uint64N(8)
	case x < 990:
		return m.top + 1 + r.Uint64N(2*m.size)
	case x < 998:
		return m.top - min(m.top-1, m.size-1+r.Uint64N(3)) // on either side of the edge
	case x < 999:
		return back(1 << 30)
	}
	return m.top + 1 + r.Uint64N(1<<24)
}

// TestReplayAgainstModel lets 10^7 sealed packets come in: duplicates, reorderings and losses,
// jumps within the window, to its edges and far ahead, over several ends of 32 bits, one in
// ten of them damaged. Not one false accept, not one false reject; what is damaged moves
// nothing.
func TestReplayAgainstModel(t *testing.T) {
	for _, size := range replayWindows {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/esn=%t", size, extended), func(t *testing.T) {
				t.Parallel()
				againstModel(t, size, extended, replayPackets/(2*len(replayWindows)))
			})
		}
	}
}

func againstModel(t *testing.T, size int, extended bool, packets int) {
	r := rand.New(rand.NewPCG(uint64(size), 7))
	x := transforms["aes128gcm16"]
	o, _ := pair(t, x, extended, nil, nil)
	begin := func(top uint64) (*Inbound, *model) {
		i, err := NewInbound(InboundConfig{SPI: o.SPI, Extended: extended, Transform: x, Window: size, Top: top})
		if err != nil {
			t.Fatal(err)
		}
		return i, newModel(size, top)
	}
	top := uint64(0)
	if extended {
		top = 1<<32 - uint64(size)/2
	}
	i, m := begin(top)
	var s Scratch
	room := make([]byte, Front, Front+Back+16)
	accepted, refused, damaged := 0, 0, 0
	for range packets {
		n := m.choose(r)
		if !extended && n > lastShort { // the SA is at its end, and another follows
			i, m = begin(0)
			n = 1
		}
		b, err := o.SealAt(&s, n, room, Front, 47)
		if err != nil {
			t.Fatal(err)
		}
		fresh, spoilt := m.fresh(n), r.IntN(10) == 0
		if spoilt {
			b[headerSize+r.IntN(len(b)-headerSize)] ^= 1 << r.IntN(8)
		}
		_, _, err = i.Open(&s, b)
		switch {
		case spoilt:
			damaged++
			if err == nil || fresh && !errors.Is(err, ErrIntegrity) {
				t.Fatalf("top %#x: %#x is damaged: %v", m.top, n, err)
			}
		case fresh != (err == nil):
			t.Fatalf("top %#x: %#x: %v; the model takes it: %t", m.top, n, err, fresh)
		case fresh:
			accepted++
			m.accept(n)
		default:
			refused++
		}
		if i.Top() != m.top {
			t.Fatalf("%#x: the window's top is %#x, the model's %#x", n, i.Top(), m.top)
		}
	}
	t.Logf("%d accepted, %d refused, %d damaged", accepted, refused, damaged)
	if min(accepted, refused, damaged) < packets/100 {
		t.Error("that is not what a network does")
	}
}

// TestReplaysUseNothingUp: the newest one is verified each time before it is refused, and who
// has no key could end an SA by it.
func TestReplaysUseNothingUp(t *testing.T) {
	for name, x := range transforms {
		t.Run(name, func(t *testing.T) {
			told := Event(0)
			u := &Usage{Limits: Limits{SoftPackets: 50, HardPackets: 100, SoftBytes: 5000, HardBytes: 10000}, Notify: func(e Event) { told |= e }}
			o, i := pair(t, x, true, nil, u)
			var s Scratch
			seal := func() []byte {
				b, err := o.Seal(&s, buffer(make([]byte, 100)), Front, 47)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			b := seal()
			if _, _, err := i.Open(&s, slices.Clone(b)); err != nil {
				t.Fatal(err)
			}
			for range 150 {
				if _, _, err := i.Open(&s, slices.Clone(b)); err != ErrReplayed {
					t.Fatalf("a replay: %v", err)
				}
			}
			if packets, octets := u.packets.Load(), u.bytes.Load(); packets != 1 || octets != 100 || told != FirstPacket {
				t.Errorf("%d packets and %d octets are used up, events %b; one packet of 100 octets came", packets, octets, told)
			}
			for n := 2; n <= 100; n++ {
				if _, _, err := i.Open(&s, seal()); err != nil {
					t.Fatalf("packet %d: %v", n, err)
				}
			}
			if _, _, err := i.Open(&s, seal()); err != ErrExpired || told&HardLimit == 0 {
				t.Errorf("packet 101: %v, events %b", err, told)
			}
		})
	}
}

func TestReplayTable(t *testing.T) {
	for _, size := range replayWindows {
		z := uint64(size)
		for _, c := range []struct {
			of       string
			extended bool
			base     uint64
		}{
			{"32 bits", false, 0},
			{"ESN", true, 0},
			{"ESN over the end of 32 bits", true, 1<<32 - 5*z},
			{"ESN, its window over the end of 32 bits", true, 3<<32 - 9*z - z/2},
		} {
			t.Run(fmt.Sprintf("%d/%s", size, c.of), func(t *testing.T) { replayTable(t, size, c.extended, c.base) })
		}
	}
}

// replayTable goes through the table with numbers that begin after base.
func replayTable(t *testing.T, size int, extended bool, base uint64) {
	w := newWindow(size)
	w.top = base
	w.hint.Store(base)
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
		n := base + c.n
		got, known := w.number(uint32(n), extended)
		// Another number than the sender's fails the check value.
		known = known && got == n
		if c.ok && !known {
			t.Errorf("%s (%#x): taken for %#x", c.of, n, got)
		}
		if ok := known && w.isFresh(n); ok != c.ok || ok && w.stale(n) {
			t.Errorf("%s (%#x): fresh %t, stale %t", c.of, n, ok, w.stale(n))
		}
		if !known {
			continue
		}
		if a := w.accept(n, 0); a.ok != c.ok {
			t.Errorf("%s (%#x): accepted %t", c.of, n, a.ok)
		}
	}
}
