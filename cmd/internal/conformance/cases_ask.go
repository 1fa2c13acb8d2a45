// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// clientCases are the chapters for a client.
var clientCases = [][]Case{registering, resolving, holdingCases, responding}

// resolving are the cases of a client that is told of a shorter way.
var resolving = []Case{
	{ID: "RQ-01", Section: "2.2, 6.2.1", Level: Must, Text: "not one request per packet: what is asked for keeps its id", run: func(t *trial) {
		d := t.destination()
		p := t.asked(d)
		for range 20 {
			t.server.send(t.indication(t.server.station, t.own(), d))
		}
		for {
			r := t.server.wait(t.s.o.Wait, isRequest(d))
			if r == nil {
				break
			}
			t.must(r.Packet.RequestID == p.RequestID, "a second request with id %d while %d is not answered", r.Packet.RequestID, p.RequestID)
		}
	}},
	{ID: "RQ-03", Section: "5.2.1", Level: Must, Text: "it asks its server", run: func(t *trial) {
		p := t.asked(t.destination())
		t.must(p.SourceProtocol == t.server.client, "in the name of %v", p.SourceProtocol)
	}},
	{ID: "RQ-04", Section: "-", Level: Habit, Text: "an unanswered request is repeated with growing pauses", run: func(t *trial) {
		d := t.destination()
		r := t.heardOf(d)
		if r == nil {
			t.skip(noQuestion)
		}
		list := t.pauses(r.At, isRequest(d), 3, 12*time.Second)
		t.must(len(list) > 0, "it is not repeated")
		t.must(len(list) == 1 || grows(list), "pauses of %v", list)
	}},
	{ID: "RQ-05", Section: "5.2.1", Level: Must, Text: "Q is set by a router, D is clear in a request", run: func(t *trial) {
		p := t.asked(t.destination())
		t.must(p.Flags&wire.FlagDestinationStable == 0, "D is set: 0x%04x", p.Flags)
		if p.Flags&wire.FlagRouter == 0 {
			t.note("Q is clear, though there is a network behind it")
		}
	}},
	{ID: "RQ-08", Section: "5.2.1", Level: Must, Text: "a holding time in a request goes with S", run: func(t *trial) {
		p := t.asked(t.destination())
		if len(p.CIEs) > 0 && p.CIEs[0].HoldingTime > 0 {
			t.must(p.Flags&wire.FlagSourceStable != 0, "a holding time of %d without S", p.CIEs[0].HoldingTime)
		}
	}},
	{ID: "RQ-09", Section: "5.2.1", Level: Must, Text: "a request has no entry or one", run: func(t *trial) {
		unread := func(r *received) bool {
			return r.Protocol == wire.GREProtocol && r.Packet == nil && len(r.Payload) > offType && r.Payload[offType] == byte(wire.ResolutionRequest)
		}
		p := t.question(t.destination())
		if r := t.server.wait(0, unread); p == nil && r != nil {
			t.fail("%v", r.Err)
		}
		t.must(p == nil || len(p.CIEs) < 2, "more than one")
		if p == nil {
			t.skip(noQuestion)
		}
	}},
	{ID: "RP-11", Section: "5.2.2", Level: Should, Text: "an unsolicited reply earns error 10", run: func(t *trial) {
		p := t.server.resolution(t.s.nobody())
		p.SourceProtocol, p.SourceNBMA = t.server.client, t.s.o.Target
		t.refused(t.server.station, t.server.bytes(t.server.answers(p, wire.FlagAuthoritative)), wire.ErrorInvalidResolutionReply, "a reply to nothing")
	}},
	{ID: "RP-13", Section: "5.2.2", Level: Plain, Text: "a refusal ends the wait, whatever its code", run: func(t *trial) {
		for _, code := range []wire.Code{wire.CodeNoBinding, wire.CodeAdministrativelyProhibited} {
			d := t.destination()
			p := t.asked(d)
			t.server.send(t.server.refuse(p, code))
			t.settle()
			t.server.other = slices.DeleteFunc(t.server.other, func(r received) bool { return isRequest(d)(&r) })
			if r := t.server.wait(3*time.Second, isRequest(d)); r != nil {
				t.fail("after code %d it asks again within 3 s", code)
			}
		}
	}},
	{ID: "ER-08", Section: "-", Level: Habit, Text: "an error counts if it is about a request that is outstanding", run: func(t *trial) {
		t.repeats()
		d := t.destination()
		p := t.asked(d)
		other := p.Clone()
		other.RequestID ^= 0x33
		t.server.send(t.server.failure(wire.ErrorProtocolAddressUnreachable, t.server.client, t.server.bytes(other)))
		t.must(t.server.wait(12*time.Second, isRequest(d)) != nil, "an error about another id ends the wait")
		t.server.send(t.server.failure(wire.ErrorProtocolAddressUnreachable, t.server.client, t.server.bytes(p)))
		t.settle()
		t.server.other = nil
		if r := t.server.wait(5*time.Second, isRequest(d)); r != nil {
			t.note("an error about the request does not end the wait")
		}
	}},
	{ID: "PU-08", Section: "5.2.5", Level: Should, Text: "after a purge it asks with A", run: func(t *trial) {
		d := t.destination()
		p := t.asked(d)
		t.server.send(t.server.answers(p, wire.FlagAuthoritative))
		t.settle()
		t.server.send(t.server.purgeOf(host(d), t.server.client))
		t.settle()
		t.server.other = nil
		q := t.question(d)
		if q == nil {
			t.doubt("after the purge it does not ask again")
		}
		t.must(q.Flags&wire.FlagAuthoritative != 0, "A is clear: 0x%04x", q.Flags)
	}},
	{ID: "SE-02", Section: "-", Level: Habit, Text: "a forged reply is not taken: another id, or from another place", run: func(t *trial) {
		st := t.stranger()
		t.repeats()
		d := t.destination()
		p := t.asked(d)
		forged := t.server.answers(p, wire.FlagAuthoritative)
		forged.CIEs[0].NBMA = t.s.elsewhere()
		st.send(forged)
		forged.RequestID++
		t.server.send(forged)
		t.must(t.server.wait(12*time.Second, isRequest(d)) != nil, "it is taken: the request is not repeated")
	}},
	{ID: "TI-02", Section: "draft-dmvpn", Level: Plain, Text: "an indication counts whether its destination is the packet's destination or source", run: func(t *trial) {
		d := t.destination()
		t.asked(d)
		d = t.destination()
		p := t.indication(t.server.station, t.own(), d)
		p.DestinationProtocol = d
		for range 4 {
			t.server.send(p)
			if t.server.wait(time.Second, isRequest(d)) != nil {
				return
			}
		}
		t.fail("with the packet's destination in it, it does not ask")
	}},
	{ID: "TI-06", Section: "draft-dmvpn", Level: Must, Text: "nothing is answered to one, whatever is wrong with it", run: func(t *trial) {
		p := t.indication(t.server.station, t.own(), t.s.nobody())
		for _, x := range oddContents {
			p.Contents = x.octets
			b := t.server.bytes(p)
			t.silent(t.server.station, b, x.what)
			t.silent(t.server.station, set(b, offVersion, 3), x.what+", of version 3")
		}
	}},
	{ID: "TI-07", Section: "-", Level: Habit, Text: "one that is not from a server is passed over", run: func(t *trial) {
		st := t.stranger()
		t.asked(t.destination())
		d := t.destination()
		for range 3 {
			st.send(t.indication(st, t.own(), d))
			t.none(d, "told by a stranger")
		}
	}},
	{ID: "TI-08", Section: "-", Level: Habit, Text: "one about a packet that is not from here is passed over", run: func(t *trial) {
		t.asked(t.destination())
		d := t.destination()
		t.server.send(t.indication(t.server.station, nth(t.server.routed, 251, d.BitLen()), d))
		t.none(d, "told of another's packet")
	}},
	{ID: "TI-09", Section: "-", Level: Habit, Text: "with a shortcut there, no new request for each indication", run: func(t *trial) {
		d := t.destination()
		p := t.asked(d)
		t.server.send(t.server.answers(p, wire.FlagAuthoritative))
		t.settle()
		t.server.other = nil
		for range 10 {
			t.server.send(t.indication(t.server.station, t.own(), d))
		}
		n := 0
		for t.server.wait(t.s.o.Wait, isRequest(d)) != nil {
			n++
		}
		t.must(n <= 1, "10 indications earn %d requests", n)
	}},
}

// purgeOf voids a prefix at a client.
func (v *server) purgeOf(p netip.Prefix, client netip.Addr) *wire.Packet {
	q := v.purge(p)
	q.DestinationProtocol = client
	return q
}

// responding are the cases of a client that is asked for what is its own.
var responding = []Case{
	{ID: "HD-08", Section: "5.1", Level: Plain, Text: "packet types are 1 to 7, and 8 of DMVPN", run: func(t *trial) {
		t.refused(t.server.station, set(t.server.bytes(t.spoke(t.own())), offType, 99), wire.ErrorProtocolError, "type 99")
	}},
	{ID: "RQ-12", Section: "-", Level: Habit, Text: "nonsense is answered with code 12", run: func(t *trial) {
		for _, a := range nonsense(t.server.client)[1:3] {
			r := t.ask(t.server.station, t.server.bytes(t.spoke(a)))
			if r == nil || r.Packet == nil || r.Packet.Type != wire.ResolutionReply {
				t.note("asked for %v: %v", a, r)
				continue
			}
			t.must(r.Packet.CIEs[0].Code == wire.CodeNoBinding, "asked for %v: code %d", a, r.Packet.CIEs[0].Code)
		}
	}},
	{ID: "RP-02", Section: "5.2.2", Level: Must, Text: "who is asked with A for what is its own answers with A", run: func(t *trial) {
		r := t.resolved(t.server.station, t.spoke(t.own()))
		t.must(r.Flags&wire.FlagAuthoritative != 0, "A is clear in the answer")
	}},
	{ID: "RP-08", Section: "6.3", Level: Must, Text: "the prefix of an answer covers the destination and nothing that is reached otherwise", run: func(t *trial) {
		if !t.s.o.Behind.IsValid() {
			t.skip("no network behind the client is named (--behind)")
		}
		c := t.resolved(t.server.station, t.spoke(t.own())).CIEs[0]
		if p := c.Prefix(t.own()); p.Bits() < t.s.o.Behind.Bits() {
			t.fail("it answers for %v, wider than %v", p, t.s.o.Behind)
		} else if p.Bits() > t.s.o.Behind.Bits() {
			t.differ("it answers for %v, narrower than %v", p, t.s.o.Behind)
		}
	}},
	{ID: "RP-10", Section: "2.2", Level: Plain, Text: "for what is behind it, the next hop is the client itself", run: func(t *trial) {
		c := t.resolved(t.server.station, t.spoke(t.own())).CIEs[0]
		t.must(c.Protocol == t.server.client && c.NBMA == t.s.o.Target, "the next hop is %v at %v", c.Protocol, c.NBMA)
	}},
	{ID: "RP-12", Section: "2.2, 3", Level: Must, Text: "an answer has its request's id, source and destination", run: func(t *trial) {
		p := t.spoke(t.own())
		r := t.resolved(t.server.station, p)
		t.must(r.SourceProtocol == p.SourceProtocol && r.SourceNBMA == p.SourceNBMA && r.DestinationProtocol == p.DestinationProtocol, "%v", r)
	}},
	{ID: "PU-02", Section: "5.2.5", Level: Must, Text: "a reply is owed even if nothing matched; with N none", run: func(t *trial) {
		p := t.server.purgeOf(host(t.s.nobody()), t.server.client)
		t.reply(t.server.station, p, wire.PurgeReply)
		p = t.server.purgeOf(host(t.s.nobody()), t.server.client)
		p.Flags |= wire.FlagPurgeNoReply
		t.silent(t.server.station, t.server.bytes(p), "a purge with N")
	}},
	{ID: "PU-07", Section: "5.2.6", Level: Must, Text: "the reply is the request with another type", run: func(t *trial) {
		p := t.server.purgeOf(host(t.s.nobody()), t.server.client)
		r := t.reply(t.server.station, p, wire.PurgeReply)
		t.must(r.SourceProtocol == p.SourceProtocol && r.SourceNBMA == p.SourceNBMA && r.DestinationProtocol == p.DestinationProtocol, "its addresses are not the request's")
		t.must(fmt.Sprint(r.CIEs) == fmt.Sprint(p.CIEs), "its entries are not the request's: %v", r.CIEs)
	}},
	{ID: "ER-02", Section: "5.2.7", Level: Must, Text: "never an error about an error", run: func(t *trial) {
		e := t.server.bytes(t.server.failure(wire.ErrorProtocolError, t.server.client, t.server.bytes(t.spoke(t.own()))))
		t.silent(t.server.station, set(e, offVersion, 9), "an error of version 9")
		bad := with(e, func([]byte) {})
		bad[offChecksum] ^= 1
		t.silent(t.server.station, bad, "an error with a wrong checksum")
	}},
	{ID: "EX-05", Section: "5.2.2, 5.3", Level: Must, Text: "one that is unknown and not compulsory comes back in the reply unchanged", run: func(t *trial) {
		p := t.spoke(t.own())
		p.Extensions = append(p.Extensions, unknown(false))
		e := t.resolved(t.server.station, p).Extension(0x3801)
		t.must(e != nil && bytes.Equal(e.Value, unknown(false).Value), "it is not in the reply as it came")
	}},
	{ID: "EX-06", Section: "5.3", Level: Must, Text: "one that is unknown and compulsory is error 1", run: func(t *trial) {
		p := t.spoke(t.own())
		p.Extensions = append(p.Extensions, unknown(true))
		t.owed(t.server.station, t.server.bytes(p), wire.ErrorUnrecognizedExtension, "in a Resolution Request")
	}},
	{ID: "EX-09", Section: "5.3", Level: Must, Text: "a reply has no extension that its request had not, Vendor-Private excepted", run: func(t *trial) {
		p := t.spoke(t.own())
		p.Extensions = nil
		for _, kind := range kinds(t.resolved(t.server.station, p)) {
			t.must(kind == wire.ExtensionVendorPrivate || kind == wire.ExtensionAuthentication && t.s.o.Auth != "", "it has %v", kind)
		}
	}},
	{ID: "RC-08", Section: "5.3.2-3", Level: Must, Text: "the responder leaves the records as they are, and says who it is", run: func(t *trial) {
		p := t.spoke(t.own())
		e, _ := p.NewEntries(wire.ExtensionForwardTransit, wire.CIE{HoldingTime: holding, NBMA: t.server.NBMA, Protocol: t.server.Protocol})
		p.SetExtension(e)
		r := t.resolved(t.server.station, p)
		f := r.Extension(wire.ExtensionForwardTransit)
		t.must(f != nil && bytes.Equal(f.Value, e.Value), "the forward record came back changed")
		t.must(len(t.entries(r, wire.ExtensionReverseTransit)) == 0, "the reverse record has entries")
		c := t.entries(r, wire.ExtensionResponderAddress)
		t.must(len(c) == 1 && c[0].Protocol == t.server.client && c[0].NBMA == t.s.o.Target, "the responder is %v", c)
	}},
	{ID: "SE-07", Section: "-", Level: Habit, Text: "its own packets, sent back to it, do nothing", run: func(t *trial) {
		p := t.unanswered()
		t.silent(t.server.station, t.server.bytes(p), "its own registration")
	}},
	{ID: "SE-08", Section: "-", Level: Habit, Text: "no octets stop it: changed at random", alone: true, last: true, run: func(t *trial) {
		b := t.server.bytes(t.spoke(t.own()))
		for at := range b {
			if at < offChecksum || at > offChecksum+1 {
				t.server.raw(set(b, at, b[at]+1+byte(at)))
			}
		}
		t.settle()                                                               // what was on its way before is no sign of life
		renews := time.Duration(t.server.last.CIEs[0].HoldingTime) * time.Second // who was started again is late
		t.must(t.server.waits(min(renews, 2*time.Minute)), "it does not register again within %v", renews)
	}},
}
