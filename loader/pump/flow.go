// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"encoding/binary"

	"dmvpn/loader/tables"
)

// flow is a packet that grows: TCP segments of one connection that follow each other, or UDP
// packets between the same ports, with the same headers but for lengths, identification (they
// are not to be fragmented, RFC 6864), sequence number, PSH and checksums, so that cutting it
// again gives the same packets. All have the same payload, the last one may have less.
type flow struct {
	buf    []byte // virtio_net_hdr and the packet that grows
	header int    // octets of IP header
	l4     int    // and of the header of TCP or UDP
	size   int    // payload of each segment; 0: buf is empty, or holds what does not grow
	count  int
	octets int
	next   uint32 // sequence number of TCP that continues it
	id     tables.PeerID
}

// mostDatagrams is how many UDP packets become one: the kernel's UDP_MAX_SEGMENTS to 6.8.
const mostDatagrams = 64

func (f *flow) idle() bool { return len(f.buf) == 0 }

// hash is the same for packets of one flow; fragments, which have no ports, may have another.
func (p inner) hash() uint32 {
	var h uint32
	if p.six() {
		// The flow label tells flows apart as well as ports do.
		a := binary.BigEndian.Uint64(p.b[8:]) ^ binary.BigEndian.Uint64(p.b[16:]) ^ binary.BigEndian.Uint64(p.b[24:])*3 ^ binary.BigEndian.Uint64(p.b[32:])*3
		h = (uint32(a>>32)*0x9e3779b1^uint32(a))*0x9e3779b1 ^ binary.BigEndian.Uint32(p.b)
	} else {
		h = binary.BigEndian.Uint32(p.b[12:])*0x9e3779b1 ^ binary.BigEndian.Uint32(p.b[16:])
	}
	if l4 := p.payload(); p.fragment()&^flagDF == 0 && len(l4) >= 4 && (p.protocol() == protocolTCP || p.protocol() == protocolUDP) {
		h = h*0x9e3779b1 ^ binary.BigEndian.Uint32(l4)
	}
	h *= 0x9e3779b1
	return h ^ h>>16
}

// begin puts the first packet into an idle flow; full says that it does not grow.
func (f *flow) begin(id tables.PeerID, in inner) (full bool) {
	f.id, f.octets, f.count = id, len(in.b), 1
	f.buf = append(f.buf[:vnetHeader], in.b...)
	f.header = in.header
	l4, payload := in.segmentable()
	if f.l4, f.size = l4, payload; payload == 0 {
		return true
	}
	if in.protocol() == protocolUDP {
		return false
	}
	f.next = binary.BigEndian.Uint32(in.b[in.header+4:]) + uint32(payload)
	return in.b[in.header+13]&flagPSH != 0
}

// TCP flags (RFC 9293, section 3.1).
const (
	flagPSH = 0x08
	flagACK = 0x10
)

// segmentable gives the lengths of the header of TCP or UDP and of the payload of a packet
// that may be part of a larger one; a payload of 0: it may not.
func (p inner) segmentable() (l4, payload int) {
	if p.header != ipHeader && !p.six() || p.fragment() != flagDF {
		return 0, 0
	}
	b := p.payload()
	switch p.protocol() {
	case protocolTCP:
		if len(b) < tcpHeader {
			return 0, 0
		}
		l4 = int(b[12]>>4) * 4
		if l4 < tcpHeader || b[13]&^flagPSH != flagACK {
			return 0, 0
		}
	case protocolUDP:
		l4 = udpHeader
		// One without a checksum would get one.
		if len(b) < udpHeader || int(binary.BigEndian.Uint16(b[4:])) != len(b) || b[6]|b[7] == 0 {
			return 0, 0
		}
	default:
		return 0, 0
	}
	// A wrong checksum must stay wrong.
	if l4 >= len(b) || fold(sum(p.pseudo(), b)) != 0xffff {
		return 0, 0
	}
	return l4, len(b) - l4
}

// grows says whether a packet continues the one in the buffer.
func (f *flow) grows(id tables.PeerID, in inner) bool {
	if f.size == 0 || id != f.id || len(in.b) <= f.header+f.l4 || in.header != f.header {
		return false
	}
	have := f.buf[vnetHeader:]
	l4, old := in.payload(), have[f.header:]
	if !sameHeader(in, inner{have, f.header}) || !bytes.Equal(l4[:4], old[:4]) { // ports
		return false
	}
	switch in.protocol() {
	case protocolTCP:
		// Sequence, acknowledgement, offset, window, options.
		if binary.BigEndian.Uint32(l4[4:]) != f.next || !bytes.Equal(l4[8:13], old[8:13]) ||
			!bytes.Equal(l4[14:16], old[14:16]) || !bytes.Equal(l4[20:f.l4], old[20:f.l4]) {
			return false
		}
	case protocolUDP:
		if f.count == mostDatagrams {
			return false
		}
	}
	header, payload := in.segmentable()
	return header == f.l4 && payload > 0 && payload <= f.size && len(have)+payload <= 65535
}

// sameHeader compares what stays the same in the IP headers of a flow: addresses, protocol,
// TTL, TOS, and the flow label.
func sameHeader(a, b inner) bool {
	if a.six() || b.six() {
		return bytes.Equal(a.b[:4], b.b[:4]) && bytes.Equal(a.b[6:ip6Header], b.b[6:ip6Header])
	}
	return bytes.Equal(a.b[12:20], b.b[12:20]) && a.b[9] == b.b[9] && a.b[8] == b.b[8] && a.b[1] == b.b[1]
}

// grow appends it; full says that nothing may follow.
func (f *flow) grow(in inner) (full bool) {
	payload := in.b[f.header+f.l4:]
	f.buf = append(f.buf, payload...)
	f.count++
	f.octets += len(in.b)
	if in.protocol() == protocolUDP {
		return len(payload) < f.size
	}
	f.next += uint32(len(payload))
	psh := in.b[f.header+13] & flagPSH
	f.buf[vnetHeader+f.header+13] |= psh
	return len(payload) < f.size || psh != 0
}

// finish makes the header that of the whole; the checksum of TCP or UDP is left to whoever
// cuts it, over the pseudo header as is the way of partial ones.
func (f *flow) finish() vnet {
	whole := inner{f.buf[vnetHeader:], f.header}
	whole.seal()
	v := vnet{flags: vnetNeedsSum, gsoType: whole.gsoTCP(), headers: uint16(f.header + f.l4), gsoSize: uint16(f.size),
		sumStart: uint16(f.header), sumOffset: 16}
	l4 := whole.payload()
	if whole.protocol() == protocolUDP {
		v.gsoType, v.sumOffset = gsoUDPL4, 6
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	binary.BigEndian.PutUint16(l4[v.sumOffset:], 0)
	binary.BigEndian.PutUint16(l4[v.sumOffset:], fold(whole.pseudo()))
	return v
}
