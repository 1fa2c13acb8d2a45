// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"dmvpn/nhrpd/wire"
)

// extensionCases are chapter 9.
var extensionCases = []Case{
	{ID: "EX-01", Section: "5.3", Level: Must, Text: "the list ends with type 0 and length 0, and has to", run: func(t *trial) {
		st := t.client()
		b := st.bytes(st.registration())
		r := t.replyTo(st, resized(b, len(b)+6), wire.RegistrationReply, "octets behind the end mark")
		t.must(r.CIEs[0].Code == 0, "octets behind the end mark: code %d", r.CIEs[0].Code)
		t.refused(st, resized(st.bytes(st.registration()), len(b)-4), wire.ErrorProtocolError, "no end mark")
		t.refused(st, resized(st.bytes(st.registration()), len(b)-2), wire.ErrorProtocolError, "half an end mark")
		b = st.bytes(st.registration())
		t.refused(st, set16(b, extensionsAt(b)+2, 4000), wire.ErrorProtocolError, "an extension longer than the packet")
	}},
	{ID: "EX-02", Section: "5.3", Level: Must, Text: "one extension of each type", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.Extensions = append(p.Extensions, p.Extensions[0])
		t.refused(st, st.bytes(p), wire.ErrorInvalidExtension, "two Responder Addresses")
		if t.s.o.Auth != "" {
			p = st.registration()
			e, _ := wire.NewCiscoAuthentication(t.s.o.Auth)
			p.Extensions = append(p.Extensions, e, e)
			t.refused(st, st.bytes(p), wire.ErrorInvalidExtension, "two Authentications")
		}
	}},
	{ID: "EX-03", Section: "5.3.5", Level: Must, Text: "Vendor-Private may come more than once, and is copied to the reply", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.Extensions = append(p.Extensions, foreign(5), foreign(9))
		r := t.reply(st, p, wire.RegistrationReply)
		var got [][]byte
		for _, e := range r.Extensions {
			if e.Type == wire.ExtensionVendorPrivate {
				got = append(got, e.Value)
			}
		}
		t.must(len(got) >= 2 && bytes.Equal(got[0], foreign(5).Value) && bytes.Equal(got[1], foreign(9).Value), "two of a vendor's came back as %x", got)
	}},
	{ID: "EX-04", Section: "5.3", Level: Must, Text: "extensions keep their order from hop to hop", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := st.plain(wire.ResolutionRequest, owner.Protocol)
		p.Flags = wire.FlagAuthoritative
		order := []wire.ExtensionType{wire.ExtensionNATAddress, wire.ExtensionReverseTransit, wire.ExtensionResponderAddress, wire.ExtensionForwardTransit}
		for i, kind := range order {
			if i == 2 && t.s.o.Auth != "" {
				a, _ := wire.NewCiscoAuthentication(t.s.o.Auth)
				p.Extensions = append(p.Extensions, a)
			}
			e, _ := p.NewEntries(kind)
			p.Extensions = append(p.Extensions, e)
		}
		q := t.passed(st, p, owner)
		t.must(fmt.Sprint(kinds(q)) == fmt.Sprint(kinds(p)), "%v became %v", kinds(p), kinds(q))
	}},
	{ID: "EX-05", Section: "5.2.2, 5.3", Level: Must, Text: "one that is unknown and not compulsory comes back in the reply unchanged", run: func(t *trial) {
		st := t.client()
		for _, p := range []*wire.Packet{st.registration(), st.resolution(t.egress())} {
			p.Extensions = append(p.Extensions, unknown(false))
			r := t.reply(st, p, p.Type+1)
			e := r.Extension(0x3801)
			t.must(e != nil, "%v: it is not in the reply", p.Type)
			t.must(bytes.Equal(e.Value, unknown(false).Value) && !e.Compulsory, "%v: it came back changed", p.Type)
		}
	}},
	{ID: "EX-06", Section: "5.3", Level: Must, Text: "one that is unknown and compulsory is error 1, and nothing is taken", stations: 2, run: func(t *trial) {
		st, other := t.station(), t.client()
		p := st.registration()
		p.Extensions = append(p.Extensions, unknown(true))
		t.owed(st, st.bytes(p), wire.ErrorUnrecognizedExtension, "in a registration")
		t.must(t.leads(other, st.Protocol, st) == nil, "the registration was taken all the same")
		q := other.resolution(t.egress())
		q.Extensions = append(q.Extensions, unknown(true))
		t.owed(other, other.bytes(q), wire.ErrorUnrecognizedExtension, "in a Resolution Request")
	}},
	{ID: "EX-07", Section: "5.3", Level: Must, Text: "the same in transit is passed on, without a record of oneself", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := between(st, owner)
		p.Extensions = append(p.Extensions, unknown(true))
		where, q, answer := t.way(st, p, owner)
		switch {
		case q == nil && where == owner:
			t.skip("it answers for its clients itself")
		case q == nil && answer != nil:
			t.fail("not passed on: %s", &received{Packet: answer, Protocol: wire.GREProtocol})
		case q == nil:
			t.fail("not passed on: silence")
		}
		e := q.Extension(0x3801)
		t.must(e != nil && e.Compulsory && bytes.Equal(e.Value, unknown(true).Value), "it is changed in transit")
		t.must(len(t.entries(q, wire.ExtensionForwardTransit)) == 0, "the server has entered itself in the record")
	}},
	{ID: "EX-08", Section: "5.3", Level: Must, Text: "the u bit is ignored, and C is no part of the type", run: func(t *trial) {
		st := t.client()
		for _, word := range []uint16{0x4003, 0x0003, 0x8003} {
			p := st.registration()
			p.Extensions[0].Compulsory, p.Extensions[0].Unused = word&0x8000 != 0, word&0x4000 != 0
			r := t.reply(st, p, wire.RegistrationReply)
			t.must(len(t.entries(r, wire.ExtensionResponderAddress)) == 1, "type 0x%04x is not taken for a Responder Address", word)
		}
	}},
	{ID: "EX-09", Section: "5.3", Level: Must, Text: "a reply has no extension that its request had not, Vendor-Private excepted", run: func(t *trial) {
		st := t.client()
		for _, p := range []*wire.Packet{st.registration(), st.resolution(t.egress())} {
			p.Extensions = nil
			r := t.reply(st, p, p.Type+1)
			for _, kind := range kinds(r) {
				t.must(kind == wire.ExtensionVendorPrivate || kind == wire.ExtensionAuthentication && t.s.o.Auth != "", "%v: it has %v", r.Type, kind)
			}
		}
	}},
	{ID: "EX-10", Section: "5", Level: Must, Text: "a reply that grows beyond what the underlay carries is not cut", run: func(t *trial) {
		st := t.client()
		size := t.s.full()
		p := st.padded(st.registration(), size)
		r := t.ask(st, st.bytes(p))
		switch {
		case r == nil:
			t.differ("a registration of %d octets: silence", size)
		case r.Packet == nil:
			t.fail("its reply is cut: %v", r.Err)
		case r.Packet.Type == wire.RegistrationReply:
			t.must(r.Packet.Extension(wire.ExtensionVendorPrivate) != nil && len(t.entries(r.Packet, wire.ExtensionResponderAddress)) == 1, "its reply lacks extensions")
		}
	}},
	{ID: "EX-11", Section: "5.3.5", Level: Plain, Text: "a client does not get its own word for its identity passed on as the server's", run: func(t *trial) {
		st := t.client()
		e, err := wire.NewPrivate(wire.Private{Port: 4711, Identity: "hub.example.net", MTU: 1400})
		if err != nil {
			t.doubt("%v", err)
		}
		p := st.registration()
		p.Extensions = append(p.Extensions, e)
		r := t.reply(st, p, wire.RegistrationReply)
		same := slices.ContainsFunc(r.Extensions, func(x wire.Extension) bool { return x.Type == e.Type && bytes.Equal(x.Value, e.Value) })
		if own, ours := r.Private(); !same && (!ours || own.Identity != "" || own.Port != 0) {
			t.fail("dmvpn's extension came back neither unchanged nor without identity and port")
		} else if same && t.s.dmvpn.Load() {
			t.fail("the identity that the client claims came back")
		} else if !same {
			t.s.dmvpn.Store(true)
		}
	}},
	{ID: "EX-12", Section: "-", Level: Habit, Text: "the number of extensions and of entries in them is bounded", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		for i := range 300 {
			p.Extensions = append(p.Extensions, wire.Extension{Type: wire.ExtensionType(100 + i)})
		}
		t.refused(st, st.bytes(p), wire.ErrorProtocolError, "303 extensions")
		p = st.registration()
		p.Extension(wire.ExtensionForwardTransit).Value = make([]byte, 70)[:65]
		r := t.ask(st, st.bytes(p))
		t.must(r == nil || r.Packet == nil || r.Packet.Type == wire.ErrorIndication, "a record that is cut is taken: %s", r)
	}},
}

// recordCases are chapters 10 and 11: Responder Address, transit records, authentication.
var recordCases = []Case{
	{ID: "RC-01", Section: "5.3.1", Level: Must, Text: "an empty Responder Address is answered with the responder's entry", run: func(t *trial) {
		st := t.client()
		for _, p := range []*wire.Packet{st.registration(), st.resolution(t.egress()), st.purge(st.Network)} {
			r := t.ask(st, st.bytes(p))
			if r == nil && p.Type == wire.PurgeRequest {
				t.note("a purge is not answered")
				continue
			}
			t.must(r != nil && r.Packet != nil && r.Packet.Type == p.Type+1, "%v: %v", p.Type, r)
			c := t.entries(r.Packet, wire.ExtensionResponderAddress)
			t.must(len(c) == 1, "%v: %d entries", p.Type, len(c))
			t.must(c[0].Protocol == t.s.o.Server.Addr() && c[0].NBMA == t.s.o.Target, "%v: %v at %v", p.Type, c[0].Protocol, c[0].NBMA)
		}
	}},
	{ID: "RC-02", Section: "5.3.1-3", Level: Must, Text: "it has one protocol address in all three", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		r := t.reply(st, st.registration(), wire.RegistrationReply)
		said := t.entries(r, wire.ExtensionResponderAddress)
		t.must(len(said) == 1, "it does not say who it is")
		q := t.passed(st, between(st, owner), owner)
		forward := t.entries(q, wire.ExtensionForwardTransit)
		t.must(len(forward) == 1 && forward[0].Protocol == said[0].Protocol, "it is %v in the Responder Address and %v in the forward record", said[0].Protocol, forward)
		a := t.returned(owner, owner.answers(q, wire.FlagAuthoritative), st)
		if a == nil {
			t.doubt("the owner's answer did not come back")
		}
		reverse := t.entries(a, wire.ExtensionReverseTransit)
		t.must(len(reverse) == 1 && reverse[0].Protocol == said[0].Protocol, "it is %v in the Responder Address and %v in the reverse record", said[0].Protocol, reverse)
	}},
	{ID: "RC-03", Section: "5.3.1", Level: Must, Text: "a Resolution Reply in transit that names the server as its responder is a loop: error 3", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := owner.answers(t.passed(st, between(st, owner), owner), wire.FlagAuthoritative)
		e, _ := p.NewEntries(wire.ExtensionResponderAddress, wire.CIE{NBMA: t.s.o.Target, Protocol: t.s.o.Server.Addr()})
		p.SetExtension(e)
		t.refused(owner, owner.bytes(p), wire.ErrorLoopDetected, "a looped reply")
		t.must(st.wait(0, ofType(wire.ResolutionReply, p.RequestID)) == nil, "it is passed on")
	}},
	{ID: "RC-06", Section: "5.3.1-3", Level: Must, Text: "the prefix length is 0 in all three and ignored; the code of the reverse record is 0", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := between(st, owner)
		e, _ := p.NewEntries(wire.ExtensionForwardTransit, wire.CIE{PrefixLength: 24, HoldingTime: holding, NBMA: t.s.elsewhere(), Protocol: t.s.nobody()})
		p.SetExtension(e)
		q := t.passed(st, p, owner)
		forward := t.entries(q, wire.ExtensionForwardTransit)
		t.must(len(forward) == 2, "%d entries in the forward record", len(forward))
		t.must(forward[1].PrefixLength == 0, "prefix length %d in the forward record", forward[1].PrefixLength)
		a := t.returned(owner, owner.answers(q, wire.FlagAuthoritative), st)
		if a == nil {
			t.doubt("the owner's answer did not come back")
		}
		reverse := t.entries(a, wire.ExtensionReverseTransit)
		t.must(len(reverse) == 1 && reverse[0].PrefixLength == 0 && reverse[0].Code == 0, "the reverse record has %v", reverse)
	}},
	{ID: "RC-07", Section: "5.3.2-3", Level: Must, Text: "a transit server enters itself, if the requester has put the record in", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		q := t.passed(st, between(st, owner), owner)
		forward := t.entries(q, wire.ExtensionForwardTransit)
		t.must(len(forward) == 1, "%d entries in the forward record", len(forward))
		t.must(forward[0].Protocol == t.s.o.Server.Addr() && forward[0].NBMA == t.s.o.Target, "the record has %v at %v", forward[0].Protocol, forward[0].NBMA)
		t.must(len(t.entries(q, wire.ExtensionReverseTransit)) == 0, "a request has entries in its reverse record")
		p := between(st, owner)
		p.Extensions = nil
		q = t.passed(st, p, owner)
		t.must(q.Index(wire.ExtensionForwardTransit) < 0 && q.Index(wire.ExtensionReverseTransit) < 0, "a record that nobody asked for")
	}},
	{ID: "RC-08", Section: "5.3.2-3", Level: Must, Text: "the responder leaves the records as they are", run: func(t *trial) {
		st := t.client()
		p := st.resolution(t.egress())
		e, _ := p.NewEntries(wire.ExtensionForwardTransit, wire.CIE{HoldingTime: holding, NBMA: t.s.elsewhere(), Protocol: t.s.nobody()})
		p.SetExtension(e)
		r := t.resolved(st, p)
		f := r.Extension(wire.ExtensionForwardTransit)
		t.must(f != nil && bytes.Equal(f.Value, e.Value), "the forward record came back changed")
		t.must(len(t.entries(r, wire.ExtensionReverseTransit)) == 0, "the reverse record has entries")
	}},
	{ID: "RC-09", Section: "5.3.2-3", Level: Must, Text: "the server's own address in a record is a loop: error 3, and the packet goes", stations: 2, run: func(t *trial) {
		st, owner := t.client(), t.client()
		p := looping(between(st, owner), wire.ExtensionForwardTransit, t.s.o)
		t.refused(st, st.bytes(p), wire.ErrorLoopDetected, "in a request's forward record")
		t.must(owner.wait(0, ofType(wire.ResolutionRequest, p.RequestID)) == nil, "a looped request is passed on")
		a := looping(owner.answers(t.passed(st, between(st, owner), owner), wire.FlagAuthoritative), wire.ExtensionReverseTransit, t.s.o)
		t.refused(owner, owner.bytes(a), wire.ErrorLoopDetected, "in a reply's reverse record")
		t.must(st.wait(0, ofType(wire.ResolutionReply, a.RequestID)) == nil, "a looped reply is passed on")
	}},
	{ID: "AU-01", Section: "5.3.4", Level: Must, Text: "authentication is made anew at every hop, in its old place", stations: 2, run: func(t *trial) {
		t.secret()
		st, owner := t.client(), t.client()
		p := between(st, owner)
		a, _ := wire.NewCiscoAuthentication(t.s.o.Auth)
		p.Extensions = slices.Insert(p.Extensions, 1, a)
		q := t.passed(st, p, owner)
		i := q.Index(wire.ExtensionAuthentication)
		t.must(i >= 0, "it is passed on without")
		got, err := q.Extensions[i].Authentication()
		t.must(err == nil && got.CiscoSecret(t.s.o.Auth), "it is passed on with another one")
		t.must(i == 1, "the second of %d extensions became number %d", len(p.Extensions), i+1)
	}},
	{ID: "AU-02", Section: "5.3.4", Level: Must, Text: "a failure, or absence where it is demanded, is error 11, and nothing changes", stations: 2, run: func(t *trial) {
		st := t.station()
		if t.s.o.Auth == "" {
			p := st.registration()
			a, _ := wire.NewCiscoAuthentication("unwanted")
			p.Extensions = append(p.Extensions, a)
			if r := t.ask(st, st.bytes(p)); r == nil || r.Packet == nil || r.Packet.Type != wire.RegistrationReply {
				t.note("an Authentication where none is configured is not tolerated: %v", r)
			}
			t.skip("no authentication is configured")
		}
		other := t.client()
		wrong := st.registration()
		a, _ := wire.NewCiscoAuthentication("wr0ng!")
		wrong.Extensions = append(wrong.Extensions, a)
		t.owed(st, st.bytes(wrong), wire.ErrorAuthenticationFailure, "a wrong password")
		b, err := st.registration().Marshal()
		if err != nil {
			t.doubt("%v", err)
		}
		t.owed(st, b, wire.ErrorAuthenticationFailure, "no password")
		t.must(t.leads(other, st.Protocol, st) == nil, "it was registered all the same")
	}},
	{ID: "AU-03", Section: "5.3.4", Level: Must, Text: "errors carry no authentication", run: func(t *trial) {
		t.secret()
		st := t.client()
		r := t.ask(st, set(st.bytes(st.registration()), offVersion, 9))
		if r == nil || r.Packet == nil || r.Packet.Type != wire.ErrorIndication {
			t.skip("it sends no error for a wrong version")
		}
		t.must(r.Packet.Index(wire.ExtensionAuthentication) < 0, "it has one")
	}},
	{ID: "AU-04", Section: "Cisco", Level: Must, Text: "Cisco's form: 32 bits of 1, then up to 8 characters; all else is error 11", run: func(t *trial) {
		t.secret()
		st := t.client()
		good := append(binary.BigEndian.AppendUint32(nil, uint32(wire.CiscoSPI)), t.s.o.Auth...)
		for _, x := range []struct {
			what  string
			value []byte
		}{
			{"empty", nil}, {"of 3 octets", good[:3]}, {"without characters", good[:4]}, {"of another kind", append([]byte{0, 0, 0, 2}, good[4:]...)},
			{"one character short", good[:len(good)-1]}, {"one character long", append(slices.Clone(good), '!')},
		} {
			p := st.registration()
			p.Extensions = append(p.Extensions, wire.Extension{Type: wire.ExtensionAuthentication, Compulsory: true, Value: x.value})
			t.owed(st, st.bytes(p), wire.ErrorAuthenticationFailure, x.what)
		}
		r := t.reply(st, st.registration(), wire.RegistrationReply)
		e := r.Extension(wire.ExtensionAuthentication)
		t.must(e != nil && bytes.Equal(e.Value, good), "the reply's is not in Cisco's form")
	}},
}

// secret skips the case where no authentication is configured.
func (t *trial) secret() {
	if t.s.o.Auth == "" {
		t.skip("no authentication is configured (--auth)")
	}
}
