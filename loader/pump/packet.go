// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"dmvpn/loader/underlay"
)

// Specification: RFC 791, RFC 8200, RFC 9293.
const (
	protocolICMP     = 1
	protocolTCP      = 6
	protocolUDP      = 17
	protocolFragment = 44 // of IPv6, section 4.5
	protocolICMPv6   = 58

	flagDF     = 0x4000
	flagMF     = 0x2000
	offsetMask = 0x1fff

	ipHeader  = 20
	ip6Header = 40
	tcpHeader = 20
	udpHeader = 8
)

// inner is an IP packet whose header was checked against its octets.
type inner struct {
	b      []byte // the packet, no more
	header int    // octets of its header; of IPv6 without what extends it
}

// parseInner checks what the header says; octets after the packet are cut off.
func parseInner(b []byte) (inner, bool) {
	if len(b) >= ip6Header && b[0]>>4 == 6 {
		return parseInner6(b)
	}
	if len(b) < ipHeader || b[0]>>4 != 4 {
		return inner{}, false
	}
	p := inner{b, int(b[0]&0x0f) * 4}
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 { // GSO above 64 KiB
		total = len(b)
	}
	if p.header < ipHeader || total < p.header || total > len(b) {
		return inner{}, false
	}
	p.b = b[:total]
	return p, true
}

func parseInner6(b []byte) (inner, bool) {
	total := ip6Header + int(binary.BigEndian.Uint16(b[4:]))
	if total == ip6Header && len(b) > 0xffff { // GSO above 64 KiB
		total = len(b)
	}
	if total > len(b) {
		return inner{}, false
	}
	return inner{b[:total], ip6Header}, true
}

func (p inner) six() bool         { return p.b[0]>>4 == 6 }
func (p inner) mayFragment() bool { return p.fragment()&flagDF == 0 }
func (p inner) payload() []byte   { return p.b[p.header:] }

// tos is the TOS octet of IPv4, the traffic class of IPv6.
func (p inner) tos() uint8 {
	if p.six() {
		return p.b[0]<<4 | p.b[1]>>4
	}
	return p.b[1]
}

// protocol is what follows the header.
func (p inner) protocol() uint8 {
	if p.six() {
		return p.b[6]
	}
	return p.b[9]
}

// fragment is IPv4's field; IPv6 is never cut on its way.
func (p inner) fragment() uint16 {
	if p.six() {
		return flagDF
	}
	return binary.BigEndian.Uint16(p.b[6:])
}

// first says that it is no later fragment.
func (p inner) first() bool {
	if p.six() {
		extension := p.payload()
		return p.protocol() != protocolFragment || len(extension) >= 4 && binary.BigEndian.Uint16(extension[2:])>>3 == 0
	}
	return p.fragment()&offsetMask == 0
}

func (p inner) source() netip.Addr {
	if p.six() {
		return netip.AddrFrom16([16]byte(p.b[8:24]))
	}
	return netip.AddrFrom4([4]byte(p.b[12:16]))
}

func (p inner) destination() netip.Addr {
	if p.six() {
		return netip.AddrFrom16([16]byte(p.b[24:40]))
	}
	return netip.AddrFrom4([4]byte(p.b[16:20]))
}

// greProtocol is the packet's type in GRE.
func (p inner) greProtocol() uint16 {
	if p.six() {
		return underlay.ProtocolIPv6
	}
	return underlay.ProtocolIPv4
}

// largestMSS is that of a segment without options in packets of mtu octets.
func (p inner) largestMSS(mtu int) int {
	if p.six() {
		return mtu - ip6Header - tcpHeader
	}
	return mtu - ipHeader - tcpHeader
}

// seal writes length and checksum of the header, which IPv6 has none of.
func (p inner) seal() {
	if p.six() {
		binary.BigEndian.PutUint16(p.b[4:], uint16(len(p.b)-ip6Header))
		return
	}
	binary.BigEndian.PutUint16(p.b[2:], uint16(len(p.b)))
	binary.BigEndian.PutUint16(p.b[10:], 0)
	binary.BigEndian.PutUint16(p.b[10:], ^fold(words(0, p.b[:p.header])))
}

// pseudo begins the checksum of TCP and UDP over the payload.
func (p inner) pseudo() uint32 {
	s := uint32(p.protocol()) + uint32(len(p.b)-p.header)
	if p.six() {
		return words(s, p.b[8:40])
	}
	return words(s, p.b[12:20])
}

// sum adds the octets to a checksum that is not yet folded; what is behind them, if
// anything, must begin at an even place. Ones' complement does not mind the order of octets
// in a word (RFC 1071, section 2): it takes them as they lie in memory, eight at a time.
func sum(s uint32, b []byte) uint32 {
	var carry uint64
	total, b := sumBlocks(b)
	for len(b) >= 64 {
		w := (*[64]byte)(b)
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(w[0:]), carry)
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(w[8:]), carry)
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(w[16:]), carry)
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(w[24:]), carry)
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(w[32:]), carry)
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(w[40:]), carry)
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(w[48:]), carry)
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(w[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		total, carry = bits.Add64(total, binary.NativeEndian.Uint64(b), carry)
		b = b[8:]
	}
	var rest [8]byte
	copy(rest[:], b)
	total, carry = bits.Add64(total, binary.NativeEndian.Uint64(rest[:]), carry)
	total, carry = bits.Add64(total, 0, carry)
	total += carry
	total = total>>32 + total&(1<<32-1)
	var word [2]byte
	binary.NativeEndian.PutUint16(word[:], fold64(total))
	// Callers add few sums of 16 bits: no overflow.
	return s + uint32(binary.BigEndian.Uint16(word[:]))
}

// words is sum of few octets, a multiple of four.
func words(s uint32, b []byte) uint32 {
	total := uint64(s)
	for ; len(b) >= 4; b = b[4:] {
		total += uint64(binary.BigEndian.Uint32(b))
	}
	return uint32(fold64(total))
}

func fold64(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// setECN writes the field and corrects the header checksum, RFC 1624 equation 3.
func (p inner) setECN(ecn uint8) {
	if p.six() {
		p.b[1] = p.b[1]&^(3<<4) | ecn<<4
		return
	}
	before := binary.BigEndian.Uint16(p.b)
	p.b[1] = p.b[1]&^3 | ecn
	after := binary.BigEndian.Uint16(p.b)
	checksum := binary.BigEndian.Uint16(p.b[10:])
	binary.BigEndian.PutUint16(p.b[10:], ^fold(uint32(^checksum)+uint32(^before)+uint32(after)))
}

// ecnExit gives the ECN field of a packet that leaves a tunnel, RFC 6040 section
// 4.2; false: drop it.
func ecnExit(in, out uint8) (uint8, bool) {
	const notECT, ect1, ect0, ce = 0, 1, 2, 3
	in, out = in&3, out&3
	switch {
	case in == notECT:
		return notECT, out != ce
	case out == ce:
		return ce, true
	case in == ect0 && out == ect1:
		return ect1, true
	}
	return in, true
}

// opens says whether the packet is a TCP SYN.
func (p inner) opens() bool {
	tcp := p.payload()
	return p.protocol() == protocolTCP && p.first() && len(tcp) >= tcpHeader && tcp[13]&0x02 != 0
}

// clampMSS lowers the MSS of a TCP SYN to limit.
func (p inner) clampMSS(limit int) {
	tcp := p.payload()
	if !p.opens() {
		return
	}
	end := int(tcp[12]>>4) * 4
	if end < tcpHeader || end > len(tcp) {
		return
	}
	for at := tcpHeader; at+4 <= end; {
		switch kind, length := tcp[at], int(tcp[at+1]); {
		case kind == 0:
			return
		case kind == 1:
			at++
		case kind == 2 && length == 4:
			p.setMSS(tcp, at+2, limit)
			return
		case length < 2:
			return
		default:
			at += length
		}
	}
}

// setMSS writes the value at an offset that may be odd, where its octets stand
// swapped in the sum.
func (p inner) setMSS(tcp []byte, at, limit int) {
	before, after := binary.BigEndian.Uint16(tcp[at:]), uint16(limit)
	if before <= after {
		return
	}
	binary.BigEndian.PutUint16(tcp[at:], after)
	if at%2 == 1 {
		before, after = before<<8|before>>8, after<<8|after>>8
	}
	checksum := binary.BigEndian.Uint16(tcp[16:])
	binary.BigEndian.PutUint16(tcp[16:], ^fold(uint32(^checksum)+uint32(^before)+uint32(after)))
}
