// SPDX-License-Identifier: Apache-2.0

package pump

import "golang.org/x/sys/cpu"

// sumAVX2 adds the 32-bit words, as they lie in memory, of a multiple of 64 octets.
//
//go:noescape
func sumAVX2(b *byte, octets int) uint64

var hasAVX2 = cpu.X86.HasAVX2

// sumBlocks adds the words of whole blocks of 64 octets, and gives what is behind them.
func sumBlocks(b []byte) (total uint64, rest []byte) {
	n := len(b) &^ 63
	if !hasAVX2 || n < 128 {
		return 0, b
	}
	return sumAVX2(&b[0], n), b[n:]
}
