// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"net/netip"
)

// IPv4 is the header of a packet that a test makes up.
type IPv4 struct {
	From, To netip.Addr
	Protocol byte
	ID       uint16
	Fragment uint16 // flags and offset
	Options  []byte // a multiple of 4 octets
}

// Packet gives the header, with its checksum, and the payload.
func (h IPv4) Packet(payload []byte) []byte {
	const least = 20
	b := make([]byte, least, least+len(h.Options)+len(payload))
	b[0] = 0x40 | byte((least+len(h.Options))/4)
	binary.BigEndian.PutUint16(b[2:], uint16(cap(b)))
	binary.BigEndian.PutUint16(b[4:], h.ID)
	binary.BigEndian.PutUint16(b[6:], h.Fragment)
	b[8], b[9] = 64, h.Protocol
	copy(b[12:], h.From.AsSlice())
	copy(b[16:], h.To.AsSlice())
	b = append(b, h.Options...)
	binary.BigEndian.PutUint16(b[10:], ^Sum(b, 0))
	return append(b, payload...)
}

// Sum is the Internet checksum's sum (RFC 1071) of octets and of what comes before them; over
// what is right it is 0xffff.
func Sum(b []byte, before uint32) uint16 {
	total := before
	for ; len(b) > 1; b = b[2:] {
		total += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		total += uint32(b[0]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

// outer gives the protocol of an Ethernet frame's IP packet, and what is behind its header of 20
// octets in IPv4 and of 40 in IPv6; nil where it is no such packet.
func outer(frame []byte) (protocol byte, payload []byte) {
	const ipv4, ipv6 = atIP + 20, atIP + 40
	switch {
	case len(frame) > ipv4 && binary.BigEndian.Uint16(frame[12:]) == 0x0800 && frame[atIP] == 0x45:
		return frame[atIP+9], frame[ipv4:]
	case len(frame) > ipv6 && binary.BigEndian.Uint16(frame[12:]) == 0x86dd:
		return frame[atIP+6], frame[ipv6:]
	}
	return 0, nil
}

// IsRawESP says whether an Ethernet frame is ESP without UDP.
func IsRawESP(frame []byte) bool {
	protocol, esp := outer(frame)
	return protocol == 50 && len(esp) >= 8
}

// IsESPInUDP says whether an Ethernet frame is ESP in UDP, one packet or several in one: not
// IKE, and no NAT's keepalive.
func IsESPInUDP(frame []byte) bool {
	const header, ike = 8, 500
	protocol, udp := outer(frame)
	return protocol == 17 && len(udp) >= header+8 && binary.BigEndian.Uint16(udp) != ike && binary.BigEndian.Uint16(udp[2:]) != ike &&
		binary.BigEndian.Uint32(udp[header:]) != 0
}
