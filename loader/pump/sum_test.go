// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestSumIsTheRFCs compares with a sum of one 16-bit word after the other (RFC 1071, section 1),
// of every length, at every alignment, and where everything overflows.
func TestSumIsTheRFCs(t *testing.T) {
	plain := func(s uint32, b []byte) uint32 {
		for ; len(b) >= 2; b = b[2:] {
			s = uint32(fold(s + uint32(binary.BigEndian.Uint16(b))))
		}
		if len(b) == 1 {
			s = uint32(fold(s + uint32(b[0])<<8))
		}
		return s
	}
	random := rand.New(rand.NewPCG(1, 2))
	full, mixed := make([]byte, 70000), make([]byte, 70000)
	for i := range full {
		full[i], mixed[i] = 0xff, byte(random.Uint32())
	}
	lengths := []int{1400, 9000, 65535, 65536, len(full) - 64}
	for n := range 600 {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		for at := range 33 {
			for _, b := range [][]byte{full[at : at+n], mixed[at : at+n]} {
				start := random.Uint32() & 0xffff
				if got, want := fold(sum(start, b)), fold(plain(start, b)); got != want {
					t.Fatalf("%d octets at %d: %#x, want %#x", n, at, got, want)
				}
				if n%4 == 0 {
					if got, want := fold(words(start, b)), fold(plain(start, b)); got != want {
						t.Fatalf("words of %d octets: %#x, want %#x", n, got, want)
					}
				}
			}
		}
	}
}
