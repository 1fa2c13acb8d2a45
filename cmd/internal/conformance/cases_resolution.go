// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"
	"time"

	"dmvpn/nhrpd/wire"
)

// requestCases are chapter 3: Resolution Request.
var requestCases = []Case{
	{ID: "RQ-05", Section: "5.2.1-2", Level: Must, Text: "Q and S come back as they were sent", run: func(t *trial) {
		st := t.client()
		const both = wire.FlagRouter | wire.FlagSourceStable
		for _, flags := range []uint16{0, wire.FlagRouter, wire.FlagSourceStable, both} {
			p := st.resolution(t.egress())
			p.Flags = wire.FlagAuthoritative | flags
			if flags&wire.FlagSourceStable != 0 {
				p.CIEs = []wire.CIE{{HoldingTime: holding}}
			}
			r := t.resolved(st, p)
			t.must(r.Flags&both == flags, "flags 0x%04x came back as 0x%04x", p.Flags, r.Flags)
		}
	}},
	{ID: "RQ-06", Section: "5.2.1", Level: Must, Text: "to U only entries that were registered unique answer, with one entry", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.station()
		t.register(owner, owner.unique())
		p := between(st, owner)
		p.Flags |= wire.FlagUnique
		p.CIEs = []wire.CIE{{PrefixLength: wire.HostPrefix}}
		switch where, passed, answer := t.way(st, p, owner); {
		case passed != nil:
			t.must(passed.Flags&wire.FlagUnique != 0, "U is lost in transit")
		case where == owner:
			t.must(len(answer.CIEs) == 1, "%d entries", len(answer.CIEs))
		default:
			t.fail("an entry that was registered unique is not found")
		}
	}},
	{ID: "RQ-07", Section: "5.2.1", Level: Must, Text: "to U of what was registered plainly the answer is code 13; U is asked of a host", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := st.resolution(t.egress())
		p.Flags |= wire.FlagUnique
		p.CIEs = []wire.CIE{{PrefixLength: 24}}
		t.refused(st, st.bytes(p), wire.ErrorProtocolError, "U for a prefix")
		p = between(st, owner)
		p.Flags |= wire.FlagUnique
		p.CIEs = []wire.CIE{{PrefixLength: wire.HostPrefix}}
		where, passed, answer := t.way(st, p, owner)
		switch {
		case passed != nil: // the owner decides
		case where == owner:
			t.fail("U is answered from a plain entry")
		case answer == nil || answer.Type != wire.ResolutionReply:
			t.note("U for a plain entry: neither passed on nor answered with code 13")
		case len(answer.CIEs) > 0 && answer.CIEs[0].Code != wire.CodeNotUnique:
			t.fail("code %d, not 13", answer.CIEs[0].Code)
		}
	}},
	{ID: "RQ-09", Section: "5.2.1", Level: Must, Text: "no entry or one; its other fields are ignored", run: func(t *trial) {
		st := t.client()
		t.resolved(st, st.resolution(t.egress()))
		p := st.resolution(t.egress())
		p.CIEs = []wire.CIE{{Code: 9, Unused: 0xFFFF, MTU: 1400, Preference: 9, NBMA: t.s.elsewhere(), Protocol: t.s.nobody()}}
		r := t.resolved(st, p)
		t.must(r.CIEs[0].NBMA != t.s.elsewhere(), "the answer's entry is the question's")
		p = st.resolution(t.egress())
		p.CIEs = []wire.CIE{{}, {}}
		t.refused(st, st.bytes(p), wire.ErrorProtocolError, "two entries")
	}},
	{ID: "RQ-10", Section: "5.2.1", Level: Plain, Text: "the prefix of the entry is the widest that the asker takes", run: func(t *trial) {
		st := t.client()
		wide := t.resolved(st, st.resolution(t.behind())).CIEs[0].PrefixLength
		narrow := uint8(t.s.o.Behind.Addr().BitLen() - 4)
		if wide == 0 || wide >= narrow {
			t.skip("it answers for a host, asked for %v", t.egress())
		}
		p := st.resolution(t.egress())
		p.CIEs = []wire.CIE{{PrefixLength: narrow}}
		r := t.resolved(st, p)
		if r.CIEs[0].PrefixLength < narrow {
			t.differ("asked for at most a /%d it answers for a /%d", narrow, r.CIEs[0].PrefixLength)
		}
	}},
	{ID: "RQ-11", Section: "2.2", Level: Must, Text: "an authoritative request is never answered from cache", stations: 3, run: func(t *trial) {
		st, owner, third := t.client(), t.client(), t.client()
		passed := t.passed(st, between(st, owner), owner)
		if t.returned(owner, owner.answers(passed, wire.FlagAuthoritative|wire.FlagDestinationStable), st) == nil {
			t.doubt("the owner's answer did not come back")
		}
		t.passedAgain(third, between(third, owner), owner, "answered from cache")
	}},
	{ID: "RQ-12", Section: "-", Level: Habit, Text: "nonsense is answered with code 12", run: func(t *trial) {
		st := t.client()
		for _, a := range nonsense(st.Protocol) {
			p := st.resolution(a)
			r := t.ask(st, st.bytes(p))
			switch {
			case r == nil:
				t.note("asked for %v: silence", a)
			case r.Packet == nil || r.Packet.Type != wire.ResolutionReply || len(r.Packet.CIEs) == 0:
				t.note("asked for %v: %s", a, r)
			default:
				t.must(r.Packet.CIEs[0].Code == wire.CodeNoBinding, "asked for %v: code %d", a, r.Packet.CIEs[0].Code)
			}
		}
	}},
	{ID: "RQ-13", Section: "-", Level: Habit, Text: "nobody asks in another's name", stations: 3, run: func(t *trial) {
		st, victim, owner := t.client(), t.client(), t.client()
		p := between(st, owner)
		p.SourceProtocol = victim.Protocol
		where, passed, answer := t.way(st, p, owner)
		t.must(passed == nil && where == nil, "it is passed on or answered")
		t.must(answer == nil || answer.Type == wire.ErrorIndication || answer.CIEs[0].Code != 0, "it is answered")
	}},
	{ID: "RQ-14", Section: "5.2.0.1", Level: Plain, Text: "a repeat is answered again, and alike", run: func(t *trial) {
		st := t.client()
		p := st.resolution(t.egress())
		a := t.resolved(st, p)
		b := t.resolved(st, p)
		t.must(a.CIEs[0].Protocol == b.CIEs[0].Protocol && a.CIEs[0].NBMA == b.CIEs[0].NBMA && a.Flags == b.Flags, "the second answer is another one")
	}},
}

// nonsense are addresses that nobody can be asked for; own is the asker's.
func nonsense(own netip.Addr) []netip.Addr {
	list := []string{"224.0.0.5", "255.255.255.255", "0.0.0.0", "127.0.0.1", "169.254.1.1"}
	if own.Is6() {
		list = []string{"ff02::5", "::", "::1", "fe80::1"}
	}
	all := []netip.Addr{own}
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// replyCases are chapter 4: Resolution Reply.
var replyCases = []Case{
	{ID: "RP-01", Section: "5.2.2", Level: Must, Text: "to A all and only the authoritative entries", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		where, passed, answer := t.way(st, between(st, owner), owner)
		if passed != nil {
			t.skip("it passes requests on to whom they are about")
		}
		t.must(where == owner, "a registered client is not found")
		t.must(len(answer.CIEs) == 1, "one registration is answered with %d entries", len(answer.CIEs))
	}},
	{ID: "RP-02", Section: "5.2.2", Level: Must, Text: "who is asked with A for what is its own answers with A", run: func(t *trial) {
		st := t.client()
		r := t.resolved(st, st.resolution(t.egress()))
		t.must(r.Flags&wire.FlagAuthoritative != 0, "A is clear in the answer")
	}},
	{ID: "RP-05", Section: "5.2.2", Level: Must, Text: "where nothing matches: one entry with code 12, all else in it 0", run: func(t *trial) {
		st := t.client()
		p := st.resolution(t.s.nobody())
		r := t.ask(st, st.bytes(p))
		switch {
		case r == nil:
			t.fail("silence")
		case r.Packet == nil || r.Packet.Type != wire.ResolutionReply:
			t.fail("%s", r)
		}
		t.must(len(r.Packet.CIEs) == 1, "%d entries", len(r.Packet.CIEs))
		c := r.Packet.CIEs[0]
		t.must(c.Code == wire.CodeNoBinding, "code %d, not 12", c.Code)
		if c.MTU != 0 || c.HoldingTime != 0 || c.NBMA.IsValid() || c.Protocol.IsValid() || c.Preference != 0 || c.PrefixLength != 0 {
			t.fail("its entry is not all zeros: %v", &c)
		}
	}},
	{ID: "RP-07", Section: "5.2.2", Level: Must, Text: "the holding time of an answer is what is left of it", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.station()
		p := owner.registration()
		p.CIEs[0].HoldingTime = 30
		t.register(owner, p)
		time.Sleep(3 * time.Second)
		where, passed, answer := t.way(st, between(st, owner), owner)
		if passed != nil {
			t.skip("it passes requests on to whom they are about")
		}
		t.must(where == owner, "a registered client is not found")
		t.must(answer.CIEs[0].HoldingTime <= 28, "of 30 s, 3 s later %d are said to be left", answer.CIEs[0].HoldingTime)
	}},
	{ID: "RP-08", Section: "6.3", Level: Must, Text: "the prefix of an answer covers the destination and nothing that is reached otherwise", run: func(t *trial) {
		st := t.client()
		destination := t.behind()
		r := t.resolved(st, st.resolution(destination))
		prefix := r.CIEs[0].Prefix(destination)
		if bits := t.s.o.Behind.Bits(); prefix.Bits() < bits {
			t.fail("it answers for %v, wider than %v", prefix, t.s.o.Behind)
		} else if prefix.Bits() > bits {
			t.differ("it answers for %v, narrower than %v", prefix, t.s.o.Behind)
		}
	}},
	{ID: "RP-10", Section: "2.2", Level: Plain, Text: "for what is behind it, the next hop is the server itself", run: func(t *trial) {
		st := t.client()
		c := t.resolved(st, st.resolution(t.behind())).CIEs[0]
		t.must(c.Protocol == t.s.o.Server.Addr() && c.NBMA == t.s.o.Target, "the next hop is %v at %v", c.Protocol, c.NBMA)
	}},
	{ID: "RP-11", Section: "5.2.2", Level: Should, Text: "an unsolicited reply earns error 10", run: func(t *trial) {
		st := t.client()
		p := st.resolution(st.Network.Addr().Next())
		p.SourceProtocol, p.SourceNBMA = t.s.o.Server.Addr(), t.s.o.Target
		p = st.answers(p, wire.FlagAuthoritative)
		t.refused(st, st.bytes(p), wire.ErrorInvalidResolutionReply, "a reply to nothing")
	}},
	{ID: "RP-12", Section: "2.2, 3", Level: Must, Text: "a reply is passed on to the client that asked", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := between(st, owner)
		passed := t.passed(st, p, owner)
		r := t.returned(owner, owner.answers(passed, wire.FlagAuthoritative), st)
		t.must(r != nil, "the owner's answer does not come to the asker")
		c := r.CIEs[0]
		t.must(c.NBMA == owner.NBMA && c.Protocol == owner.Protocol && c.HoldingTime == holding, "the answer's entry came as %v", &c)
	}},
}
