// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// redirectCases are chapter 15: Traffic Indication, and what of chapter 17 is a server's.
var redirectCases = []Case{
	{ID: "TI-01", Section: "draft-dmvpn", Level: Must, Text: "type 8, code 0, from the server, with the beginning of the packet that went round", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		p := t.indicated(st, other)
		t.must(p.ErrorCode == 0, "code %d", uint16(p.ErrorCode))
		t.must(p.SourceProtocol == t.s.o.Server.Addr() && p.SourceNBMA == t.s.o.Target, "it is from %v at %v", p.SourceProtocol, p.SourceNBMA)
		from, to := ends(p.Contents)
		t.must(from == st.Protocol && to == other.Protocol, "its contents are not the packet: % x", p.Contents[:min(headerIPv6, len(p.Contents))])
		t.must(p.HopCount > 0, "hop count 0")
		other.data(datagram(other.Protocol, st.Protocol, protocolUDP, []byte("odd")))
		if r := t.told(other); r != nil && r.Packet == nil {
			t.fail("about a packet of odd length: %v", r.Err)
		}
	}},
	{ID: "TI-02", Section: "draft-dmvpn", Level: Plain, Text: "its destination is the packet's destination, or its source", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		p := t.indicated(st, other)
		t.must(p.DestinationProtocol == st.Protocol || p.DestinationProtocol == other.Protocol, "it is %v", p.DestinationProtocol)
	}},
	{ID: "TI-03", Section: "-", Level: Habit, Text: "it goes to the one whose packet it was, alone", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		t.indicated(st, other)
		t.settle()
		t.must(other.wait(t.s.o.Wait, isIndication) == nil, "the one whom the packet was for gets one")
	}},
	{ID: "TI-04", Section: "-", Level: Habit, Text: "not more than one in 8 s for a pair of addresses", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		t.indicated(st, other)
		b := datagram(st.Protocol, other.Protocol, protocolUDP, []byte("again"))
		for range 50 {
			st.data(b)
		}
		t.settle()
		n := 0
		for st.wait(t.s.o.Wait, isIndication) != nil {
			n++
		}
		t.must(n == 0, "50 more packets earn %d more", n)
	}},
	{ID: "TI-05", Section: "-", Level: Habit, Text: "none for multicast and for ICMP errors", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		t.indicated(st, other) // it does tell
		back := datagram(other.Protocol, st.Protocol, protocolUDP, []byte("there"))
		all := netip.MustParseAddr("224.0.0.5")
		if other.Protocol.Is6() {
			all = netip.MustParseAddr("ff02::5")
		}
		other.data(datagram(other.Protocol, all, protocolUDP, []byte("hello")))
		other.data(unreachable(other.Protocol, st.Protocol, back))
		t.settle()
		t.must(other.wait(t.s.o.Wait, isIndication) == nil, "it tells of a shorter way")
	}},
	{ID: "TI-06", Section: "draft-dmvpn", Level: Must, Text: "nothing is answered to one, whatever is wrong with it", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		p := st.plain(wire.TrafficIndication, t.s.o.Server.Addr())
		p.RequestID = 0
		for _, x := range append(oddContents, contents{"right", datagram(t.s.o.Server.Addr(), other.Protocol, protocolUDP, nil)}) {
			p.Contents = x.octets
			b := st.bytes(p)
			t.silent(st, b, x.what)
			t.silent(st, set(b, offVersion, 3), x.what+", of version 3")
		}
		p.ErrorCode = 7
		t.silent(st, st.bytes(p), "with code 7")
	}},
	{ID: "HU-04", Section: "3", Level: Should, Text: "who does not know a client of another server passes on or says code 12", run: func(t *trial) {
		st := t.client()
		r := t.ask(st, st.bytes(st.resolution(t.s.nobody())))
		t.must(r != nil, "silence")
		t.must(r.Packet != nil && r.Packet.Type == wire.ResolutionReply && r.Packet.CIEs[0].Code != 0, "%s", r)
	}},
	{ID: "HU-05", Section: "5.1, 5.3.2", Level: Must, Text: "a request that another server sends back ends: by the record, or by the hop count", stations: 2, run: func(t *trial) {
		st, second := t.client(), t.client()
		p := between(st, second)
		q := t.passed(st, p, second).Clone()
		q.HopCount--
		second.send(q) // as a server would whose route leads back
		t.settle()
		again := ofType(wire.ResolutionRequest, p.RequestID)
		round := second.wait(t.s.o.Wait, func(r *received) bool { return again(r) && r.Packet.HopCount < q.HopCount })
		t.must(round == nil, "with the record it goes round again")
		p = between(st, second)
		p.Extensions, p.HopCount = nil, 3
		b := st.bytes(p)
		st.raw(b)
		for round := 0; ; round++ {
			r := t.until(second, ofType(wire.ResolutionRequest, p.RequestID))
			if r == nil {
				break
			}
			t.must(round < 4, "without the record it goes round for ever")
			back := r.Packet.Clone()
			if back.HopCount == 0 {
				break
			}
			back.HopCount--
			second.send(back)
		}
	}},
	{ID: "HU-07", Section: "6.4", Level: Must, Text: "who forwards between clients does not resolve for them", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		t.carried(st, other)
		t.settle()
		asks := func(r *received) bool {
			return r.Packet != nil && r.Packet.Type == wire.ResolutionRequest && r.Packet.SourceProtocol == t.s.o.Server.Addr()
		}
		t.must(st.wait(t.s.o.Wait, asks) == nil && other.wait(0, asks) == nil, "it sends a Resolution Request of its own")
	}},
}

// contents are what may stand in a Traffic Indication.
type contents struct {
	what   string
	octets []byte
}

var oddContents = []contents{
	{"empty", nil}, {"cut", []byte{0x45, 0, 0}}, {"of no version", make([]byte, 40)}, {"IPv6", append([]byte{0x60}, make([]byte, 39)...)},
	{"IPv4", append([]byte{0x45}, make([]byte, 39)...)},
}
