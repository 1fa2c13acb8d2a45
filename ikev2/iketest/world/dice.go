// SPDX-License-Identifier: Apache-2.0

package world

// dice is an end's randomness: a splitmix64 sequence from a seed.
type dice struct {
	state uint64
	// first says how each draw begins: low and high ones differ in the top bit.
	first edge
	// last lets draws differ in nothing but their last octet.
	last  bool
	count byte
}

type edge uint8

const (
	any_ edge = iota
	low
	high
)

func (d *dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below draws a number below n.
func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

// chance is true in so many of 100 cases.
func (d *dice) chance(percent int) bool { return d.below(100) < percent }

// Read is one draw of the machine.
func (d *dice) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for i := range p {
		p[i] = byte(d.next())
	}
	steered := &p[0]
	if d.last {
		for i := range p {
			p[i] = 0x5a
		}
		d.count++
		steered = &p[len(p)-1]
		*steered = d.count
	}
	switch d.first {
	case low:
		*steered &= 0x7f
	case high:
		*steered |= 0x80
	}
	return len(p), nil
}
