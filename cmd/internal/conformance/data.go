// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"net/netip"
	"time"

	"dmvpn/nhrpd/wire"
)

// Protocols of what rides in the tunnel.
const (
	protocolICMP   = 1
	protocolUDP    = 17
	protocolICMPv6 = 58

	headerIPv4 = 20
	headerIPv6 = 40
)

// datagram is an IP packet of a few octets: UDP, or of another protocol with body.
func datagram(from, to netip.Addr, protocol byte, body []byte) []byte {
	if protocol == protocolUDP {
		b := []byte{0x9C, 0x40, 0x9C, 0x41}
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(body)))
		body = append(append(b, 0, 0), body...)
		if from.Is6() { // there a checksum is owed
			binary.BigEndian.PutUint16(body[6:], pseudo(from, to, protocol, body))
		}
	}
	if from.Is6() {
		b := make([]byte, headerIPv6, headerIPv6+len(body))
		b[0], b[6], b[7] = 0x60, protocol, 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
		copy(b[8:], from.AsSlice())
		copy(b[24:], to.AsSlice())
		return append(b, body...)
	}
	b := make([]byte, headerIPv4, headerIPv4+len(body))
	b[0], b[8], b[9] = 0x45, 64, protocol
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(body)))
	binary.BigEndian.PutUint16(b[10:], wire.Checksum(b))
	return append(b, body...)
}

// pseudo is the checksum of what rides in IPv6 (RFC 8200, section 8.1).
func pseudo(from, to netip.Addr, protocol byte, body []byte) uint16 {
	b := append(from.AsSlice(), to.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return wire.Checksum(append(append(b, 0, 0, 0, protocol), body...))
}

// unreachable is an ICMP error about an IP packet.
func unreachable(from, to netip.Addr, about []byte) []byte {
	if from.Is6() {
		body := append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, about...)
		binary.BigEndian.PutUint16(body[2:], pseudo(from, to, protocolICMPv6, body))
		return datagram(from, to, protocolICMPv6, body)
	}
	body := append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, about...)
	binary.BigEndian.PutUint16(body[2:], wire.Checksum(body))
	return datagram(from, to, protocolICMP, body)
}

// ends are the addresses of an IP packet, or of its beginning; invalid if they are not there.
func ends(b []byte) (from, to netip.Addr) {
	switch {
	case len(b) >= headerIPv4 && b[0]>>4 == 4:
		from, _ = netip.AddrFromSlice(b[12:16])
		to, _ = netip.AddrFromSlice(b[16:20])
	case len(b) >= headerIPv6 && b[0]>>4 == 6:
		from, _ = netip.AddrFromSlice(b[8:24])
		to, _ = netip.AddrFromSlice(b[24:40])
	}
	return from, to
}

// carried sends data from a station to another one until it comes there, and skips the case
// where it never does: the target does not forward.
func (t *trial) carried(st, other *station) []byte {
	b := datagram(st.Protocol, other.Protocol, protocolUDP, []byte("conformance."))
	for range tries {
		st.data(b)
		if r := t.until(other, isData(st, other)); r != nil {
			return b
		}
	}
	t.skip("data from one station does not come to the other: the target does not forward it")
	return nil
}

// isData says whether something is data from a station to another.
func isData(st, other *station) func(*received) bool {
	return func(r *received) bool {
		from, to := ends(r.Payload)
		return r.Protocol == wire.ProtocolOf(st.Protocol) && from == st.Protocol && to == other.Protocol
	}
}

// isIndication says whether something is a Traffic Indication.
func isIndication(r *received) bool {
	return r.Packet != nil && r.Packet.Type == wire.TrafficIndication
}

// indicated sends data, and gives the Traffic Indication that it earns.
func (t *trial) indicated(st, other *station) *wire.Packet {
	t.carried(st, other)
	r := t.told(st)
	if r != nil && r.Packet == nil {
		t.fail("what it tells cannot be read: %v", r.Err)
	}
	if r == nil {
		t.skip("it tells of no shorter way: redirect is off, or limited")
	}
	return r.Packet
}

// told waits for a Traffic Indication, or for what cannot be read.
func (t *trial) told(st *station) *received {
	return st.wait(max(t.s.o.Wait, 3*time.Second), func(r *received) bool {
		return isIndication(r) || r.Protocol == wire.GREProtocol && r.Packet == nil
	})
}
