// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"dmvpn/loader/tables"
)

// Specification: RFC 2784 section 2, RFC 2890 section 2.
const (
	flagChecksum = 0x8000
	flagRouting  = 0x4000
	flagKey      = 0x2000
	flagSequence = 0x1000
	flagReserved = 0x0c00 // bits 4 and 5; bits 6 to 12 are ignored on receipt
	flagVersion  = 0x0007

	baseLength = 4
	wordLength = 4 // of each optional field
)

// Protocols in GRE.
const (
	ProtocolIPv4 = 0x0800
	ProtocolIPv6 = 0x86dd
	ProtocolNHRP = 0x2001 // RFC 2332 section 5.1
)

// Header is of GRE what this version uses, RFC 2784 and RFC 2890.
type Header struct {
	Protocol uint16 // EtherType of the payload
	Key      uint32 // meaningful with HasKey
	HasKey   bool
}

// Packet is one GRE packet that arrived.
type Packet struct {
	Header
	Source, Destination netip.Addr // outer
	TOS                 uint8      // outer, with the ECN bits
	Options             bool       // the outer header has options, or extension headers behind it
	Payload             []byte     // into the buffer of Read
}

// Malformed is the error about a packet that is not GRE as we take it. The
// packet is as far as it could be read.
type Malformed struct {
	Packet Packet
	Reason tables.Reason // DropTruncated, DropGREReserved, DropGRERouting or DropGREVersion
	Octets int           // of the outer packet
}

func (m *Malformed) Error() string {
	return fmt.Sprintf("underlay: GRE packet from %s: %s", m.Packet.Source, m.Reason)
}

// parse reads an IPv4 packet with GRE in it. As in BPF, GRE checksum and
// sequence number are stepped over. The error is a *Malformed.
func parse(b []byte) (Packet, error) {
	var p Packet
	bad := func(reason tables.Reason) (Packet, error) {
		return Packet{}, &Malformed{Packet: p, Reason: reason, Octets: len(b)}
	}
	if len(b) < 20 {
		return bad(tables.DropTruncated)
	}
	length := int(b[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	p.TOS = b[1]
	p.Source = netip.AddrFrom4([4]byte(b[12:16]))
	p.Destination = netip.AddrFrom4([4]byte(b[16:20]))
	p.Options = length > 20
	if b[0]>>4 != 4 || length < 20 || total < length+baseLength || len(b) < total {
		return bad(tables.DropTruncated)
	}
	var reason tables.Reason
	if p.Header, p.Payload, reason = ParseGRE(b[length:total]); reason != tables.DropNone {
		return bad(reason)
	}
	return p, nil
}

// ParseGRE reads a GRE header, RFC 2784 and RFC 2890, and gives what is behind it. On a
// reason other than DropNone the header is as far as it could be read.
func ParseGRE(b []byte) (h Header, payload []byte, reason tables.Reason) {
	if len(b) < baseLength {
		return h, nil, tables.DropTruncated
	}
	flags := binary.BigEndian.Uint16(b)
	h.Protocol = binary.BigEndian.Uint16(b[2:])
	b = b[baseLength:]
	// Routing brings the offset field that checksum shares with it.
	for _, field := range []uint16{flagChecksum | flagRouting, flagKey, flagSequence} {
		if flags&field == 0 {
			continue
		}
		if len(b) < wordLength {
			return h, nil, tables.DropTruncated
		}
		if field == flagKey {
			h.Key, h.HasKey = binary.BigEndian.Uint32(b), true
		}
		b = b[wordLength:]
	}
	switch {
	case flags&flagVersion != 0:
		return h, nil, tables.DropGREVersion
	case flags&flagRouting != 0:
		return h, nil, tables.DropGRERouting
	case flags&flagReserved != 0:
		return h, nil, tables.DropGREReserved
	}
	return h, b, tables.DropNone
}

// appendTo appends the header as it goes onto the wire.
func (h Header) appendTo(b []byte) []byte {
	if !h.HasKey {
		return binary.BigEndian.AppendUint16(append(b, 0, 0), h.Protocol)
	}
	b = binary.BigEndian.AppendUint16(b, flagKey)
	b = binary.BigEndian.AppendUint16(b, h.Protocol)
	return binary.BigEndian.AppendUint32(b, h.Key)
}

// Overhead gives the octets of outer IP and GRE around an inner packet to an NBMA address.
func (h Header) Overhead(to netip.Addr) int {
	if h.HasKey {
		return IPHeader(to) + baseLength + wordLength
	}
	return IPHeader(to) + baseLength
}
