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
	protocolICMP = 1
	protocolUDP  = 17
)

// datagram is an IPv4 packet of a few octets: UDP, or of another protocol with body.
func datagram(from, to netip.Addr, protocol byte, body []byte) []byte {
	const header = 20
	b := make([]byte, header, header+len(body)+8)
	b[0], b[8], b[9] = 0x45, 64, protocol
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	if protocol == protocolUDP {
		b = append(b, 0x9C, 0x40, 0x9C, 0x41)
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(body)))
		b = append(b, 0, 0)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[10:], wire.Checksum(b[:header]))
	return b
}

// carried sends data from a station to another one until it comes there, and skips the case
// where it never does: the target does not forward.
func (t *trial) carried(st, other *station) []byte {
	if !st.Protocol.Is4() {
		t.skip("data is IPv4's alone in this suite")
	}
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
		return r.Protocol == greIPv4 && len(r.Payload) >= 20 && string(r.Payload[12:16]) == string(st.Protocol.AsSlice()) &&
			string(r.Payload[16:20]) == string(other.Protocol.AsSlice())
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
