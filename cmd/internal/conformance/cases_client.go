// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// registering are the cases of a client's registration.
var registering = []Case{
	{ID: "HD-02", Section: "5.1", Level: Must, Text: "the checksum of its packets is right, and one that is wrong is refused", run: func(t *trial) {
		t.must(t.server.last != nil, "its registration cannot be read")
		b := bytes.Clone(t.server.bytes(t.spoke(t.own())))
		b[offChecksum] ^= 0x40
		t.refused(t.server.station, b, wire.ErrorProtocolError, "wrong checksum")
	}},
	{ID: "HD-01", Section: "5.1, 5.2.7", Level: Must, Text: "a version that is not 1 is refused", run: func(t *trial) {
		t.refused(t.server.station, set(t.server.bytes(t.spoke(t.own())), offVersion, 2), wire.ErrorProtocolError, "version 2")
	}},
	{ID: "HD-05", Section: "5.1", Level: Must, Text: "the protocol type in its short form, SNAP zero", run: func(t *trial) {
		t.must(t.server.last.SNAP == [5]byte{}, "SNAP %x", t.server.last.SNAP)
	}},
	{ID: "HD-07", Section: "5", Level: Must, Text: "unused fields are zero when sent", run: func(t *trial) {
		p := t.server.last
		t.must(p.Flags&^(wire.FlagRegistrationUnique|wire.FlagNAT) == 0, "flags 0x%04x in a registration", p.Flags)
		for _, c := range p.CIEs {
			t.must(c.Unused == 0 && c.Code == 0, "unused 0x%04x, code %d in an entry", c.Unused, c.Code)
		}
	}},
	{ID: "HD-09", Section: "5.1", Level: Must, Text: "hop count 0 is never sent", run: func(t *trial) {
		t.must(t.server.last.HopCount > 0, "hop count 0 in a registration")
		if n := t.server.last.HopCount; n == 1 {
			t.note("hop count 1 in a registration: it cannot be passed on")
		}
	}},
	{ID: "HD-12", Section: "draft-dmvpn", Level: Must, Text: "NHRP rides in GRE with type 0x2001 and no IP header between", run: func(t *trial) {
		const protocolNHRP = 54
		if t.server.wait(t.s.o.Wait, func(r *received) bool {
			v4 := r.Protocol == wire.ProtocolIPv4 && len(r.Payload) >= headerIPv4 && r.Payload[9] == protocolNHRP
			return v4 || r.Protocol == wire.ProtocolIPv6 && len(r.Payload) >= headerIPv6 && r.Payload[6] == protocolNHRP
		}) != nil {
			t.fail("it sends NHRP inside of IP")
		}
	}},
	{ID: "CM-01", Section: "5.2.0.1", Level: Must, Text: "a repeat keeps the id of its request", run: func(t *trial) {
		p := t.unanswered()
		r := t.server.wait(time.Minute, isRegistration)
		t.must(r != nil, "an unanswered registration is not repeated within a minute")
		t.must(r.Packet.RequestID == p.RequestID, "the repeat of %d has id %d", p.RequestID, r.Packet.RequestID)
	}},
	{ID: "RG-17", Section: "-", Level: Habit, Text: "an unanswered registration is repeated with growing pauses", run: func(t *trial) {
		list := t.pauses(t.left().At, isRegistration, 3, 30*time.Second)
		t.must(len(list) == 3, "%d repeats", len(list))
		t.must(grows(list), "pauses of %v", list)
	}},
	{ID: "CM-03", Section: "5.2.0.1", Level: Should, Text: "request ids do not come again", run: func(t *trial) {
		seen := map[uint32]bool{}
		for range 3 {
			p := t.unanswered()
			t.must(!seen[p.RequestID], "id %d again, after its request was answered", p.RequestID)
			seen[p.RequestID] = true
			t.server.send(t.server.registered(p, 0))
			t.settle()
		}
	}},
	{ID: "RR-05", Section: "5.2.0.1", Level: Must, Text: "a reply of another id or another source is none", run: func(t *trial) {
		p := t.unanswered()
		wrong := t.server.registered(p, 0)
		wrong.RequestID ^= 0x55
		t.server.send(wrong)
		wrong = t.server.registered(p, 0)
		wrong.SourceProtocol = t.s.nobody()
		t.server.send(wrong)
		r := t.server.wait(time.Minute, isRegistration)
		t.must(r != nil && r.Packet.RequestID == p.RequestID, "it is taken: the request is not repeated")
	}},
	{ID: "CM-02", Section: "5.2.0.1", Level: Must, Text: "a reply is matched by id and source NBMA address", run: func(t *trial) {
		p := t.unanswered()
		wrong := t.server.registered(p, 0)
		wrong.SourceNBMA = t.s.elsewhere()
		t.server.send(wrong)
		r := t.server.wait(time.Minute, isRegistration)
		t.must(r != nil && r.Packet.RequestID == p.RequestID, "one for another NBMA address is taken: the request is not repeated")
	}},
	{ID: "RG-01", Section: "5.2.3", Level: Must, Text: "it registers at the server's address, or at its own", run: func(t *trial) {
		p := t.server.last
		t.must(p.DestinationProtocol == t.server.Protocol || p.DestinationProtocol == p.SourceProtocol || !p.DestinationProtocol.IsValid(), "at %v", p.DestinationProtocol)
	}},
	{ID: "RG-07", Section: "5.2.3", Level: Must, Text: "a unique registration has one entry, of a host", run: func(t *trial) {
		p := t.server.last
		if p.Flags&wire.FlagRegistrationUnique == 0 {
			t.skip("it does not register as unique")
		}
		t.must(len(p.CIEs) == 1 && (p.CIEs[0].PrefixLength == wire.HostPrefix), "%d entries, prefix length %d", len(p.CIEs), p.CIEs[0].PrefixLength)
	}},
	{ID: "RG-15", Section: "5.2.3", Level: Should, Text: "it renews in time: after a third of the holding time", run: func(t *trial) {
		h := time.Duration(t.server.last.CIEs[0].HoldingTime) * time.Second
		if h > 2*time.Minute {
			t.skip("its holding time is %v: too long to wait for", h)
		}
		began := time.Now()
		t.server.silent = true
		r := t.server.wait(h, t.server.fresh)
		t.must(r != nil, "it does not renew within its holding time of %v", h)
		took := r.At.Sub(began)
		t.must(took < h*3/4, "it renews after %v of %v", took, h)
	}},
	{ID: "RR-03", Section: "5.2.4", Level: Must, Text: "any code but 0 is a refusal", last: true, run: func(t *trial) {
		p := t.unanswered()
		t.server.send(t.server.registered(p, 77))
		t.settle()
		d := t.destination()
		if t.question(d) != nil {
			t.fail("refused with code 77 it asks the server as if it were registered")
		}
	}},
	{ID: "RR-04", Section: "-", Level: Habit, Text: "after code 14 it does not purge what is another's, and tries again slowly", last: true, run: func(t *trial) {
		p := t.unanswered()
		t.server.send(t.server.registered(p, wire.CodeAlreadyRegistered))
		t.settle()
		t.server.other = slices.DeleteFunc(t.server.other, func(r received) bool { // of its networks, on its way before
			return r.Packet != nil && r.Packet.Type == wire.RegistrationRequest
		})
		r := t.server.wait(5*time.Second, func(r *received) bool {
			return r.Packet != nil && (r.Packet.Type == wire.PurgeRequest || r.Packet.Type == wire.RegistrationRequest)
		})
		t.must(r == nil, "within 5 s: %v", r)
	}},
	{ID: "ER-11", Section: "-", Level: Habit, Text: "an error about a registration is no reason to hurry", run: func(t *trial) {
		p := t.unanswered()
		t.server.send(t.server.failure(wire.ErrorAuthenticationFailure, t.server.client, t.server.bytes(p)))
		n := 0
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
			r := t.server.wait(time.Until(end), isRegistration)
			if r == nil {
				break
			}
			n++
			t.server.send(t.server.failure(wire.ErrorAuthenticationFailure, t.server.client, t.server.bytes(r.Packet)))
		}
		t.must(n <= 5, "%d registrations within 3 s, each answered with an error", n)
	}},
	{ID: "EX-01", Section: "5.3", Level: Must, Text: "the list of extensions ends with type 0 and length 0", run: func(t *trial) {
		p := t.server.last
		t.must(len(p.Trailer) == 0, "%d octets behind the end mark", len(p.Trailer))
	}},
	{ID: "EX-08", Section: "5.3", Level: Must, Text: "u is zero when sent, and C is set where the RFC has it so", run: func(t *trial) {
		for _, e := range t.server.last.Extensions {
			t.must(!e.Unused, "u is set in %v", e.Type)
			switch e.Type {
			case wire.ExtensionResponderAddress, wire.ExtensionForwardTransit, wire.ExtensionReverseTransit, wire.ExtensionAuthentication:
				t.must(e.Compulsory, "%v is not compulsory", e.Type)
			case wire.ExtensionVendorPrivate:
				t.must(!e.Compulsory, "%v is compulsory", e.Type)
			}
		}
	}},
	{ID: "RC-01", Section: "5.3.1", Level: Must, Text: "the Responder Address is asked for by an empty one", run: func(t *trial) {
		e := t.server.last.Extension(wire.ExtensionResponderAddress)
		if e == nil {
			t.skip("it does not ask for the Responder Address")
		}
		t.must(len(e.Value) == 0, "%d octets in it", len(e.Value))
	}},
	{ID: "RC-07", Section: "5.3.2-3", Level: Must, Text: "a client's records are empty", run: func(t *trial) {
		for _, kind := range []wire.ExtensionType{wire.ExtensionForwardTransit, wire.ExtensionReverseTransit} {
			t.must(len(t.entries(t.server.last, kind)) == 0, "%v has entries", kind)
		}
	}},
	{ID: "AU-04", Section: "Cisco", Level: Must, Text: "authentication has Cisco's form", run: func(t *trial) {
		t.secret()
		e := t.server.last.Extension(wire.ExtensionAuthentication)
		t.must(e != nil, "its registration has none")
		a, err := e.Authentication()
		t.must(err == nil && a.CiscoSecret(t.s.o.Auth), "it is not that of --auth")
	}},
	{ID: "AU-02", Section: "5.3.4", Level: Must, Text: "a reply with a wrong password is not taken", run: func(t *trial) {
		t.secret()
		p := t.unanswered()
		wrong := t.server.registered(p, 0)
		a, _ := wire.NewCiscoAuthentication("wr0ng!")
		wrong.SetExtension(a)
		t.server.send(wrong)
		r := t.server.wait(time.Minute, isRegistration)
		t.must(r != nil && r.Packet.RequestID == p.RequestID, "it is taken: the request is not repeated")
	}},
	{ID: "NA-01", Section: "Cisco", Level: Plain, Text: "who speaks the NAT extension sets its flag, and sends it empty", run: func(t *trial) {
		p := t.server.last
		e := p.Extension(wire.ExtensionNATAddress)
		if e == nil && p.Flags&wire.FlagNAT == 0 {
			t.skip("it does not speak the NAT extension")
		}
		t.must(e != nil && p.Flags&wire.FlagNAT != 0, "flags 0x%04x, extensions %v", p.Flags, kinds(p))
		for _, c := range t.entries(p, wire.ExtensionNATAddress) {
			t.must(c.Protocol != p.SourceProtocol, "it enters itself")
		}
	}},
	{ID: "HU-01", Section: "4", Level: Plain, Text: "with several servers, it registers with each, with ids of their own", run: func(t *trial) {
		if len(t.s.o.Routed) < 2 {
			t.skip("one server is played: --routed names none or one")
		}
		for range 2 {
			p := t.unanswered()
			t.server.send(t.server.registered(p, 0))
		}
		if id := t.s.shared.Load(); id != nil {
			t.fail("id %d at two servers", *id)
		}
	}},
}
