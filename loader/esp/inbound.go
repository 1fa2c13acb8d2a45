// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// Inbound is an SA that packets come in by.
type Inbound struct {
	SPI      uint32
	Extended bool
	usage    *Usage
	protect  protection
	vector   int
	block    int
	check    int
	window   *window

	replayed, integrity, malformed atomic.Uint64
}

// InboundConfig makes an Inbound.
type InboundConfig struct {
	SPI       uint32
	Extended  bool
	Transform Transform
	Usage     *Usage
	Window    int // packets, from MinWindow to MaxWindow; 0: DefaultWindow
	// Top is the newest sequence number that whoever had the SA before may have taken;
	// those up to it are refused.
	Top uint64
}

// NewInbound copies the keys.
func NewInbound(c InboundConfig) (*Inbound, error) {
	if c.Window == 0 {
		c.Window = DefaultWindow
	}
	if c.Window < MinWindow || c.Window > MaxWindow {
		return nil, fmt.Errorf("esp: replay window of %d packets: choose %d to %d", c.Window, MinWindow, MaxWindow)
	}
	p, err := newProtection(c.Transform)
	if err != nil {
		return nil, err
	}
	i := &Inbound{SPI: c.SPI, Extended: c.Extended, usage: c.Usage, protect: p, window: newWindow(c.Window)}
	i.vector, i.block, i.check = p.sizes()
	if c.Top != 0 {
		i.window.top = c.Top
		i.window.hint.Store(c.Top)
		for k := range i.window.ring {
			i.window.ring[k] = ^uint64(0)
		}
		// What is ahead of the top in its own word is still to come.
		i.window.ring[c.Top/64&i.window.mask] = ^uint64(0) >> (63 - c.Top%64)
	}
	return i, nil
}

// SPI is that of a packet, whose length has been checked to be at least 8.
func SPI(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// Open verifies the ESP packet b and gives the payload, decrypted in place, and its next
// header; NextNone is a dummy that is to be dropped. The payload may have padding for
// traffic flow confidentiality behind it, which only its own length can tell (section
// 2.7). On an error b is lost; the window has moved only if it is nil, ErrPadding or
// ErrExpired.
func (i *Inbound) Open(s *Scratch, b []byte) (payload []byte, next uint8, err error) {
	front := headerSize + i.vector
	text := len(b) - front - i.check
	if text < trailerSize || text%i.block != 0 {
		i.malformed.Add(1)
		return nil, 0, ErrTruncated
	}
	low := binary.BigEndian.Uint32(b[4:])
	number, ok := i.window.ahead(low, i.Extended)
	if !ok {
		if number, ok = i.window.number(low, i.Extended); !ok || i.window.stale(number) {
			i.replayed.Add(1)
			return nil, 0, ErrReplayed
		}
	}
	if err := i.protect.open(s, b, number, i.Extended); err != nil {
		i.integrity.Add(1)
		return nil, 0, err
	}
	payload, next, err = trim(b[front : front+text])
	octets := -1
	if err == nil {
		octets = len(payload)
	}
	a := i.window.accept(number, octets)
	if !a.ok {
		i.replayed.Add(1)
		return nil, 0, ErrReplayed
	}
	s.Newest = a.newest
	if err != nil {
		i.malformed.Add(1)
		return nil, 0, err
	}
	if i.usage.limited() && !i.usage.add(octets) { // after accept: a replay uses nothing up
		return nil, 0, ErrExpired
	}
	if a.first {
		i.usage.tell(FirstPacket)
	}
	return payload, next, nil
}

// trim takes the trailer off a text, which has room for one (RFC 4303, section 2.4).
func trim(text []byte) (payload []byte, next uint8, err error) {
	end := len(text) - trailerSize
	padding := int(text[end])
	if padding > end {
		return nil, 0, ErrPadding
	}
	for k, pad := end-padding, byte(1); k < end; k, pad = k+1, pad+1 {
		if text[k] != pad {
			return nil, 0, ErrPadding
		}
	}
	return text[:end-padding], text[end+1], nil
}

// Top is the newest sequence number that was verified.
func (i *Inbound) Top() uint64 {
	i.window.mu.Lock()
	defer i.window.mu.Unlock()
	return i.window.top
}

// InboundStats are counters of an Inbound; octets are those of payloads.
type InboundStats struct {
	Packets, Bytes                 uint64
	Replayed, Integrity, Malformed uint64
	Late                           uint64 // accepted, though a newer one had come before
}

// Stats gives the counters.
func (i *Inbound) Stats() InboundStats {
	w := i.window
	w.mu.Lock()
	defer w.mu.Unlock()
	return InboundStats{w.packets, w.bytes, i.replayed.Load(), i.integrity.Load(), i.malformed.Load(), w.late}
}
