// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// purgeCases are chapter 7: Purge.
var purgeCases = []Case{
	{ID: "PU-01", Section: "5.2.5", Level: Must, Text: "what its owner purges goes at once", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		r := t.ask(st, st.bytes(st.purge(host(st.Protocol))))
		where := t.leads(other, st.Protocol, st)
		t.must(where == nil, "a purged address still leads to the one who purged it (the purge's answer: %v)", r)
	}},
	{ID: "PU-02", Section: "5.2.5", Level: Must, Text: "a reply is owed even if nothing matched; with N none, and it is purged all the same", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		t.reply(st, st.purge(st.Network), wire.PurgeReply)
		p := st.purge(host(st.Protocol))
		p.Flags |= wire.FlagPurgeNoReply
		t.silent(st, st.bytes(p), "a purge with N")
		t.must(t.leads(other, st.Protocol, st) == nil, "a purge with N does not purge")
	}},
	{ID: "PU-03", Section: "5.2.5", Level: Must, Text: "everything inside of a purged prefix goes", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		t.withNetwork(st)
		inside := netip.PrefixFrom(st.Network.Addr(), st.Network.Bits()+2)
		r := t.reply(st, st.registration(inside), wire.RegistrationReply)
		if r.CIEs[0].Code != 0 {
			t.skip("it takes no prefix inside of another: code %d", r.CIEs[0].Code)
		}
		t.reply(st, st.purge(st.Network), wire.PurgeReply)
		t.must(t.leads(other, inside.Addr().Next(), st) == nil, "%v was purged, and %v in it is still there", st.Network, inside)
		t.standing(other, st, "the address of the one who purged its network")
	}},
	{ID: "PU-04", Section: "5.2.5", Level: Must, Text: "an entry without an address is an error; of several, each counts", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		p := st.purge(host(st.Protocol))
		p.CIEs[0].Protocol = netip.Addr{}
		t.refused(st, st.bytes(p), wire.ErrorProtocolError, "a purge of no address")
		t.standing(other, st, "after a purge of no address")
		t.reply(st, st.purge(st.Network, host(st.Protocol), host(t.s.nobody())), wire.PurgeReply)
		t.must(t.leads(other, st.Protocol, st) == nil, "the second of three entries is not purged")
	}},
	{ID: "PU-05", Section: "5.2.5", Level: Plain, Text: "who had asked is told by a purge of the server's own", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		if _, passed, _ := t.way(st, between(st, owner), owner); passed != nil {
			t.skip("it passes requests on to whom they are about, who then owes the purge")
		}
		owner.send(owner.purge(host(owner.Protocol)))
		r := t.until(st, func(r *received) bool { return r.Packet != nil && r.Packet.Type == wire.PurgeRequest })
		if r == nil {
			t.differ("who was answered hears nothing of the purge")
		}
		t.must(r.Packet.SourceProtocol == t.s.o.Server.Addr() && r.Packet.DestinationProtocol == st.Protocol, "the purge is from %v to %v", r.Packet.SourceProtocol, r.Packet.DestinationProtocol)
	}},
	{ID: "PU-07", Section: "5.2.6", Level: Must, Text: "the reply is the request with another type; one to nothing is passed over", run: func(t *trial) {
		st := t.client()
		p := st.purge(st.Network)
		r := t.reply(st, p, wire.PurgeReply)
		t.must(r.SourceProtocol == p.SourceProtocol && r.SourceNBMA == p.SourceNBMA && r.DestinationProtocol == p.DestinationProtocol, "its addresses are not the request's")
		t.must(fmt.Sprint(r.CIEs) == fmt.Sprint(p.CIEs), "its entries are not the request's: %v", r.CIEs)
		p = st.purge(st.Network)
		p.Type = wire.PurgeReply
		p.SourceProtocol, p.SourceNBMA, p.DestinationProtocol = t.s.o.Server.Addr(), t.s.o.Target, st.Protocol
		t.silent(st, st.bytes(p), "a Purge Reply to nothing")
	}},
	{ID: "PU-10", Section: "-", Level: Habit, Text: "nobody purges what is another's", stations: 3, run: func(t *trial) {
		st, other, third := t.client(), t.client(), t.client()
		r := t.ask(other, other.bytes(other.purge(host(st.Protocol))))
		t.standing(third, st, "purged by another")
		if r == nil {
			t.note("the reply that is owed does not come")
		}
	}},
	{ID: "PU-13", Section: "Cisco", Level: Plain, Text: "a registration and a purge may have the same id", run: func(t *trial) {
		st := t.station()
		p := st.registration()
		t.register(st, p)
		q := st.purge(st.Network)
		q.RequestID = p.RequestID
		r := t.ask(st, st.bytes(q))
		t.must(r != nil && r.Packet != nil && r.Packet.Type == wire.PurgeReply, "a purge with the id of the registration: %v", r)
	}},
}

// errorCases are chapter 8: Error Indication.
var errorCases = []Case{
	{ID: "ER-01", Section: "5.2.7", Level: Must, Text: "an error is from the observer to the sender, with the packet as it came and the offset of the fault", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.Extensions = append(p.Extensions, unknown(true))
		b := st.bytes(p)
		i := len(p.Extensions) - 1
		for _, x := range []struct {
			what   string
			b      []byte
			offset int
		}{
			{"version 9", set(st.bytes(st.registration()), offVersion, 9), offVersion},
			{"an unknown compulsory extension", b, p.ExtensionOffset(i)},
		} {
			r := t.ask(st, x.b)
			if r == nil || r.Packet == nil || r.Packet.Type != wire.ErrorIndication {
				t.note("%s: no error", x.what)
				continue
			}
			e := r.Packet
			t.must(e.SourceProtocol == t.s.o.Server.Addr() && e.SourceNBMA == t.s.o.Target, "%s: the observer is %v at %v", x.what, e.SourceProtocol, e.SourceNBMA)
			t.must(e.DestinationProtocol == st.Protocol, "%s: its destination is %v", x.what, e.DestinationProtocol)
			t.must(len(e.Contents) >= fixedHeader && string(e.Contents) == string(x.b[:min(len(e.Contents), len(x.b))]), "%s: its contents are not the packet as it came", x.what)
			t.must(int(e.ErrorOffset) == x.offset, "%s: offset %d, not %d", x.what, e.ErrorOffset, x.offset)
		}
		if len(t.notes) == 2 {
			t.skip("it sends no errors")
		}
	}},
	{ID: "ER-02", Section: "5.2.7", Level: Must, Text: "never an error about an error", run: func(t *trial) {
		st := t.client()
		e := st.bytes(st.failure(wire.ErrorProtocolError, t.s.o.Server.Addr(), st.bytes(st.registration())))
		t.silent(st, e, "an error")
		t.silent(st, set(e, offVersion, 9), "an error of version 9")
		t.silent(st, set16(e, offSize, 65535), "an error longer than it is")
		bad := with(e, func([]byte) {})
		bad[offChecksum] ^= 1
		t.silent(st, bad, "an error with a wrong checksum")
		t.silent(st, set(e, offDestination, 3), "an error with a destination of 3 octets")
	}},
	{ID: "ER-03", Section: "5.2.7", Level: Must, Text: "at most one error for one packet, which is thrown away", stations: 2, run: func(t *trial) {
		st, other := t.station(), t.client()
		b := set(st.bytes(st.registration()), offVersion, 9)
		b[offChecksum] ^= 1
		st.raw(b)
		t.settle()
		if st.answer(b, t.s.o.Wait) != nil {
			if again := st.answer(b, 0); again != nil {
				t.fail("two answers to one packet: the second is %s", again)
			}
		}
		t.must(t.leads(other, st.Protocol, st) == nil, "a packet with a wrong checksum and version was taken")
	}},
	{ID: "ER-04", Section: "5.2.7", Level: Must, Text: "an error carries no extensions", run: func(t *trial) {
		st := t.client()
		r := t.ask(st, set(st.bytes(st.registration()), offVersion, 9))
		if r == nil || r.Packet == nil {
			p := st.registration()
			p.Extensions = append(p.Extensions, unknown(true))
			r = t.ask(st, st.bytes(p))
		}
		if r == nil || r.Packet == nil || r.Packet.Type != wire.ErrorIndication {
			t.skip("it sends no error for a wrong version or an unknown extension")
		}
		t.must(r.Packet.Extensions == nil, "it has %v", kinds(r.Packet))
	}},
	{ID: "ER-05", Section: "5.2.7", Level: Must, Text: "an error in transit goes on; one that names the server as its source, or at hop count 0, goes in silence", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.client()
		e := st.failure(wire.ErrorHopCountExceeded, other.Protocol, other.bytes(between(other, st)))
		like := func(r *received) bool { return r.Packet != nil && r.Packet.Type == wire.ErrorIndication }
		b := st.bytes(e)
		st.raw(b)
		passed := t.until(other, like)
		if passed != nil {
			t.must(passed.Packet.HopCount == e.HopCount-1, "it left with hop count %d", passed.Packet.HopCount)
		} else {
			t.note("it is not passed on")
		}
		e.HopCount = 0
		st.send(e)
		if r := t.until(other, like); r != nil {
			t.fail("with hop count 0 it is passed on")
		}
		e.HopCount, e.SourceProtocol, e.SourceNBMA = wire.HopCount, t.s.o.Server.Addr(), t.s.o.Target
		st.send(e)
		if r := t.until(other, like); r != nil {
			t.fail("one that names the server as its source is passed on")
		}
		if r := st.wait(0, like); r != nil {
			t.fail("an error about an error: %s", r)
		}
	}},
	{ID: "ER-06", Section: "5.2.7", Level: Must, Text: "the numbers are those of the RFC: loop 3, hop count 15, no binding 12", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		seen := 0
		p := between(st, owner)
		p.HopCount = 0
		if r := t.ask(st, st.bytes(p)); r != nil && r.Packet != nil && r.Packet.Type == wire.ErrorIndication {
			seen++
			t.must(r.Packet.ErrorCode == wire.ErrorHopCountExceeded, "hop count 0: error %d, not 15", uint16(r.Packet.ErrorCode))
		}
		p = looping(between(st, owner), wire.ExtensionForwardTransit, t.s.o)
		if r := t.ask(st, st.bytes(p)); r != nil && r.Packet != nil && r.Packet.Type == wire.ErrorIndication {
			seen++
			t.must(r.Packet.ErrorCode == wire.ErrorLoopDetected, "a loop: error %d, not 3", uint16(r.Packet.ErrorCode))
		}
		if n := t.refusal(st, st.resolution(t.s.nobody())); n != nil {
			seen++
			t.must(n.CIEs[0].Code == wire.CodeNoBinding, "nothing found: code %d, not 12", n.CIEs[0].Code)
		}
		if seen == 0 {
			t.skip("it is silent in all three cases")
		}
	}},
	{ID: "ER-07", Section: "2.2, 5.2.7", Level: Plain, Text: "no way onward: code 12 for a Resolution Request, error 6 for others", run: func(t *trial) {
		st := t.client()
		r := t.ask(st, st.bytes(st.resolution(t.s.nobody())))
		switch {
		case r == nil:
			t.note("a Resolution Request: silence")
		case r.Packet == nil || r.Packet.Type == wire.ResolutionReply && r.Packet.CIEs[0].Code != wire.CodeNoBinding || r.Packet.Type != wire.ResolutionReply:
			t.note("a Resolution Request: %s", r)
		}
		p := st.purge(st.Network)
		p.DestinationProtocol = t.s.nobody()
		t.refused(st, st.bytes(p), wire.ErrorProtocolAddressUnreachable, "a purge for nobody")
	}},
	{ID: "ER-09", Section: "-", Level: Habit, Text: "errors are rate-limited", run: func(t *trial) {
		st := t.client()
		const sent = 80
		b := set(st.bytes(st.registration()), offVersion, 9)
		for range sent {
			st.raw(b)
		}
		t.settle()
		n := 0
		for st.answer(b, 0) != nil {
			n++
		}
		t.must(n <= sent/2, "%d wrong packets earn %d errors", sent, n)
	}},
	{ID: "ER-10", Section: "5.2.7", Level: Must, Text: "an extension that does not fit its packet is error 9", run: func(t *trial) {
		st := t.client()
		p := st.purge(st.Network)
		p.Extension(wire.ExtensionResponderAddress).Value = []byte{1, 2, 3, 4, 5}
		t.refused(st, st.bytes(p), wire.ErrorInvalidExtension, "a Responder Address of 5 octets in a Purge Request")
	}},
}

// looping has the server in one of a packet's records.
func looping(p *wire.Packet, record wire.ExtensionType, o Options) *wire.Packet {
	if e, err := p.NewEntries(record, wire.CIE{HoldingTime: holding, NBMA: o.Target, Protocol: o.Server.Addr()}); err == nil {
		p.SetExtension(e)
	}
	return p
}

// unknown is an extension that nobody knows.
func unknown(compulsory bool) wire.Extension {
	return wire.Extension{Type: 0x3801, Compulsory: compulsory, Value: []byte("seventeen octets.")}
}
