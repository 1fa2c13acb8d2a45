// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"
)

var transforms = map[string]Transform{
	"aes128gcm16":      {Algorithm: AESGCM16, Key: pattern(20)},
	"aes256gcm16":      {Algorithm: AESGCM16, Key: pattern(36)},
	"chacha20poly1305": {Algorithm: ChaCha20Poly1305, Key: pattern(36)},
	"aes128-sha256":    {Algorithm: AESCBC, Integrity: HMACSHA256, Key: pattern(16), IntegrityKey: pattern(32)},
	"aes256-sha384":    {Algorithm: AESCBC, Integrity: HMACSHA384, Key: pattern(32), IntegrityKey: pattern(48)},
	"aes256-sha512":    {Algorithm: AESCBC, Integrity: HMACSHA512, Key: pattern(32), IntegrityKey: pattern(64)},
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + n)
	}
	return b
}

func pair(t testing.TB, x Transform, extended bool, out, in *Usage) (*Outbound, *Inbound) {
	t.Helper()
	o, err := NewOutbound(OutboundConfig{SPI: 0x1234abcd, Extended: extended, Transform: x, Usage: out})
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewInbound(InboundConfig{SPI: 0x1234abcd, Extended: extended, Transform: x, Usage: in})
	if err != nil {
		t.Fatal(err)
	}
	return o, i
}

// buffer is a payload with room around it.
func buffer(payload []byte) []byte {
	return append(make([]byte, Front, Front+len(payload)+Back+16), payload...)
}

func TestEveryLengthOpensToWhatWasSealed(t *testing.T) {
	for name, x := range transforms {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/esn=%t", name, extended), func(t *testing.T) {
				o, i := pair(t, x, extended, nil, nil)
				var s Scratch
				for n := range 300 {
					payload := make([]byte, n)
					_, _ = rand.Read(payload)
					b, err := o.Seal(&s, buffer(payload), Front, 47)
					if err != nil {
						t.Fatal(err)
					}
					if len(b) != o.Sealed(n) || len(b)%4 != 0 {
						t.Fatalf("%d octets became %d, Sealed says %d", n, len(b), o.Sealed(n))
					}
					if fit := o.Fits(len(b)); fit < n || o.Sealed(fit) > len(b) {
						t.Fatalf("Fits(%d) is %d, and %d did fit", len(b), fit, n)
					}
					if n > 8 && bytes.Contains(b, payload) {
						t.Fatal("the payload stands in the packet")
					}
					got, next, err := i.Open(&s, b)
					if err != nil || next != 47 || !bytes.Equal(got, payload) {
						t.Fatalf("%d octets: %v, next header %d", n, err, next)
					}
				}
			})
		}
	}
}

func TestAnyChangedOctetIsRefusedAndMovesNothing(t *testing.T) {
	for name, x := range transforms {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/esn=%t", name, extended), func(t *testing.T) {
				o, i := pair(t, x, extended, nil, nil)
				var s Scratch
				b, err := o.Seal(&s, buffer([]byte("numbered")), Front, 47)
				if err != nil {
					t.Fatal(err)
				}
				for at := range b {
					bent := slices.Clone(b)
					bent[at] ^= 0x10
					if _, _, err := i.Open(&s, bent); err == nil {
						t.Errorf("octet %d changed, and it opened", at)
					}
					if i.Top() != 0 {
						t.Fatalf("octet %d changed, and the window moved to %d", at, i.Top())
					}
				}
				for n := range len(b) {
					if _, _, err := i.Open(&s, slices.Clone(b[:n])); err == nil {
						t.Errorf("cut to %d octets, and it opened", n)
					}
				}
				if _, _, err := i.Open(&s, slices.Clone(b)); err != nil {
					t.Errorf("the true one: %v", err)
				}
				if _, _, err := i.Open(&s, b); err != ErrReplayed {
					t.Errorf("its copy: %v", err)
				}
			})
		}
	}
}

func TestSequenceNumbersEndAndNeverWrap(t *testing.T) {
	var told Event
	u := &Usage{Notify: func(e Event) { told |= e }}
	o, err := NewOutbound(OutboundConfig{SPI: 1, Transform: transforms["aes128gcm16"], Usage: u, After: lastShort - 3})
	if err != nil {
		t.Fatal(err)
	}
	var s Scratch
	for n := range 3 {
		if _, err := o.Seal(&s, buffer(nil), Front, 47); err != nil {
			t.Fatalf("number %d before the last: %v", 2-n, err)
		}
	}
	for range 5 {
		if _, err := o.Seal(&s, buffer(nil), Front, 47); err != ErrExhausted {
			t.Fatalf("behind the last one: %v", err)
		}
	}
	if told&NearlyExhausted == 0 {
		t.Error("nobody was told that the numbers end")
	}
}

func TestLimitsRaiseTheirEventOnceAndEndTheSA(t *testing.T) {
	counts := map[Event]int{}
	u := &Usage{Limits: Limits{SoftPackets: 5, HardPackets: 8}, Notify: func(e Event) { counts[e]++ }}
	o, _ := pair(t, transforms["aes128gcm16"], false, u, nil)
	var s Scratch
	sent := 0
	for range 20 {
		if _, err := o.Seal(&s, buffer([]byte("x")), Front, 47); err == nil {
			sent++
		} else if !errors.Is(err, ErrExpired) {
			t.Fatal(err)
		}
	}
	if sent != 8 || counts[SoftLimit] != 1 || counts[HardLimit] != 1 {
		t.Errorf("%d packets sent, events %v", sent, counts)
	}
}

func TestDummyAndPadding(t *testing.T) {
	o, i := pair(t, transforms["aes128gcm16"], false, nil, nil)
	var s Scratch
	b, err := o.Seal(&s, buffer(make([]byte, 100)), Front, NextNone)
	if err != nil {
		t.Fatal(err)
	}
	if _, next, err := i.Open(&s, b); err != nil || next != NextNone {
		t.Errorf("dummy: next header %d, %v", next, err)
	}
	// A trailer that claims more padding than there is text, sealed by the peer itself.
	b = buffer(nil)
	number, _ := o.Reserve(1)
	b, err = o.SealAt(&s, number, b, Front, 47)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := newProtection(transforms["aes128gcm16"])
	if err := x.open(&s, b, number, false); err != nil {
		t.Fatal(err)
	}
	b[len(b)-tagSize-2] = 200
	x.seal(&s, b, number, false)
	if _, _, err := i.Open(&s, b); err != ErrPadding {
		t.Errorf("padding of 200 octets in 4: %v", err)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	for name, x := range transforms {
		o, i := pair(t, x, true, &Usage{}, &Usage{})
		var s Scratch
		b := buffer(make([]byte, 1400))
		n := testing.AllocsPerRun(200, func() {
			sealed, err := o.Seal(&s, b, Front, 47)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := i.Open(&s, sealed); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestBadTransformsAreRefused(t *testing.T) {
	for name, x := range map[string]Transform{
		"nothing":                 {},
		"a key without salt":      {Algorithm: AESGCM16, Key: pattern(16)},
		"a short key":             {Algorithm: ChaCha20Poly1305, Key: pattern(20)},
		"integrity with an AEAD":  {Algorithm: AESGCM16, Key: pattern(20), Integrity: HMACSHA256, IntegrityKey: pattern(32)},
		"CBC without integrity":   {Algorithm: AESCBC, Key: pattern(16)},
		"a short integrity key":   {Algorithm: AESCBC, Key: pattern(16), Integrity: HMACSHA256, IntegrityKey: pattern(16)},
		"an algorithm of nowhere": {Algorithm: 99, Key: pattern(20)},
	} {
		if _, err := NewOutbound(OutboundConfig{SPI: 1, Transform: x}); err == nil {
			t.Errorf("%s was taken", name)
		}
		if _, err := NewInbound(InboundConfig{SPI: 1, Transform: x}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, window := range []int{1, 63, 131073} {
		if _, err := NewInbound(InboundConfig{SPI: 1, Transform: transforms["aes128gcm16"], Window: window}); err == nil {
			t.Errorf("a window of %d was taken", window)
		}
	}
}

func TestWhoTakesAnInboundSAOverRefusesWhatMayHaveBeenTaken(t *testing.T) {
	x := transforms["aes128gcm16"]
	o, _ := pair(t, x, false, nil, nil)
	var s Scratch
	var packets [][]byte
	for range 200 {
		b, err := o.Seal(&s, buffer([]byte("x")), Front, 47)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, b)
	}
	i, err := NewInbound(InboundConfig{SPI: o.SPI, Transform: x, Top: 100})
	if err != nil {
		t.Fatal(err)
	}
	for k, b := range packets {
		_, _, err := i.Open(&s, b)
		if old := k < 100; old != (err != nil) {
			t.Errorf("number %d: %v", k+1, err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, name := range []string{"aes128gcm16", "aes256gcm16", "chacha20poly1305"} {
		for _, size := range []int{64, 1400} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				o, _ := pair(b, transforms[name], true, &Usage{}, nil)
				var s Scratch
				p := buffer(make([]byte, size))
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for range b.N {
					if _, err := o.Seal(&s, p, Front, 47); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestWhatArrivesIsNotedWithoutAllocation(t *testing.T) {
	o, i := pair(t, transforms["aes128gcm16"], false, nil, nil)
	a := &Association{In: i, Out: o}
	from := netip.MustParseAddrPort("192.0.2.1:4500")
	a.path.Store(&Path{Remote: from})
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() { a.Arrived(now, from, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	elsewhere := netip.MustParseAddrPort("192.0.2.1:30000")
	for k, c := range []struct {
		from   netip.AddrPort
		newest bool
		want   bool
	}{{elsewhere, false, false}, {elsewhere, true, true}, {elsewhere, true, false}, {from, true, false}} {
		if got := a.Arrived(now, c.from, c.newest); got != c.want {
			t.Errorf("%d: told %t, want %t", k, got, c.want)
		}
	}
}

// TestTheWallClockMayJump: what the liveness of a peer is judged by does not (clock-jump of the
// cases of ikev2/sa).
func TestTheWallClockMayJump(t *testing.T) {
	o, i := pair(t, transforms["aes128gcm16"], false, nil, nil)
	a := &Association{In: i, Out: o}
	from := netip.MustParseAddrPort("192.0.2.1:4500")
	a.path.Store(&Path{Remote: from})
	if !a.Received().IsZero() {
		t.Errorf("nothing came in, at %v", a.Received())
	}
	start := time.Now()
	now := start
	a.Arrived(now, from, true)
	for _, by := range []time.Duration{time.Hour, -2 * time.Hour} {
		now = now.Add(time.Second)
		// The seconds of a Time that has a monotonic reading too.
		*(*uint64)(unsafe.Pointer(&now)) += uint64(by/time.Second) << 30
		a.Arrived(now, from, true)
		if got, want := a.Received().Sub(start), now.Sub(start); got != want {
			t.Errorf("the clock jumped by %v: a packet came in after %v, not %v", by, want, got)
		}
	}
}

// drawn is a source of randomness that gives these SPIs.
type drawn []byte

func (d *drawn) Read(p []byte) (int, error) {
	n := copy(p, *d)
	*d = (*d)[n:]
	return n, nil
}

func TestReserve(t *testing.T) {
	t.Run("spi-clash", func(t *testing.T) {
		d := NewDatabase(&drawn{0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 255, 0, 0, 1, 2}, nil)
		for _, want := range []uint32{0x101, 0x102} {
			if spi, err := d.Reserve(); spi != want || err != nil {
				t.Errorf("%08x, %v; want %08x", spi, err, want)
			}
		}
	})
}
