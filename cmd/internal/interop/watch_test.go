// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"dmvpn/ikev2/wire"
)

// frame is an Ethernet frame with IPv4 and a body of a protocol.
func frame(from, to netip.Addr, protocol byte, body ...byte) []byte {
	b := append(make([]byte, 12), 0x08, 0)
	ip := make([]byte, 20, 20+len(body))
	ip[0], ip[9] = 0x45, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(body)))
	copy(ip[12:], from.AsSlice())
	copy(ip[16:], to.AsSlice())
	return append(append(b, ip...), body...)
}

func datagram(from, to uint16, body ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(body)))
	return append(append(b, 0, 0), body...)
}

func TestWhatIsOnTheWireIsTold(t *testing.T) {
	first, second := netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("192.0.2.2")
	w := &watch{first: first}
	m := wire.Message{Header: wire.Header{Exchange: wire.IKESAInit, Initiator: true}, Payloads: []wire.Payload{wire.Nonce(make([]byte, 32))}}
	ike, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	esp := []byte{0xC1, 2, 3, 4, 0, 0, 0, 1}
	for _, c := range []struct {
		name  string
		frame []byte
		is    func(seen) bool
	}{
		{"IKE to port 500", frame(first, second, 17, datagram(500, 500, ike...)...), func(s seen) bool {
			return s.fromFirst && s.port == 500 && s.message != nil && s.message.Exchange == wire.IKESAInit
		}},
		{"IKE from port 4500, to where a NAT put the peer", frame(second, first, 17, datagram(4500, 1024, append(make([]byte, 4), ike...)...)...), func(s seen) bool {
			return !s.fromFirst && s.port == 4500 && s.message != nil
		}},
		{"ESP in UDP", frame(first, second, 17, datagram(1024, 4500, esp...)...), func(s seen) bool { return s.esp == "c1020304" && s.port == 4500 }},
		{"ESP", frame(second, first, 50, esp...), func(s seen) bool { return s.esp == "c1020304" && s.port == 0 }},
		{"a keepalive", frame(first, second, 17, datagram(1024, 4500, 0xFF)...), func(s seen) bool { return s.keepalive && s.fromFirst }},
		{"GRE in clear", frame(first, second, 47, make([]byte, 24)...), func(s seen) bool { return s.gre }},
	} {
		if s, ok := w.decode(c.frame); !ok || !c.is(s) {
			t.Errorf("%s: %+v, %t", c.name, s, ok)
		}
	}
	for n := range 40 {
		w.decode(frame(first, second, 17, datagram(500, 500, ike...)...)[:n]) // does not panic
	}
}
