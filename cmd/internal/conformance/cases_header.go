// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"fmt"
	"slices"

	"dmvpn/nhrpd/wire"
)

// headerCases are chapter 1 of the list: the fixed header.
var headerCases = []Case{
	{ID: "HD-01", Section: "5.1, 5.2.7", Level: Must, Text: "a version that is not 1 is refused", run: func(t *trial) {
		st := t.client()
		for _, v := range []byte{0, 2, 255} {
			t.refused(st, set(st.bytes(st.registration()), offVersion, v), wire.ErrorProtocolError, fmt.Sprintf("version %d", v))
		}
	}},
	{ID: "HD-02", Section: "5.1", Level: Must, Text: "the checksum is over the whole packet, an odd length padded with zero", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.Extensions = append(p.Extensions, foreign(1))
		b := st.bytes(p)
		if len(b)%2 == 0 {
			p.Extensions[len(p.Extensions)-1] = foreign(2)
			b = st.bytes(p)
		}
		r := t.replyTo(st, b, wire.RegistrationReply, "odd length, right checksum")
		t.must(r.CIEs[0].Code == 0, "odd length, right checksum: code %d", r.CIEs[0].Code)
		bad := slices.Clone(st.bytes(st.registration()))
		bad[offChecksum] ^= 0x40
		t.refused(st, bad, wire.ErrorProtocolError, "wrong checksum")
		bad = slices.Clone(st.bytes(st.registration()))
		bad[len(bad)-1] ^= 1
		t.refused(st, bad, wire.ErrorProtocolError, "the last octet bent")
	}},
	{ID: "HD-03", Section: "5.1", Level: Must, Text: "the packet size leaves out link padding, and is not believed beyond what came", run: func(t *trial) {
		st := t.client()
		b := st.bytes(st.registration())
		r := t.replyTo(st, append(slices.Clone(b), make([]byte, 7)...), wire.RegistrationReply, "7 octets of padding")
		t.must(r.CIEs[0].Code == 0, "7 octets of padding: code %d", r.CIEs[0].Code)
		for _, size := range []int{len(b) + 1, 65535, 19, 0} {
			t.refused(st, set16(st.bytes(st.registration()), offSize, uint16(size)), wire.ErrorProtocolError, fmt.Sprintf("packet size %d of %d", size, len(b)))
		}
	}},
	{ID: "HD-04", Section: "5", Level: Must, Text: "an extension offset is 0 or bounds a whole mandatory part", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.Extensions = nil
		if t.s.o.Auth == "" {
			r := t.reply(st, p, wire.RegistrationReply)
			t.must(r.CIEs[0].Code == 0, "offset 0: code %d", r.CIEs[0].Code)
		}
		b := st.bytes(st.registration())
		for _, offset := range []int{1, 19, 20, 30, extensionsAt(b) - 3, len(b), len(b) + 4, 65535} {
			t.refused(st, set16(st.bytes(st.registration()), offExtensions, uint16(offset)), wire.ErrorProtocolError, fmt.Sprintf("extension offset %d of %d", offset, len(b)))
		}
		t.unread(st, resized(b, fixedHeader), "a fixed header and no more")
	}},
	{ID: "HD-05", Section: "5.1", Level: Must, Text: "the protocol type in its short form, SNAP zero; SNAP ignored on receipt", run: func(t *trial) {
		st := t.client()
		r := t.reply(st, st.registration(), wire.RegistrationReply)
		t.must(r.SNAP == [5]byte{}, "the reply's SNAP field is %x", r.SNAP)
		p := st.registration()
		p.SNAP = [5]byte{1, 2, 3, 4, 5}
		r = t.reply(st, p, wire.RegistrationReply)
		t.must(r.CIEs[0].Code == 0, "a SNAP field: code %d", r.CIEs[0].Code)
		b := st.bytes(st.registration())
		long := with(b, func(b []byte) {
			binary.BigEndian.PutUint16(b[offProtocol:], 0x0080)
			copy(b[offSNAP:], []byte{0, 0, 0, 8, 0})
		})
		if a := t.ask(st, long); a != nil && a.Packet != nil && a.Packet.Type == wire.ErrorIndication && a.Packet.ErrorCode != wire.ErrorProtocolError {
			t.note("the long form of the type: %s", a)
		}
	}},
	{ID: "HD-06", Section: "5.1", Level: Must, Text: "address family and the type and length of the NBMA address fit each other", run: func(t *trial) {
		st := t.client()
		for _, x := range []struct {
			what   string
			change func(b []byte)
		}{
			{"address family 3", func(b []byte) { b[offFamily+1] = 3 }},
			{"address family 0x4000", func(b []byte) { b[offFamily], b[offFamily+1] = 0x40, 0 }},
			{"an NBMA address of the other family's length", func(b []byte) { b[offNBMA] = 4 + 16 - b[offNBMA] }},
			{"the top bit of the length", func(b []byte) { b[offNBMA] |= 0x80 }},
			{"an NBMA address of 63 octets", func(b []byte) { b[offNBMA] = 63 }},
		} {
			t.unread(st, with(st.bytes(st.registration()), x.change), x.what)
		}
		p := st.registration()
		p.SourceSubaddress = []byte{1, 2, 3, 4}
		r := t.reply(st, p, wire.RegistrationReply)
		t.must(r.CIEs[0].Code == 0 && r.SourceProtocol == st.Protocol, "behind a subaddress other addresses are read: %v, code %d", r.SourceProtocol, r.CIEs[0].Code)
	}},
	{ID: "HD-07", Section: "5", Level: Must, Text: "unused fields are ignored on receipt", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.Flags |= 0x7FFC
		p.CIEs[0].Unused = 0xFFFF
		b := st.bytes(p)
		r := t.replyTo(st, b, wire.RegistrationReply, "all unused bits set")
		t.must(r.CIEs[0].Code == 0, "all unused bits set: code %d", r.CIEs[0].Code)
	}},
	{ID: "HD-08", Section: "5.1", Level: Plain, Text: "packet types are 1 to 7, and 8 of DMVPN", run: func(t *trial) {
		st := t.client()
		for _, kind := range []byte{0, 9, 127, 128, 255} {
			t.refused(st, set(st.bytes(st.registration()), offType, kind), wire.ErrorProtocolError, fmt.Sprintf("type %d", kind))
		}
	}},
	{ID: "HD-09", Section: "5.1", Level: Must, Text: "a reply's hop count is that of a packet of one's own; 0 is never sent", run: func(t *trial) {
		st := t.client()
		p := st.registration()
		p.HopCount = 1
		r := t.reply(st, p, wire.RegistrationReply)
		t.must(r.HopCount > 1, "a request with hop count 1 has a reply with %d", r.HopCount)
		if e := t.ask(st, set(st.bytes(st.registration()), offVersion, 9)); e != nil && e.Packet != nil {
			t.must(e.Packet.HopCount > 0, "an Error Indication has hop count 0")
		}
	}},
	{ID: "HD-10", Section: "5.2.0.1", Level: Must, Text: "the lengths of protocol addresses fit the protocol type", run: func(t *trial) {
		st := t.client()
		for _, n := range []byte{0, 3, 5, byte(4 + 16 - st.Protocol.BitLen()/8)} {
			t.unread(st, set(st.bytes(st.registration()), offSource, n), fmt.Sprintf("a source of %d octets", n))
		}
		t.unread(st, set(st.bytes(st.registration()), offDestination, 255), "a destination of 255 octets")
	}},
	{ID: "HD-12", Section: "draft-dmvpn", Level: Must, Text: "NHRP rides in GRE with type 0x2001 and no IP header between", run: func(t *trial) {
		st := t.station()
		r := t.ask(st, st.bytes(st.registration()))
		t.must(r != nil && r.Packet != nil, "a registration in GRE with type 0x2001 is not answered in the same form")
		t.must(r.From == t.s.o.Target, "the answer comes from %v, not from %v", r.From, t.s.o.Target)
		want := 4
		if t.s.o.Key >= 0 {
			want = 8
		}
		t.must(len(r.GRE) == want, "the GRE header has %d octets, not %d", len(r.GRE), want)
	}},
}

// foreign is a vendor's extension that nobody knows, with so many octets of data.
func foreign(n int) wire.Extension {
	return wire.NewVendor(wire.Vendor{ID: [3]byte{0xFE, 0xDC, 0xBA}, Data: slices.Repeat([]byte{0x5A}, n)})
}
