// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"encoding/binary"
	"sync/atomic"
)

// Outbound is an SA that packets leave by.
type Outbound struct {
	SPI      uint32
	Extended bool // sequence numbers of 64 bits
	usage    *Usage
	protect  protection
	vector   int
	block    int
	check    int
	last     uint64
	before   uint64        // no packet of ours has a number up to this
	next     atomic.Uint64 // the last sequence number that was given out

	// Packets are the numbers that were given out but for the unused ones: a counter of their
	// own would cost each packet another atomic operation.
	unused, bytes, refused atomic.Uint64
}

// OutboundConfig makes an Outbound.
type OutboundConfig struct {
	SPI       uint32
	Extended  bool
	Transform Transform
	Usage     *Usage // may be shared with the inbound direction; nil: no limits
	// After is the last sequence number that may have been used under this key, by
	// whoever had the SA before: 0 for a new one.
	After uint64
}

// NewOutbound copies the keys.
func NewOutbound(c OutboundConfig) (*Outbound, error) {
	p, err := newProtection(c.Transform)
	if err != nil {
		return nil, err
	}
	o := &Outbound{SPI: c.SPI, Extended: c.Extended, usage: c.Usage, protect: p, last: lastShort, before: c.After}
	if c.Extended {
		o.last = 1<<64 - 1<<32 // far from the end of the counter: blocks never make it wrap
	}
	o.vector, o.block, o.check = p.sizes()
	o.next.Store(c.After)
	return o, nil
}

// Front is the room that Seal needs before a payload.
func (o *Outbound) Front() int { return headerSize + o.vector }

// Sealed is the length of the ESP packet around n octets of payload.
func (o *Outbound) Sealed(n int) int {
	text := (n + trailerSize + o.block - 1) / o.block * o.block
	return o.Front() + text + o.check
}

// Fits is the largest payload whose ESP packet has at most n octets.
func (o *Outbound) Fits(n int) int {
	return (n-o.Front()-o.check)/o.block*o.block - trailerSize
}

// Reserve takes n sequence numbers and gives the first. What is not used of them is
// lost. An error is ErrExhausted.
func (o *Outbound) Reserve(n int) (first uint64, err error) {
	end := o.next.Add(uint64(n))
	if end > o.last {
		// Never near the end of 64 bits, whoever goes on trying.
		o.next.Store(o.last)
		o.refused.Add(uint64(n))
		return 0, ErrExhausted
	}
	if end > o.last-o.last/10 {
		o.usage.tell(NearlyExhausted)
	}
	return end - uint64(n) + 1, nil
}

// Seal is SealAt with the next sequence number.
func (o *Outbound) Seal(s *Scratch, b []byte, at int, next uint8) ([]byte, error) {
	number, err := o.Reserve(1)
	if err != nil {
		return nil, err
	}
	return o.SealAt(s, number, b, at, next)
}

// SealAt makes an ESP packet of the payload b[at:], in place, with a sequence number of
// Reserve, which must not be used for another packet. The packet begins Front octets
// before at; behind b there must be capacity for its end. An error is ErrExpired or
// ErrRoom.
func (o *Outbound) SealAt(s *Scratch, number uint64, b []byte, at int, next uint8) ([]byte, error) {
	start := at - o.Front()
	end := start + o.Sealed(len(b)-at)
	if start < 0 || end > cap(b) {
		o.unused.Add(1)
		return nil, ErrRoom
	}
	if o.usage.limited() && !o.usage.add(len(b)-at) {
		o.unused.Add(1)
		o.refused.Add(1)
		return nil, ErrExpired
	}
	n := len(b)
	b = b[:end]
	for i, pad := n, byte(1); i < end-o.check-trailerSize; i, pad = i+1, pad+1 {
		b[i] = pad // section 2.4
	}
	trailer := end - o.check - trailerSize
	b[trailer], b[trailer+1] = byte(trailer-n), next
	b = b[start:]
	binary.BigEndian.PutUint32(b, o.SPI)
	binary.BigEndian.PutUint32(b[4:], uint32(number))
	o.protect.seal(s, b, number, o.Extended)
	o.bytes.Add(uint64(n - at))
	return b, nil
}

// Last is the last sequence number that was given out.
func (o *Outbound) Last() uint64 { return min(o.next.Load(), o.last) }

// HandOver ends the giving out of numbers, and gives the last one: what the next to have this
// SA must begin after (OutboundConfig.After). Workers may finish what they had reserved;
// Reserve gives ErrExhausted from here on.
func (o *Outbound) HandOver() (after uint64) {
	after = min(o.next.Swap(o.last), o.last)
	o.unused.Add(o.last - after)
	return after
}

// recent is how many of the last sequence numbers Sent knows.
const recent = 1 << 20

// Sent says whether a sequence number with this low half was given out lately.
func (o *Outbound) Sent(low uint32) bool {
	last := o.next.Load()
	return uint64(uint32(last)-low) < min(last, recent)
}

// OutboundStats are counters of an Outbound; octets are those of payloads. A number of
// Reserve that nothing was sealed with counts as a packet.
type OutboundStats struct {
	Packets, Bytes, Refused uint64
}

// Stats gives the counters.
func (o *Outbound) Stats() OutboundStats {
	unused := o.unused.Load() // before what it is a part of
	return OutboundStats{o.Last() - o.before - unused, o.bytes.Load(), o.refused.Load()}
}
