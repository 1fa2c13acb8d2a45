// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"net/netip"
	"time"

	"dmvpn/nhrpd/wire"
)

// commonCases are chapter 2: common fields and client information entries.
var commonCases = []Case{
	{ID: "CM-01", Section: "5.2.0.1", Level: Must, Text: "a reply carries its request's id", run: func(t *trial) {
		st := t.client()
		for _, id := range []uint32{0, 1, 0xFFFFFFFF} {
			p := st.registration()
			p.RequestID = id
			replies, stop := t.s.link.expect(id)
			for range tries {
				st.send(p)
				select {
				case r := <-replies:
					stop()
					t.must(r.Packet.Type == wire.RegistrationReply, "id %d: %s", id, &r)
				case <-time.After(max(t.s.o.Wait, time.Second)):
					continue
				}
				break
			}
			stop()
			strange := func(r *received) bool {
				return r.Packet != nil && r.Packet.Type == wire.RegistrationReply && t.s.ids.Load()-r.Packet.RequestID > 1<<20
			}
			if a := st.wait(0, strange); a != nil {
				t.fail("a request of id %d is answered with %d", id, a.Packet.RequestID)
			}
		}
	}},
	{ID: "CM-04", Section: "5.2.0.1", Level: Must, Text: "a prefix length of 0 is a host, as 0xFF is; in a purge it is not all", stations: 3, run: func(t *trial) {
		st, other, third := t.client(), t.client(), t.client()
		for _, bits := range []uint8{0, wire.HostPrefix, uint8(st.Protocol.BitLen())} {
			p := st.registration()
			p.CIEs[0].PrefixLength = bits
			r := t.reply(st, p, wire.RegistrationReply)
			t.must(r.CIEs[0].Code == 0, "registration with prefix length %d: code %d", bits, r.CIEs[0].Code)
		}
		p := other.purge(host(other.Protocol))
		p.CIEs[0].PrefixLength = 0
		other.send(p)
		t.settle()
		t.standing(third, st, "a purge of a host with prefix length 0 by another")
	}},
	{ID: "CM-05", Section: "-", Level: Habit, Text: "prefix lengths between a host's and 0xFF are refused; host bits do not matter", run: func(t *trial) {
		st := t.client()
		for _, bits := range []uint8{uint8(st.Protocol.BitLen()) + 1, 254} {
			p := st.registration()
			p.CIEs[0].PrefixLength = bits
			r := t.ask(st, st.bytes(p))
			t.must(r == nil || r.Packet == nil || r.Packet.Type == wire.ErrorIndication || r.Packet.CIEs[0].Code != 0, "prefix length %d is taken", bits)
		}
		p := st.registration(netip.PrefixFrom(st.Network.Addr().Next(), st.Network.Bits()))
		r := t.reply(st, p, wire.RegistrationReply)
		if code := r.CIEs[0].Code; code != 0 {
			t.skip("it takes no prefixes: code %d", code)
		}
	}},
	{ID: "CM-06", Section: "5.2.0.1", Level: Must, Text: "the holding time is 0 on a NAK", run: func(t *trial) {
		st := t.client()
		p := st.registration(host(t.s.o.Server.Addr()))
		r := t.reply(st, p, wire.RegistrationReply)
		if r.CIEs[0].Code == 0 {
			t.fail("the server's own address can be registered")
		}
		t.must(r.CIEs[0].HoldingTime == 0, "a NAK (code %d) with a holding time of %d", r.CIEs[0].Code, r.CIEs[0].HoldingTime)
		if n := t.refusal(st, st.resolution(t.s.nobody())); n != nil {
			t.must(n.CIEs[0].HoldingTime == 0, "a NAK (code %d) with a holding time of %d", n.CIEs[0].Code, n.CIEs[0].HoldingTime)
		}
	}},
	{ID: "CM-07", Section: "5.2.0.1", Level: Must, Text: "what has expired is thrown away", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.station()
		const short = 4
		p := other.registration()
		p.CIEs[0].HoldingTime = short
		t.register(other, p)
		ends := time.Now().Add(short * time.Second)
		where := t.leads(st, other.Protocol, other)
		if time.Now().After(ends) {
			t.doubt("its answers take longer than the %d s that an entry was registered for", short)
		}
		t.must(where == other, "it is not found within its holding time")
		time.Sleep(time.Until(ends) + 500*time.Millisecond)
		where = t.leads(st, other.Protocol, other)
		t.must(where != other, "an entry whose holding time of %d s is over is still used", short)
	}},
	{ID: "CM-09", Section: "5.2.0.1", Level: Must, Text: "entries that are cut are refused whole", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.station()
		p := other.registration()
		p.Extensions = nil
		p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: 24, HoldingTime: holding, NBMA: other.NBMA, Protocol: other.Network.Addr()})
		b, err := p.Marshal()
		if err != nil {
			t.doubt("%v", err)
		}
		t.refused(other, resized(b, len(b)-5), wire.ErrorProtocolError, "the second of two entries cut")
		if where := t.leads(st, other.Protocol, other); where == other {
			t.fail("the first entry of a packet that is cut was taken")
		}
	}},
}

// registrationCases are chapters 5 and 6: Registration Request and Reply.
var registrationCases = []Case{
	{ID: "RG-01", Section: "5.2.3, 3", Level: Must, Text: "served at the server's address and at the client's own; the Responder Address says who it is", run: func(t *trial) {
		st := t.station()
		for _, to := range []netip.Addr{t.s.o.Server.Addr(), st.Protocol} {
			p := st.registration()
			p.DestinationProtocol = to
			r := t.reply(st, p, wire.RegistrationReply)
			st.registered = true
			t.must(r.CIEs[0].Code == 0, "to %v: code %d", to, r.CIEs[0].Code)
			c := t.entries(r, wire.ExtensionResponderAddress)
			t.must(len(c) == 1, "to %v: %d entries in the Responder Address", to, len(c))
			t.must(c[0].Protocol == t.s.o.Server.Addr(), "to %v: the Responder Address has %v", to, c[0].Protocol)
		}
	}},
	{ID: "RG-02", Section: "5.2.3", Level: Must, Text: "one that is for another NHS is passed on or refused, never served", stations: 2, run: func(t *trial) {
		st, other := t.station(), t.client()
		p := st.registration()
		p.DestinationProtocol = t.s.nobody()
		r := t.ask(st, st.bytes(p))
		t.must(r == nil || r.Packet == nil || r.Packet.Type != wire.RegistrationReply || r.Packet.CIEs[0].Code != 0, "to an NHS that is not there: %s", r)
		p = st.registration()
		p.DestinationProtocol = other.Protocol
		b := st.bytes(p)
		st.raw(b)
		passed := t.until(other, ofType(wire.RegistrationRequest, p.RequestID))
		if r := st.answer(b, 0); r != nil && r.Packet != nil && r.Packet.Type == wire.RegistrationReply && r.Packet.CIEs[0].Code == 0 {
			t.fail("for another station: %s", r)
		}
		if passed == nil {
			t.note("it is not passed on to the station that it is for")
		}
	}},
	{ID: "RG-03", Section: "5.2.3", Level: Must, Text: "uniqueness is stored with the entry, and a refresh keeps it", stations: 2, run: func(t *trial) {
		st, other := t.station(), t.station()
		t.register(st, st.unique())
		t.register(st, st.unique())
		p := other.unique()
		p.SourceProtocol = st.Protocol
		r := t.reply(other, p, wire.RegistrationReply)
		t.must(r.CIEs[0].Code != 0, "a unique entry, refreshed, is taken over from elsewhere")
	}},
	{ID: "RG-04", Section: "5.2.3", Level: Must, Text: "a second unique registration from another NBMA address has code 14; a refresh succeeds", stations: 3, run: func(t *trial) {
		st, other, third := t.station(), t.station(), t.client()
		t.register(st, st.unique())
		p := other.unique()
		p.SourceProtocol = st.Protocol
		r := t.reply(other, p, wire.RegistrationReply)
		t.must(r.CIEs[0].Code == wire.CodeAlreadyRegistered, "code %d, not 14", r.CIEs[0].Code)
		t.standing(third, st, "the entry of the first one, after the second was refused")
		r = t.reply(st, st.unique(), wire.RegistrationReply)
		t.must(r.CIEs[0].Code == 0, "a refresh from the same NBMA address: code %d", r.CIEs[0].Code)
	}},
	{ID: "RG-05", Section: "-", Level: Habit, Text: "a plain registration does not displace a unique one", stations: 2, run: func(t *trial) {
		st, other := t.station(), t.station()
		t.register(st, st.unique())
		p := other.registration()
		p.SourceProtocol = st.Protocol
		r := t.reply(other, p, wire.RegistrationReply)
		t.must(r.CIEs[0].Code == wire.CodeAlreadyRegistered || r.CIEs[0].Code == wire.CodeAdministrativelyProhibited, "code %d, not 14 or 4", r.CIEs[0].Code)
	}},
	{ID: "RG-07", Section: "5.2.3", Level: Must, Text: "a unique registration has one entry, of a host", run: func(t *trial) {
		st := t.client()
		p := st.unique()
		p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: uint8(st.Network.Bits()), HoldingTime: holding, NBMA: st.NBMA, Protocol: st.Network.Addr()})
		t.notTaken(st, p, "unique with two entries")
		p = st.registration(st.Network)
		p.Flags |= wire.FlagRegistrationUnique
		t.notTaken(st, p, "unique for a prefix")
	}},
	{ID: "RG-08", Section: "5.2.3-4", Level: Must, Text: "several entries are judged each alone", run: func(t *trial) {
		st := t.client()
		t.withNetwork(st)
		n := st.Network
		half := netip.PrefixFrom(n.Addr(), n.Bits()+1)
		r := t.reply(st, st.registration(n, host(t.s.o.Server.Addr()), half), wire.RegistrationReply)
		t.must(len(r.CIEs) == 3, "three entries are answered with %d", len(r.CIEs))
		t.must(r.CIEs[0].Code == 0 && r.CIEs[1].Code != 0 && r.CIEs[2].Code == 0,
			"good, forbidden, good: codes %d, %d, %d", r.CIEs[0].Code, r.CIEs[1].Code, r.CIEs[2].Code)
	}},
	{ID: "RG-09", Section: "5.2.3", Level: Must, Text: "at least one entry; zero lengths in it mean the header's addresses", stations: 2, run: func(t *trial) {
		st, other := t.station(), t.client()
		p := st.registration()
		p.CIEs = nil
		b := st.bytes(p)
		t.refused(st, b, wire.ErrorProtocolError, "no entry")
		r := t.reply(st, st.registration(), wire.RegistrationReply)
		st.registered = true
		t.must(r.CIEs[0].Code == 0, "an entry without addresses: code %d", r.CIEs[0].Code)
		t.standing(other, st, "an entry without addresses")
	}},
	{ID: "RG-10", Section: "5.2.3", Level: Plain, Text: "a prefix may be registered", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		r := t.reply(st, st.registration(st.Network), wire.RegistrationReply)
		if r.CIEs[0].Code != 0 {
			t.differ("code %d (%v): it takes no prefixes", r.CIEs[0].Code, r.CIEs[0].Code)
		}
		if where := t.leads(other, st.Network.Addr().Next(), st); where != st {
			t.fail("the prefix is taken, and what is in it is not asked of the station")
		}
	}},
	{ID: "RG-11", Section: "5.2.3, 4", Level: Must, Text: "whom it cannot serve gets code 4", run: func(t *trial) {
		st := t.station()
		p := st.registration()
		p.SourceProtocol = outside(t.s.o.Server.Masked())
		r := t.ask(st, st.bytes(p))
		switch {
		case r == nil:
			t.differ("a client of another subnet: silence")
		case r.Packet == nil || r.Packet.Type != wire.RegistrationReply || r.Packet.CIEs[0].Code != wire.CodeAdministrativelyProhibited:
			t.fail("a client of another subnet: %s", r)
		}
	}},
	{ID: "RG-14", Section: "-", Level: Habit, Text: "an older id does not undo a newer registration", stations: 3, run: func(t *trial) {
		st, other, third := t.station(), t.station(), t.client()
		old := st.registration()
		newer := other.registration()
		newer.SourceProtocol = st.Protocol
		r := t.ask(other, other.bytes(newer))
		if r == nil || r.Packet == nil || r.Packet.Type != wire.RegistrationReply || r.Packet.CIEs[0].Code != 0 {
			t.doubt("a plain registration: %v", r)
		}
		st.send(old) // it was on its way for long
		t.settle()
		where := t.leads(third, st.Protocol, st, other)
		t.must(where == other, "a delayed registration with a lower id took the binding over")
	}},
	{ID: "RG-16", Section: "-", Level: Habit, Text: "a holding time of 0 is refused; 1 and 65535 are taken", run: func(t *trial) {
		st := t.station()
		for _, holding := range []uint16{0, 1, 65535} {
			good := holding > 0
			p := st.registration()
			p.CIEs[0].HoldingTime = holding
			r := t.reply(st, p, wire.RegistrationReply)
			st.registered = true
			t.must((r.CIEs[0].Code == 0) == good, "holding time %d: code %d", holding, r.CIEs[0].Code)
			if good {
				t.must(r.CIEs[0].HoldingTime == holding, "holding time %d is answered with %d", holding, r.CIEs[0].HoldingTime)
			}
		}
	}},
	{ID: "RG-18", Section: "-", Level: Habit, Text: "nobody registers the server's own address, or what another has registered", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		p := st.registration()
		p.SourceProtocol = t.s.o.Server.Addr()
		r := t.ask(st, st.bytes(p))
		t.must(r == nil || r.Packet == nil || r.Packet.Type != wire.RegistrationReply || r.Packet.CIEs[0].Code != 0, "the server's own address: %s", r)
		t.withNetwork(other)
		t.notTaken(st, st.registration(other.Network), "a network that another has registered")
	}},
	{ID: "RR-01", Section: "5.2.4", Level: Must, Text: "a reply is its request but for type, codes and the extensions that it fills", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.Flags |= wire.FlagNAT
		p.CIEs[0].MTU, p.CIEs[0].Preference = 1400, 7
		p.Extensions = append(p.Extensions, foreign(9))
		r := t.reply(st, p, wire.RegistrationReply)
		same := func(what string, got, want any) {
			t.must(fmt.Sprint(got) == fmt.Sprint(want), "%s: %v, not %v", what, got, want)
		}
		same("id", r.RequestID, p.RequestID)
		same("source protocol address", r.SourceProtocol, p.SourceProtocol)
		same("source NBMA address", r.SourceNBMA, p.SourceNBMA)
		same("destination", r.DestinationProtocol, p.DestinationProtocol)
		same("entries", len(r.CIEs), 1)
		same("prefix length", r.CIEs[0].PrefixLength, p.CIEs[0].PrefixLength)
		same("MTU", r.CIEs[0].MTU, p.CIEs[0].MTU)
		same("holding time", r.CIEs[0].HoldingTime, p.CIEs[0].HoldingTime)
		same("preference", r.CIEs[0].Preference, p.CIEs[0].Preference)
		same("flags", r.Flags, p.Flags)
	}},
	{ID: "RR-02", Section: "5.2.4", Level: Must, Text: "a reply goes back over the connection that its request came by", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.SourceNBMA = t.s.elsewhere()
		r := t.reply(st, p, wire.RegistrationReply)
		t.must(r.SourceNBMA == p.SourceNBMA, "the NBMA address of the request, %v, became %v", p.SourceNBMA, r.SourceNBMA)
	}},
}
