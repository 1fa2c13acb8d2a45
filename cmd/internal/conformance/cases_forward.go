// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"net/netip"
	"slices"

	"dmvpn/nhrpd/wire"
)

// forwardCases are chapters 12 and 13: serving and forwarding, the cache.
var forwardCases = []Case{
	{ID: "FW-01", Section: "2.2, 3", Level: Plain, Text: "a request for what lies behind a client goes to that client, or is answered with it", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		t.withNetwork(owner)
		where, _, answer := t.way(st, st.resolution(owner.Network.Addr().Next()), owner)
		t.must(where == owner, "it is not passed on: %v", answer)
	}},
	{ID: "FW-02", Section: "5.1", Level: Must, Text: "the hop count goes down by one; at 0 error 15, but what is for the server itself is processed", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := between(st, owner)
		p.HopCount = 1
		q := t.passed(st, p, owner)
		t.must(q.HopCount == 0, "1 became %d", q.HopCount)
		p = between(st, owner)
		p.HopCount = 0
		t.refused(st, st.bytes(p), wire.ErrorHopCountExceeded, "hop count 0")
		t.must(owner.wait(0, ofType(wire.ResolutionRequest, p.RequestID)) == nil, "with hop count 0 it is passed on")
		p = st.registration()
		p.HopCount = 0
		r := t.reply(st, p, wire.RegistrationReply)
		t.must(r.CIEs[0].Code == 0, "a registration with hop count 0: code %d", r.CIEs[0].Code)
	}},
	{ID: "FW-03", Section: "3", Level: Must, Text: "a serving NHS sends to its client directly", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		where, _, answer := t.way(st, between(st, owner), owner)
		t.must(where == owner, "a request for a client does not come to it: %v", answer)
	}},
	{ID: "FW-04", Section: "5, 5.2.7", Level: Must, Text: "what is too big for the next link is error 8, and never cut", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		size := t.s.full()
		p := st.padded(between(st, owner), size)
		where, passed, answer := t.way(st, p, owner)
		switch {
		case passed != nil:
			e, sent := passed.Extension(wire.ExtensionVendorPrivate), p.Extension(wire.ExtensionVendorPrivate)
			t.must(e != nil && bytes.Equal(e.Value, sent.Value), "a packet of %d octets arrives cut", size)
		case where == owner:
			t.skip("it answers for its clients itself")
		case answer == nil:
			t.differ("a packet of %d octets is dropped in silence, not error 8", size)
		default:
			t.must(answer.Type == wire.ErrorIndication && answer.ErrorCode == wire.ErrorPacketSizeExceeded, "%s", &received{Packet: answer, Protocol: wire.GREProtocol})
		}
	}},
	{ID: "FW-05", Section: "2.2", Level: Plain, Text: "what is behind the server it answers for itself, as egress", run: func(t *trial) {
		st := t.client()
		t.resolved(st, st.resolution(t.behind()))
	}},
	{ID: "FW-06", Section: "2.2", Level: Plain, Text: "source, id, flags and entries are not touched in transit", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := between(st, owner)
		p.Flags = 0xEFFD // but U
		p.SNAP = [5]byte{1, 2, 3, 4, 5}
		p.CIEs = []wire.CIE{{Code: 9, Unused: 7, PrefixLength: 28, MTU: 1234, HoldingTime: 60, Preference: 3, NBMA: t.s.elsewhere(), Protocol: t.s.nobody()}}
		q := t.passed(st, p, owner).Clone()
		t.must(q.SourceNBMA == p.SourceNBMA && q.SourceProtocol == p.SourceProtocol && q.DestinationProtocol == p.DestinationProtocol, "the addresses are changed")
		t.must(q.RequestID == p.RequestID && q.Flags == p.Flags, "id or flags are changed: 0x%04x became 0x%04x", p.Flags, q.Flags)
		t.must(len(q.CIEs) == 1 && q.CIEs[0].String() == p.CIEs[0].String() && q.CIEs[0].Unused == 7, "the entry is changed: %v", q.CIEs)
	}},
	{ID: "FW-07", Section: "-", Level: Habit, Text: "not back to where it came from: code 12 or error 6", run: func(t *trial) {
		st := t.client()
		t.withNetwork(st)
		p := st.resolution(st.Network.Addr().Next())
		r := t.ask(st, st.bytes(p))
		t.must(st.wait(0, ofType(wire.ResolutionRequest, p.RequestID)) == nil, "the request comes back")
		switch {
		case r == nil:
			t.differ("silence")
		case r.Packet == nil || r.Packet.Type == wire.ResolutionReply && r.Packet.CIEs[0].Code != wire.CodeNoBinding:
			t.differ("%s", r)
		}
	}},
	{ID: "FW-08", Section: "-", Level: Habit, Text: "another GRE key is another cloud", stations: 2, run: func(t *trial) {
		st, other := t.station(), t.client()
		key := t.s.o.Key + 1
		if key > 1<<32-1 {
			key = 0
		}
		if err := t.s.link.send(st.NBMA, key, wire.GREProtocol, st.bytes(st.registration())); err != nil {
			t.doubt("%v", err)
		}
		t.must(t.leads(other, st.Protocol, st) == nil, "a registration with key %d is taken in the cloud with key %d", key, t.s.o.Key)
	}},
	{ID: "FW-09", Section: "2.2", Level: Plain, Text: "a client that registered is found, by the server's answer or by its own", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		where, passed, _ := t.way(st, between(st, owner), owner)
		t.must(where == owner, "it is not found")
		if passed != nil {
			r := t.returned(owner, owner.answers(passed, wire.FlagAuthoritative), st)
			t.must(r != nil, "its answer does not come back")
		}
	}},
	{ID: "FW-10", Section: "-", Level: Habit, Text: "a default route gives no shortcut for the world", run: func(t *trial) {
		st := t.client()
		world := netip.MustParseAddr("8.8.8.8")
		if st.Protocol.Is6() {
			world = netip.MustParseAddr("2001:4860:4860::8888")
		}
		r := t.ask(st, st.bytes(st.resolution(world)))
		if r == nil {
			t.differ("silence")
		}
		if r.Packet != nil && r.Packet.Type == wire.ResolutionReply && r.Packet.CIEs[0].Code == 0 {
			prefix := r.Packet.CIEs[0].Prefix(world)
			t.must(prefix.Bits() >= world.BitLen()/4, "it answers for %v", prefix)
		}
	}},
	{ID: "FW-12", Section: "-", Level: Habit, Text: "a flood of requests does not keep others from registering", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.station()
		p := st.resolution(t.egress())
		b := st.bytes(p)
		for range 500 {
			st.raw(b)
		}
		r := t.reply(other, other.registration(), wire.RegistrationReply)
		other.registered = true
		t.must(r.CIEs[0].Code == 0, "code %d", r.CIEs[0].Code)
		r = t.reply(st, st.registration(), wire.RegistrationReply)
		t.must(r.CIEs[0].Code == 0, "who asked too much may not even register: code %d", r.CIEs[0].Code)
	}},
	{ID: "CA-02", Section: "5.2.0.1", Level: Must, Text: "a request's source is not remembered unless it says that it is stable", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.station()
		other.send(other.resolution(t.egress()))
		t.settle()
		where := t.leads(st, other.Protocol, other)
		t.must(where == nil, "who asked without S is given to others")
	}},
	{ID: "CA-03", Section: "6.2.1", Level: Must, Text: "a reply in transit is not remembered unless its destination is stable", stations: 3, run: func(t *trial) {
		st, owner, third := t.client(), t.client(), t.client()
		passed := t.passed(st, between(st, owner), owner)
		if t.returned(owner, owner.answers(passed, wire.FlagAuthoritative), st) == nil {
			t.doubt("the owner's answer did not come back")
		}
		p := between(third, owner)
		p.Flags &^= wire.FlagAuthoritative
		t.passedAgain(third, p, owner, "answered from what was not said to be stable")
	}},
	{ID: "CA-04", Section: "2.2, 6.2.1", Level: Must, Text: "an answer from cache says so: A is clear, and the responder is who has cached", stations: 3, run: func(t *trial) {
		st, owner, third := t.client(), t.client(), t.client()
		passed := t.passed(st, between(st, owner), owner)
		if t.returned(owner, owner.answers(passed, wire.FlagAuthoritative|wire.FlagDestinationStable), st) == nil {
			t.doubt("the owner's answer did not come back")
		}
		p := between(third, owner)
		p.Flags &^= wire.FlagAuthoritative
		where, q, answer := t.way(third, p, owner)
		if q != nil {
			return // it asks the owner
		}
		t.must(where == owner, "the second question is not answered")
		t.must(answer.Flags&wire.FlagAuthoritative == 0, "A is set")
		c := t.entries(answer, wire.ExtensionResponderAddress)
		t.must(len(c) == 1 && c[0].Protocol == t.s.o.Server.Addr(), "the responder is %v", c)
	}},
	{ID: "CA-09", Section: "-", Level: Habit, Text: "the longest prefix wins", stations: 3, run: func(t *trial) {
		st, owner, third := t.client(), t.client(), t.client()
		t.withNetwork(owner)
		narrow := netip.PrefixFrom(nth(owner.Network, 1, owner.Network.Bits()+2), owner.Network.Bits()+2)
		r := t.reply(third, third.registration(narrow), wire.RegistrationReply)
		if r.CIEs[0].Code != 0 {
			t.skip("it takes no part of another's prefix: code %d", r.CIEs[0].Code)
		}
		defer third.send(third.purge(narrow))
		t.must(t.leads(st, narrow.Addr().Next(), owner, third) == third, "%v is not asked of who has the /%d", narrow.Addr().Next(), narrow.Bits())
		t.must(t.leads(st, owner.Network.Addr().Next(), owner, third) == owner, "%v is not asked of who has the /%d", owner.Network.Addr().Next(), owner.Network.Bits())
	}},
}

// natCases are chapter 14: Cisco's extension 9.
var natCases = []Case{
	{ID: "NA-01", Section: "Cisco", Level: Plain, Text: "the NAT flag of a request is kept in its reply", run: func(t *trial) {
		st := t.station()
		for _, flags := range []uint16{wire.FlagNAT, wire.FlagNAT | wire.FlagRegistrationUnique} {
			p := st.natted(st.registration())
			p.Flags = flags
			r := t.reply(st, p, wire.RegistrationReply)
			st.registered = true
			t.must(r.CIEs[0].Code == 0, "flags 0x%04x: code %d", flags, r.CIEs[0].Code)
			if r.Flags != flags {
				t.note("flags 0x%04x came back as 0x%04x", flags, r.Flags)
			}
		}
	}},
	{ID: "NA-02", Section: "Cisco", Level: Plain, Text: "whose claimed NBMA address is another is told the one that was seen, nobody else", run: func(t *trial) {
		st := t.station()
		r := t.reply(st, st.natted(st.registration()), wire.RegistrationReply)
		st.registered = true
		for _, c := range t.entries(r, wire.ExtensionNATAddress) {
			t.must(c.Protocol != st.Protocol, "who is not behind a NAT is told %v", c.NBMA)
		}
		p := st.natted(st.registration())
		p.SourceNBMA = t.s.elsewhere()
		r = t.reply(st, p, wire.RegistrationReply)
		list := t.entries(r, wire.ExtensionNATAddress)
		t.must(slices.ContainsFunc(list, func(c wire.CIE) bool { return c.NBMA == st.NBMA }), "it is not told that it was seen at %v: %v", st.NBMA, list)
	}},
	{ID: "NA-03", Section: "Cisco", Level: Plain, Text: "the address that was seen goes along with a request in transit", stations: 2, run: func(t *trial) {
		st, owner := t.station(), t.client()
		p := st.natted(st.registration())
		p.SourceNBMA = t.s.elsewhere()
		t.register(st, p)
		p = st.natted(between(st, owner))
		p.SourceNBMA = t.s.elsewhere()
		q := t.passed(st, p, owner)
		list := t.entries(q, wire.ExtensionNATAddress)
		t.must(len(list) > 0 && list[0].NBMA == st.NBMA, "extension 9 of the request has %v, and it came from %v", list, st.NBMA)
	}},
	{ID: "NA-04", Section: "Cisco", Level: Plain, Text: "an extension 9 that is cut is error 9", run: func(t *trial) {
		st := t.client()
		p := st.natted(st.registration())
		p.Extension(wire.ExtensionNATAddress).Value = []byte{0, 32, 0, 0, 5}
		t.refused(st, st.bytes(p), wire.ErrorInvalidExtension, "5 octets")
	}},
	{ID: "NA-06", Section: "-", Level: Habit, Text: "several spokes behind one NBMA address do not displace each other", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		twin := *st
		twin.Protocol = t.s.nobody()
		t.reply(&twin, twin.registration(), wire.RegistrationReply)
		defer twin.send(twin.purge(host(twin.Protocol)))
		t.standing(other, st, "after another one registered from there")
		p := other.resolution(twin.Protocol)
		where, _, _ := t.way(other, p, st)
		t.must(where == st, "the second one behind %v is not found", st.NBMA)
	}},
}

// natted is a packet that speaks Cisco's NAT extension.
func (st *station) natted(p *wire.Packet) *wire.Packet {
	p.Flags |= wire.FlagNAT
	e, _ := p.NewEntries(wire.ExtensionNATAddress)
	p.Extensions = append(p.Extensions, e)
	return p
}
