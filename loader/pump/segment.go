// SPDX-License-Identifier: Apache-2.0

package pump

import "encoding/binary"

// virtio_net_hdr, as a TUN device writes it: in host order.
const (
	vnetHeader   = 10
	vnetNeedsSum = 1 // flags: the checksum is partial

	gsoNone  = 0
	gsoTCPv4 = 1
	gsoTCPv6 = 4
	gsoUDPL4 = 5
	gsoECN   = 0x80
)

type vnet struct {
	flags, gsoType      uint8
	headers             uint16 // octets of all headers of a GSO packet
	gsoSize             uint16 // payload octets of a segment
	sumStart, sumOffset uint16 // from the first octet after the header
}

func parseVnet(b []byte) vnet {
	return vnet{
		flags: b[0], gsoType: b[1] &^ gsoECN, headers: binary.NativeEndian.Uint16(b[2:]),
		gsoSize:  binary.NativeEndian.Uint16(b[4:]),
		sumStart: binary.NativeEndian.Uint16(b[6:]), sumOffset: binary.NativeEndian.Uint16(b[8:]),
	}
}

// complete fills in the checksum that the kernel left to the device: the field
// holds the sum of the pseudo header. skip is what stands in front of the packet
// for which v was written.
func (p inner) complete(v vnet, skip int) bool {
	if v.flags&vnetNeedsSum == 0 {
		return true
	}
	start, at := int(v.sumStart)-skip, int(v.sumStart)-skip+int(v.sumOffset)
	if start < p.header || at+2 > len(p.b) {
		return false
	}
	checksum := ^fold(sum(0, p.b[start:]))
	if checksum == 0 && p.protocol() == protocolUDP {
		checksum = 0xffff // 0 means that there is none
	}
	binary.BigEndian.PutUint16(p.b[at:], checksum)
	return true
}

// gsoTCP is the type of a GSO packet of TCP.
func (p inner) gsoTCP() uint8 {
	if p.six() {
		return gsoTCPv6
	}
	return gsoTCPv4
}

// segment cuts a GSO packet into what goes onto the wire, each with its length,
// identification, sequence number, flags and checksums, and hands them to emit
// one by one: they share one buffer, scratch if it is large enough. False says that
// the packet is not GSO as its header says.
func (p inner) segment(v vnet, scratch []byte, emit func(inner)) bool {
	l4 := p.payload()
	header := udpHeader
	switch {
	case v.gsoType == p.gsoTCP() && p.protocol() == protocolTCP && len(l4) >= tcpHeader:
		header = int(l4[12]>>4) * 4
		if header < tcpHeader {
			return false
		}
	case v.gsoType == gsoUDPL4 && p.protocol() == protocolUDP:
	default:
		return false
	}
	if len(l4) <= header || v.gsoSize == 0 || !p.first() || p.header+header+int(v.gsoSize) > 0xffff {
		return false
	}
	headers := p.b[:p.header+header]
	data := l4[header:]
	buf := scratch
	if cap(buf) < len(headers)+int(v.gsoSize) {
		buf = make([]byte, len(headers)+int(v.gsoSize))
	}
	id, six := binary.BigEndian.Uint16(p.b[4:]), p.six()
	for at := 0; at < len(data); at += int(v.gsoSize) {
		part := data[at:min(len(data), at+int(v.gsoSize))]
		s := inner{append(append(buf[:0], headers...), part...), p.header}
		if !six {
			binary.BigEndian.PutUint16(s.b[4:], id)
			id++
		}
		s.seal()
		if s.protocol() == protocolTCP {
			s.sealTCP(at, at+len(part) == len(data))
		} else {
			s.sealUDP()
		}
		emit(s)
	}
	return true
}

// sealTCP makes the header that of the segment at the offset: CWR goes with the
// first, FIN and PSH with the last.
func (p inner) sealTCP(offset int, last bool) {
	const fin, psh, cwr = 0x01, 0x08, 0x80
	tcp := p.payload()
	binary.BigEndian.PutUint32(tcp[4:], binary.BigEndian.Uint32(tcp[4:])+uint32(offset))
	if offset > 0 {
		tcp[13] &^= cwr
	}
	if !last {
		tcp[13] &^= fin | psh
	}
	binary.BigEndian.PutUint16(tcp[16:], 0)
	binary.BigEndian.PutUint16(tcp[16:], ^fold(sum(p.pseudo(), tcp)))
}

func (p inner) sealUDP() {
	udp := p.payload()
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	binary.BigEndian.PutUint16(udp[6:], 0)
	checksum := ^fold(sum(p.pseudo(), udp))
	if checksum == 0 {
		checksum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], checksum)
}

// fragments cuts an IPv4 packet into fragments of at most mtu octets, RFC 791 section
// 3.2, and hands them to emit; they share one buffer. Options that are not to be
// copied become no-operations behind the first.
func (p inner) fragments(mtu int, emit func(inner)) bool {
	room := (mtu - p.header) &^ 7
	if room < 8 {
		return false
	}
	data := p.payload()
	before := p.fragment()
	buf := make([]byte, p.header+room)
	header := append([]byte(nil), p.b[:p.header]...)
	for at := 0; at < len(data); at += room {
		part := data[at:min(len(data), at+room)]
		field := before&offsetMask + uint16(at/8)
		if at+len(part) < len(data) || before&flagMF != 0 {
			field |= flagMF
		}
		f := inner{append(append(buf[:0], header...), part...), p.header}
		binary.BigEndian.PutUint16(f.b[6:], field)
		f.seal()
		emit(f)
		if at == 0 {
			forgetOptions(header[ipHeader:])
		}
	}
	return true
}

// forgetOptions makes no-operations of the options without the copied flag.
func forgetOptions(options []byte) {
	const end, noOperation, copied = 0, 1, 0x80
	for at := 0; at < len(options); {
		switch options[at] {
		case end:
			return
		case noOperation:
			at++
			continue
		}
		if at+1 >= len(options) || options[at+1] < 2 || at+int(options[at+1]) > len(options) {
			return
		}
		length := int(options[at+1])
		if options[at]&copied == 0 {
			for i := range length {
				options[at+i] = noOperation
			}
		}
		at += length
	}
}
