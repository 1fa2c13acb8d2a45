// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"encoding/binary"

	"dmvpn/loader/tables"
)

// merger writes inner packets into the tunnel device's queue. Consecutive TCP segments of
// one connection become one GSO packet, as the kernel's own GRO makes it: with the same
// headers but for length, identification, sequence number, acknowledgement flags and
// checksums, so that cutting it again gives the same packets.
type merger struct {
	pump   *Pump
	buf    []byte // virtio_net_hdr and the packet that grows
	header int    // octets of IP header
	tcp    int    // and TCP header
	size   int    // payload of each segment; 0: buf is empty, or holds what does not grow
	count  int
	octets int
	next   uint32 // sequence number that continues it
	id     tables.PeerID
}

// mergeBuffer is the largest GSO packet with its virtio_net_hdr.
const mergeBuffer = vnetHeader + 65535

func newMerger(p *Pump) *merger { return &merger{pump: p, buf: make([]byte, 0, mergeBuffer)} }

func (m *merger) idle() bool { return len(m.buf) == 0 }

// add takes a packet whose header was checked.
func (m *merger) add(id tables.PeerID, in inner) {
	if m.grows(id, in) {
		m.grow(in)
		return
	}
	m.flush()
	m.id, m.octets, m.count = id, len(in.b), 1
	m.buf = append(m.buf[:vnetHeader], in.b...)
	m.size = 0
	tcp, payload := in.segmentable()
	if payload == 0 {
		m.flush()
		return
	}
	m.header, m.tcp, m.size = in.header, tcp, payload
	m.next = binary.BigEndian.Uint32(in.b[in.header+4:]) + uint32(payload)
	if in.b[in.header+13]&flagPSH != 0 {
		m.flush()
	}
}

// TCP flags (RFC 9293, section 3.1).
const (
	flagFIN = 0x01
	flagPSH = 0x08
	flagACK = 0x10
)

// segmentable gives the lengths of TCP header and payload of a packet that may be part of
// a larger one; a payload of 0: it may not.
func (p inner) segmentable() (tcp, payload int) {
	if p.protocol() != protocolTCP || p.header != ipHeader || p.fragment() != flagDF {
		return 0, 0
	}
	l4 := p.payload()
	if len(l4) < tcpHeader {
		return 0, 0
	}
	tcp = int(l4[12]>>4) * 4
	if tcp < tcpHeader || tcp >= len(l4) || l4[13]&^flagPSH != flagACK {
		return 0, 0
	}
	// A wrong checksum must stay wrong.
	if fold(sum(p.pseudo(), l4)) != 0xffff {
		return 0, 0
	}
	return tcp, len(l4) - tcp
}

// grows says whether a packet continues the one in the buffer.
func (m *merger) grows(id tables.PeerID, in inner) bool {
	if m.size == 0 || id != m.id || len(in.b) < ipHeader+tcpHeader || in.header != m.header || in.protocol() != protocolTCP {
		return false
	}
	have := m.buf[vnetHeader:]
	l4, old := in.payload(), have[m.header:]
	// Addresses, ports, TTL, TOS; then sequence, acknowledgement, offset, window, options.
	if !bytes.Equal(in.b[12:20], have[12:20]) || in.b[1] != have[1] || in.b[8] != have[8] || !bytes.Equal(l4[:4], old[:4]) ||
		binary.BigEndian.Uint32(l4[4:]) != m.next || len(l4) <= m.tcp || !bytes.Equal(l4[8:13], old[8:13]) ||
		!bytes.Equal(l4[14:16], old[14:16]) || !bytes.Equal(l4[20:m.tcp], old[20:m.tcp]) {
		return false
	}
	tcp, payload := in.segmentable()
	return tcp == m.tcp && payload > 0 && payload <= m.size && len(have)+payload <= 65535
}

func (m *merger) grow(in inner) {
	payload := in.b[m.header+m.tcp:]
	m.buf = append(m.buf, payload...)
	m.next += uint32(len(payload))
	m.count++
	m.octets += len(in.b)
	psh := in.b[m.header+13] & flagPSH
	m.buf[vnetHeader+m.header+13] |= psh
	if len(payload) < m.size || psh != 0 {
		m.flush()
	}
}

// flush writes what the buffer holds.
func (m *merger) flush() {
	if m.idle() {
		return
	}
	p := m.pump
	v := vnet{}
	if m.count > 1 {
		v = m.finish()
	}
	v.put(m.buf)
	p.writing.Lock()
	_, err := p.config.Queue.Write(m.buf)
	p.writing.Unlock()
	if err != nil {
		p.config.Tables.CountDrops(m.id, tables.DropSlowPath, m.count, m.octets)
	} else {
		p.config.Tables.CountReceivedMany(m.id, m.count, m.octets)
	}
	m.buf, m.size = m.buf[:0], 0
}

// finish makes the header that of the whole; the checksum of TCP is left to whoever cuts
// it, over the pseudo header as is the way of partial ones.
func (m *merger) finish() vnet {
	whole := inner{m.buf[vnetHeader:], m.header}
	whole.seal()
	l4 := whole.payload()
	binary.BigEndian.PutUint16(l4[16:], 0)
	binary.BigEndian.PutUint16(l4[16:], fold(whole.pseudo()))
	return vnet{flags: vnetNeedsSum, gsoType: gsoTCPv4, headers: uint16(m.header + m.tcp), gsoSize: uint16(m.size),
		sumStart: uint16(m.header), sumOffset: 16}
}
