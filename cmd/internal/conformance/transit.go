// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// passed asks, as a station, for another one's own address, and gives the request as that one
// got it. Who answers for its clients itself is not tried.
func (t *trial) passed(asker *station, p *wire.Packet, owner *station) *wire.Packet {
	where, passed, answer := t.way(asker, p, owner)
	switch {
	case passed != nil:
		return passed
	case where == owner:
		t.skip("it answers for its clients itself, and passes no request on")
	case answer != nil:
		t.fail("a request for a client is answered with %s", &received{Packet: answer, Protocol: wire.GREProtocol})
	}
	t.fail("a request for a client is neither passed on nor answered")
	return nil
}

// passedAgain is passed of who has passed on such a request before: an answer of its own is from memory.
func (t *trial) passedAgain(asker *station, p *wire.Packet, owner *station, otherwise string) {
	where, passed, _ := t.way(asker, p, owner)
	t.must(passed != nil || where != owner, "the first request is passed on, and the second %s", otherwise)
	t.must(passed != nil, "the first request is passed on, and the second is not")
}

// between is a question of one station for another's address, with what a router asks for.
func between(asker, owner *station) *wire.Packet { return asker.resolution(owner.Protocol) }

// answer makes the reply of the one who owns the destination, and signs it.
func (st *station) answers(request *wire.Packet, flags uint16) *wire.Packet {
	p := request.Clone()
	p.Type, p.HopCount = wire.ResolutionReply, wire.HopCount
	p.Flags = request.Flags&^wire.FlagDestinationStable | flags
	p.CIEs = []wire.CIE{{PrefixLength: uint8(st.Protocol.BitLen()), HoldingTime: holding, NBMA: st.NBMA, Protocol: st.Protocol}}
	if p.Extension(wire.ExtensionResponderAddress) != nil {
		if e, err := p.NewEntries(wire.ExtensionResponderAddress, wire.CIE{HoldingTime: holding, NBMA: st.NBMA, Protocol: st.Protocol}); err == nil {
			p.SetExtension(e)
		}
	}
	return p
}

// returned sends the owner's reply, and gives it as the asker got it; nil if it did not.
func (t *trial) returned(owner *station, p *wire.Packet, asker *station) *wire.Packet {
	for range tries {
		owner.send(p)
		if r := t.until(asker, ofType(wire.ResolutionReply, p.RequestID)); r != nil {
			return r.Packet
		}
	}
	return nil
}

// egress is an address that the server answers for: behind it, or its own.
func (t *trial) egress() netip.Addr {
	if t.s.o.Behind.IsValid() {
		return nth(t.s.o.Behind, 10, t.s.o.Behind.Addr().BitLen())
	}
	return t.s.o.Server.Addr()
}

// behind is egress for cases that take a network behind the server.
func (t *trial) behind() netip.Addr {
	if !t.s.o.Behind.IsValid() {
		t.skip("no network behind the server is named (--behind)")
	}
	return t.egress()
}

// resolved asks for what the server answers for, and fails if it does not.
func (t *trial) resolved(st *station, p *wire.Packet) *wire.Packet {
	r := t.reply(st, p, wire.ResolutionReply)
	t.must(len(r.CIEs) > 0, "a Resolution Reply without an entry")
	t.must(r.CIEs[0].Code == 0, "asked for %v it answers with code %d (%v)", p.DestinationProtocol, r.CIEs[0].Code, r.CIEs[0].Code)
	return r
}

// kinds are the types of a packet's extensions.
func kinds(p *wire.Packet) []wire.ExtensionType {
	var list []wire.ExtensionType
	for _, e := range p.Extensions {
		list = append(list, e.Type)
	}
	return list
}

// full is how many octets of NHRP an underlay of 1500 hardly takes.
func (s *suite) full() int {
	if s.o.Target.Is6() {
		return 1450
	}
	return 1470
}

// padded has a vendor's extension that brings the packet to so many octets.
func (st *station) padded(p *wire.Packet, size int) *wire.Packet {
	p = p.Clone()
	if room := size - len(st.bytes(p)) - 4 - 3; room > 0 {
		p.Extensions = append(p.Extensions, foreign(room))
	}
	return p
}
