// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Lengths of headers, in octets.
const (
	ethernetLength = 14
	ipv4Length     = 20
	greLength      = 8 // with key
	udpLength      = 8
)

// A pattern is 10,000 IPv4 addresses, one for each peer: A.(B+n/256).(n%256).D.
type pattern struct{ a, b, d byte }

// address gives the address of peer n.
func (p pattern) address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{p.a, p.b + byte(n>>8), byte(n), p.d})
}

// network gives the /24 around the address of peer n.
func (p pattern) network(n int) netip.Prefix {
	return netip.PrefixFrom(p.address(n), 24).Masked()
}

// A field is an address of a frame that is another one in every packet. The
// first one of a frame belongs to the peer that is drawn, those with partner to
// its neighbour: each peer talks with one other.
type field struct {
	header  int // where the IPv4 header begins, in octets from the frame's begin
	at      int // of the address, from the header's begin: 12 source, 16 destination
	pattern pattern
	partner bool
}

// A frame is what the generator sends: a template and what changes in it.
type frame struct {
	data   []byte
	fields []field
}

// source and destination are what stands in an IPv4 header: a fixed address or
// a pattern.
type side struct {
	fixed   netip.Addr
	pattern pattern
	partner bool
}

func fixed(s string) side      { return side{fixed: netip.MustParseAddr(s)} }
func random(p pattern) side    { return side{pattern: p} }
func partnerOf(p pattern) side { return side{pattern: p, partner: true} }

// plainFrame makes UDP in IPv4 of so many octets in Ethernet.
func plainFrame(to net.HardwareAddr, octets int, source, destination side) frame {
	var f frame
	f.ethernet(to)
	f.inner(octets, source, destination)
	return f
}

// greFrame makes the same within GRE with a key, RFC 2890.
func greFrame(to net.HardwareAddr, octets int, outerSource, outerDestination side, key uint32, source, destination side) frame {
	var f frame
	f.ethernet(to)
	f.ipv4(ipv4Length+greLength+octets, 47, outerSource, outerDestination)
	f.data = binary.BigEndian.AppendUint32(f.data, 0x2000_0800)
	f.data = binary.BigEndian.AppendUint32(f.data, key)
	f.inner(octets, source, destination)
	return f
}

func (f *frame) ethernet(to net.HardwareAddr) {
	f.data = append(f.data, to...)
	f.data = append(f.data, 0x02, 0, 0, 0, 0, 0x01)
	f.data = append(f.data, 0x08, 0x00)
}

func (f *frame) inner(octets int, source, destination side) {
	f.ipv4(octets, 17, source, destination)
	f.data = binary.BigEndian.AppendUint16(f.data, 40000)
	f.data = binary.BigEndian.AppendUint16(f.data, 9) // discard
	f.data = binary.BigEndian.AppendUint16(f.data, uint16(octets-ipv4Length))
	f.data = append(f.data, 0, 0) // no checksum
	f.data = append(f.data, make([]byte, octets-ipv4Length-udpLength)...)
}

// ipv4 appends a header without its checksum, which the generator fills in.
func (f *frame) ipv4(total int, protocol byte, source, destination side) {
	header := len(f.data)
	h := make([]byte, ipv4Length)
	h[0] = 0x45
	binary.BigEndian.PutUint16(h[2:], uint16(total))
	h[6] = 0x40 // do not fragment
	h[8] = 64
	h[9] = protocol
	for _, s := range []struct {
		at int
		side
	}{{12, source}, {16, destination}} {
		if s.fixed.IsValid() {
			copy(h[s.at:], s.fixed.AsSlice())
			continue
		}
		h[s.at], h[s.at+3] = s.pattern.a, s.pattern.d
		f.fields = append(f.fields, field{header: header, at: s.at, pattern: s.pattern, partner: s.partner})
	}
	f.data = append(f.data, h...)
}

// headers gives how many octets from the begin hold headers that forwarding may
// change: the generator writes them anew for every packet.
func (f *frame) headers() int {
	last := ethernetLength
	for at := ethernetLength; at+ipv4Length <= len(f.data) && f.data[at] == 0x45; {
		last = at + ipv4Length
		if f.data[at+9] != 47 {
			break
		}
		at += ipv4Length + greLength
	}
	return last
}

// ipHeaders gives where the IPv4 headers begin.
func (f *frame) ipHeaders() []int {
	list := []int{ethernetLength}
	if f.data[ethernetLength+9] == 47 {
		list = append(list, ethernetLength+ipv4Length+greLength)
	}
	return list
}
