// SPDX-License-Identifier: Apache-2.0

package pair

import "encoding/binary"

// Dice is randomness from a seed, a splitmix64 sequence: the same in every run, and no
// secret at all.
type Dice uint64

// Uint64 is the next number.
func (d *Dice) Uint64() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Below is a number below n, which is above 0.
func (d *Dice) Below(n int) int { return int(d.Uint64() % uint64(n)) }

// Read fills p. It never fails.
func (d *Dice) Read(p []byte) (int, error) {
	for i := 0; i < len(p); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], d.Uint64())
		copy(p[i:], word[:])
	}
	return len(p), nil
}
