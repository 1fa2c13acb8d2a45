// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"errors"
	"sync"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

const (
	protocolGRE = 47
	greKey      = 0x2000

	// sealBuffer holds what one SendSegments takes, and the room of one packet more.
	sealBuffer  = maxSegments + 4096
	maxSegments = 65000 // octets of UDP payload that are sent together
)

// Segments sends ESP packets, in UDP or raw: all of size octets, the last may be shorter.
type Segments interface {
	SendSegments(p *esp.Path, tos uint8, size int, b []byte) error
}

// secured are the associations of a protected tunnel by BPF's peer.
type secured struct {
	mu   sync.RWMutex
	peer map[tables.PeerID]*esp.Association
}

// Secure makes an association the one that a peer's packets leave by; nil: none, and
// they are dropped. What has waited for one leaves before.
func (p *Pump) Secure(id tables.PeerID, a *esp.Association) {
	switch before := p.secured.find(id); {
	case a == before:
	case a == nil:
		p.greetings.leave(id, before.Received())
	default:
		p.greetAgain(id, before)
	}
	if !p.early.over.Load() && p.early.delay(p, id, a) {
		return
	}
	p.secured.set(id, a)
}

func (s *secured) set(id tables.PeerID, a *esp.Association) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a == nil {
		delete(s.peer, id)
		return
	}
	s.peer[id] = a
}

func (s *secured) find(id tables.PeerID) *esp.Association {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.peer[id]
}

// sealer puts packets into ESP and gathers those of one association and size, of several
// associations at a time, so that the kernel takes them at once. It belongs to one goroutine.
type sealer struct {
	pump    *Pump
	scratch esp.Scratch
	segment [4096]byte // room for one segment of a GSO packet
	batches [sealBatches]batch
	waiting int // of batches, those that hold something
	oldest  int // the one that makes room for another association
}

// sealBatches is how many associations packets are gathered of at the same time.
const sealBatches = 8

// batch is packets of one association that leave together. While it holds some, nobody else
// seals by the association: packets leave in the order of their sequence numbers.
type batch struct {
	buf    []byte // packets one behind the other
	to     *esp.Association
	id     tables.PeerID
	tos    uint8
	size   int  // of each packet in buf
	count  int  // packets; 0: to is nobody
	octets int  // of inner packets
	closed bool // a shorter one was the last
}

func newSealer(p *Pump) *sealer { return &sealer{pump: p} }

// batch gives the association's, else an empty one.
func (s *sealer) batch(a *esp.Association) *batch {
	var empty *batch
	for i := range s.batches {
		switch b := &s.batches[i]; {
		case b.count == 0 && empty == nil:
			empty = b
		case b.count > 0 && b.to == a:
			return b
		}
	}
	if empty == nil {
		empty = &s.batches[s.oldest]
		s.oldest = (s.oldest + 1) % sealBatches
		s.settle(empty)
	}
	if empty.buf == nil {
		empty.buf = make([]byte, 0, sealBuffer)
	}
	return empty
}

// header appends the GRE header, RFC 2890.
func (p *Pump) header(b []byte, protocol uint16) []byte {
	h := p.config.Header
	if !h.HasKey {
		return binary.BigEndian.AppendUint16(append(b, 0, 0), protocol)
	}
	b = binary.BigEndian.AppendUint16(b, greKey)
	b = binary.BigEndian.AppendUint16(b, protocol)
	return binary.BigEndian.AppendUint32(b, h.Key)
}

// greLength is that of the header.
func (p *Pump) greLength() int {
	if p.config.Header.HasKey {
		return 8
	}
	return 4
}

// tunnelLength is that of tunnel mode's header.
func tunnelLength(a *esp.Association) int {
	if a.Tunnel == nil {
		return 0
	}
	return a.Tunnel.Header()
}

// add seals a payload of GRE for a peer. What was gathered is sent when it does not go
// together with this.
func (s *sealer) add(id tables.PeerID, a *esp.Association, protocol uint16, tos uint8, parts ...[]byte) {
	octets := 0
	for _, part := range parts {
		octets += len(part)
	}
	inside := s.pump.greLength() + octets
	length := inside + tunnelLength(a)
	size := a.Out.Sealed(length)
	g := s.batch(a)
	if g.count > 0 && (tos != g.tos || size > g.size || g.closed || g.count == underlay.MaxSegments || len(g.buf)+size > maxSegments) {
		s.settle(g)
	}
	start := len(g.buf)
	at := start + a.Out.Front()
	if at+length+esp.Back+16 > cap(g.buf) {
		s.pump.config.Tables.CountDrop(id, tables.DropTooBig, octets)
		return
	}
	if g.count == 0 {
		s.claim(a)
	}
	b, next := g.buf[:at], uint8(protocolGRE)
	if a.Tunnel != nil {
		b, next = a.Tunnel.Append(b, tos, inside), a.Tunnel.Next()
	}
	b = s.pump.header(b, protocol)
	for _, part := range parts {
		b = append(b, part...)
	}
	sealed, err := a.Out.Seal(&s.scratch, b, at, next)
	if err != nil {
		if g.count == 0 {
			a.Sending.Unlock()
		}
		s.pump.config.Tables.CountDrop(id, tables.DropNoSA, octets)
		return
	}
	if g.count == 0 {
		g.to, g.id, g.tos, g.size, g.closed, g.octets = a, id, tos, len(sealed), false, 0
		s.waiting++
	}
	g.closed = len(sealed) < g.size
	g.buf = g.buf[:start+len(sealed)]
	g.count++
	g.octets += octets
}

// claim makes an association this goroutine's until its packets are sent. It waits with nothing
// claimed: of two that wait for each other neither would go on.
func (s *sealer) claim(a *esp.Association) {
	if !a.Sending.TryLock() {
		s.end()
		a.Sending.Lock()
	}
}

// end sends all that was gathered.
func (s *sealer) end() {
	for i := range s.batches {
		if s.waiting == 0 {
			return
		}
		s.settle(&s.batches[i])
	}
}

// settle sends a batch. What is above the path's MTU is lost: the next packets of that size
// are answered.
func (s *sealer) settle(g *batch) {
	id, count, octets := g.id, g.count, g.octets
	if s.flush(g) {
		s.pump.config.Tables.CountDrops(id, tables.DropTooBig, count, octets)
		s.pump.learn(id)
	}
}

// flush sends a batch; true says that it was above the path's MTU, and lost.
func (s *sealer) flush(g *batch) (tooBig bool) {
	if g.count == 0 {
		return false
	}
	p := s.pump
	err := p.config.ESP.SendSegments(g.to.Path(), g.tos, g.size, g.buf)
	switch {
	case err == nil:
		p.config.Tables.CountSentMany(g.id, g.count, g.octets)
	case errors.Is(err, underlay.ErrTooBig):
		tooBig = true
	default:
		g.failed(p, err)
	}
	g.to.Sending.Unlock()
	g.buf, g.count, g.to = g.buf[:0], 0, nil
	s.waiting--
	return tooBig
}

// failed counts what was not sent.
func (g *batch) failed(p *Pump, err error) {
	reason, sent := tables.DropSlowPath, 0
	if full := (*underlay.Full)(nil); errors.As(err, &full) {
		reason, sent = tables.DropQueueFull, full.Sent
	}
	octets := g.octets * sent / g.count
	if sent > 0 {
		p.config.Tables.CountSentMany(g.id, sent, octets)
	}
	p.config.Tables.CountDrops(g.id, reason, g.count-sent, g.octets-octets)
}

// protect seals what BPF tagged for a peer.
func (s *sealer) protect(id tables.PeerID, v vnet, packet inner) {
	p := s.pump
	a := p.secured.find(id)
	if a == nil {
		s.end() // it may have to wait
		var kept bool
		if a, kept = p.early.keep(p, id, v, packet); kept {
			return
		}
	}
	if a == nil {
		p.config.Tables.CountDrop(id, tables.DropNoSA, len(packet.b))
		return
	}
	s.seal(id, a, v, packet)
}

// seal seals a packet, or the segments of a GSO packet.
func (s *sealer) seal(id tables.PeerID, a *esp.Association, v vnet, packet inner) {
	if v.gsoType == gsoNone {
		s.add(id, a, packet.greProtocol(), packet.tos(), packet.b)
		return
	}
	if !packet.segment(v, s.segment[:0], func(segment inner) { s.add(id, a, segment.greProtocol(), segment.tos(), segment.b) }) {
		s.pump.config.Tables.CountDrop(id, tables.DropInnerHeader, len(packet.b))
	}
}
