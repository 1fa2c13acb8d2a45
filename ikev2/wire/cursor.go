// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// cursor walks over a body. After a read past the end it stays short and every
// further read gives zero, so that a parser checks once, at its end.
type cursor struct {
	b     []byte
	short bool
}

// take gives the next n octets, without a copy, or nil.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) || c.short {
		c.short = true
		return nil
	}
	// The capacity ends with the field: appending to it must not reach the next.
	field := c.b[:n:n]
	c.b = c.b[n:]
	return field
}

func (c *cursor) uint8() uint8 {
	if f := c.take(1); f != nil {
		return f[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if f := c.take(2); f != nil {
		return binary.BigEndian.Uint16(f)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if f := c.take(4); f != nil {
		return binary.BigEndian.Uint32(f)
	}
	return 0
}

// rest gives all that is left.
func (c *cursor) rest() []byte { return c.take(len(c.b)) }

// more says whether anything is left to read.
func (c *cursor) more() bool { return !c.short && len(c.b) > 0 }
