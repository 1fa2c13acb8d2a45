// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// placeCases are about who is where, of several chapters: what a server holds of its clients
// besides their plain registration.
var placeCases = []Case{
	{ID: "HD-11", Section: "-", Level: Habit, Text: "a packet of the other IP version is answered in kind, or not at all", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.ProtocolType, p.SourceProtocol, p.DestinationProtocol = wire.ProtocolIPv6, netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("2001:db8::1")
		if st.Protocol.Is6() {
			p.ProtocolType, p.SourceProtocol, p.DestinationProtocol = wire.ProtocolIPv4, netip.MustParseAddr("10.0.0.77"), netip.MustParseAddr("10.0.0.1")
		}
		p.Extensions = nil
		r := t.ask(st, st.bytes(p))
		if r == nil || r.Packet != nil && r.Packet.Type == wire.ErrorIndication {
			return
		}
		t.must(r.Packet != nil && r.Packet.ProtocolType == p.ProtocolType && r.Packet.SourceProtocol == p.SourceProtocol, "%s", r)
	}},
	{ID: "RP-03", Section: "5.2.2", Level: Plain, Text: "D is the responder's word, and is not changed in transit", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		for _, flag := range []uint16{0, wire.FlagDestinationStable} {
			passed := t.passed(st, between(st, owner), owner)
			r := t.returned(owner, owner.answers(passed, wire.FlagAuthoritative|flag), st)
			if r == nil {
				t.doubt("the owner's answer did not come back")
			}
			t.must(r.Flags&wire.FlagDestinationStable == flag, "flags 0x%04x came with D of 0x%04x", r.Flags, flag)
		}
	}},
	{ID: "RG-12", Section: "5.2.3", Level: Must, Text: "no room is code 5, and what is inside is still refreshed", run: func(t *trial) {
		st := t.client()
		full := false
		for n := uint32(0); n < 12 && !full; n++ {
			p := st.registration()
			p.CIEs = nil
			for i := range uint32(20) {
				p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: wire.HostPrefix, HoldingTime: holding, Protocol: nth(st.Network, n*20+i+1, st.Protocol.BitLen())})
			}
			for _, c := range t.reply(st, p, wire.RegistrationReply).CIEs {
				if full = full || c.Code != 0; full {
					if n == 0 {
						t.skip("it takes no prefixes: code %d", c.Code)
					}
					t.must(c.Code == wire.CodeInsufficientResources, "code %d, not 5", c.Code)
				}
			}
		}
		if !full {
			t.skip("it has room for 240 entries of one client")
		}
		r := t.reply(st, st.registration(), wire.RegistrationReply)
		t.must(r.CIEs[0].Code == 0, "a refresh: code %d", r.CIEs[0].Code)
	}},
	{ID: "AU-07", Section: "-", Level: Habit, Text: "an error does not give the password away", run: func(t *trial) {
		t.secret()
		st := t.client()
		p := st.registration()
		a, _ := wire.NewCiscoAuthentication("wr0ng!")
		p.Extensions = append(p.Extensions, a)
		r := t.ask(st, st.bytes(p))
		t.must(r == nil || !bytes.Contains(r.Payload, []byte(t.s.o.Auth)), "the error about a wrong one has the right one in it")
	}},
	{ID: "CA-08", Section: "-", Level: Habit, Text: "what is heard in an answer does not hide a registration", stations: 3, run: func(t *trial) {
		st, owner, third := t.client(), t.client(), t.client()
		p := owner.answers(t.passed(st, between(st, owner), owner), wire.FlagAuthoritative|wire.FlagDestinationStable)
		p.CIEs[0].NBMA = t.s.elsewhere()
		t.returned(owner, p, st)
		q := between(third, owner)
		q.Flags &^= wire.FlagAuthoritative
		where, _, answer := t.way(third, q, owner)
		t.must(where == owner, "%v does not lead to where it is registered: %v", owner.Protocol, answer)
	}},
	{ID: "NA-05", Section: "-", Level: Habit, Text: "where a client is seen counts more than where it says it is", stations: 2, run: func(t *trial) {
		st, other := t.station(), t.client()
		p := st.registration()
		p.SourceNBMA = t.s.elsewhere()
		t.register(st, p)
		where, _, answer := t.way(other, between(other, st), st)
		t.must(where == st, "a request for it is not sent to where it is: %v", answer)
	}},
	{ID: "TI-10", Section: "draft-dmvpn", Level: Plain, Text: "both ends are told", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		t.indicated(st, other)
		t.carried(other, st)
		t.must(t.until(other, isIndication) != nil, "one end is told, and the other one is not")
	}},
	{ID: "HU-06", Section: "-", Level: Habit, Text: "a client that is a hub of its own asks for those behind it", stations: 2, run: func(t *trial) {
		st, regional := t.client(), t.client()
		t.withNetwork(regional)
		p := between(regional, st)
		p.SourceProtocol, p.SourceNBMA = regional.Network.Addr().Next(), t.s.elsewhere()
		where, passed, _ := t.way(regional, p, st)
		t.must(where == st, "its question in the name of one behind it is not passed on")
		if passed == nil {
			return
		}
		a := st.answers(passed, wire.FlagAuthoritative)
		t.must(t.returned(st, a, regional) != nil, "the answer for one behind it does not come to it")
	}},
	{ID: "HU-09", Section: "-", Level: Habit, Text: "a client that is not unique and registers from elsewhere is there", stations: 3, run: func(t *trial) {
		st, moved, other := t.client(), t.station(), t.client()
		p := moved.registration()
		p.SourceProtocol = st.Protocol
		r := t.reply(moved, p, wire.RegistrationReply)
		t.must(r.CIEs[0].Code == 0, "code %d", r.CIEs[0].Code)
		where := t.leads(other, st.Protocol, st, moved)
		t.must(where == moved, "it is still looked for where it was")
	}},
}

// holdingCases are about what a client takes from an answer.
var holdingCases = []Case{
	{ID: "RP-15", Section: "-", Level: Habit, Text: "an answer for more than any site has is not taken as it is", run: func(t *trial) {
		d := t.destination()
		p := t.server.answers(t.asked(d), wire.FlagAuthoritative)
		p.CIEs[0].PrefixLength = 1
		t.server.send(p)
		t.settle()
		t.must(t.question(t.destination()) != nil, "after an answer for %v/1 it asks for nothing else", d)
	}},
	{ID: "CA-06", Section: "6.2.1", Level: Plain, Text: "what it knows as a client it does not answer for as an authority", run: func(t *trial) {
		d := t.destination()
		t.server.send(t.server.answers(t.asked(d), wire.FlagAuthoritative))
		t.settle()
		r := t.ask(t.server.station, t.server.bytes(t.spoke(d)))
		t.must(r == nil || r.Packet == nil || r.Packet.Type != wire.ResolutionReply || r.Packet.CIEs[0].Code != 0, "it answers for %v: %v", d, r)
	}},
	{ID: "SC-07", Section: "-", Level: Habit, Text: "no answer hides its own network", run: func(t *trial) {
		if !t.s.o.Behind.IsValid() {
			t.skip("no network behind the client is named (--behind)")
		}
		d := t.destination()
		p := t.server.answers(t.asked(d), wire.FlagAuthoritative)
		p.CIEs[0].PrefixLength = 8
		t.server.send(p)
		t.settle()
		c := t.resolved(t.server.station, t.spoke(t.own())).CIEs[0]
		t.must(c.Protocol == t.server.client, "for its own network it answers with %v", c.Protocol)
	}},
}
