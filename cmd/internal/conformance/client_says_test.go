// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// plain begins a packet of the client.
func (c *client) plain(t wire.Type, destination netip.Addr) *wire.Packet {
	return &wire.Packet{
		AddressFamily: wire.FamilyOf(c.nbma), ProtocolType: wire.ProtocolOf(c.own), HopCount: wire.HopCount, Type: t,
		SourceNBMA: c.nbma, SourceProtocol: c.own, DestinationProtocol: destination, RequestID: c.id(),
	}
}

// self is the client's entry in a record.
func (c *client) self() wire.CIE { return wire.CIE{HoldingTime: 60, NBMA: c.nbma, Protocol: c.own} }

// entries puts an extension of entries in place of the one that is there, if any is.
func entries(p *wire.Packet, kind wire.ExtensionType, list ...wire.CIE) {
	e, err := p.NewEntries(kind, list...)
	if err != nil {
		panic(err)
	}
	p.SetExtension(e)
}

// registration is the next one for a hub, which is one of several.
func (c *client) registration(h *hub, number int) *wire.Packet {
	p := asking(c.plain(wire.RegistrationRequest, h.protocol))
	p.Flags = wire.FlagRegistrationUnique | wire.FlagNAT
	p.CIEs = []wire.CIE{{PrefixLength: wire.HostPrefix, HoldingTime: uint16(clientHolding / time.Second)}}
	entries(p, wire.ExtensionNATAddress)
	switch c.fault {
	case "fills SNAP":
		p.SNAP = [5]byte{0, 0, 0, 8, 0}
	case "sets a flag that is unused":
		p.Flags |= 0x0100
	case "fills the unused field of an entry":
		p.CIEs[0].Unused = 1
	case "registers with a code":
		p.CIEs[0].Code = wire.CodeNoBinding
	case "sends hop count 0":
		p.HopCount = 0
	case "sends hop count 1":
		p.HopCount = 1
	case "has one id for all registrations with a server":
		p.RequestID = 1<<20 + uint32(number)
	case "counts ids for each server":
		h.ids++
		p.RequestID = h.ids
	case "registers at nobody's address":
		p.DestinationProtocol = c.own.Next()
	case "registers its network along with what is unique":
		p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: uint8(c.network.Bits()), HoldingTime: 2, NBMA: c.nbma, Protocol: c.network.Addr()})
	case "sets u":
		p.Extensions[0].Unused = true
	case "has a Responder Address that is not compulsory":
		p.Extensions[0].Compulsory = false
	case "has a compulsory extension of a vendor":
		e := foreign(4)
		e.Compulsory = true
		p.Extensions = append(p.Extensions, e)
	case "fills the Responder Address of a request":
		entries(p, wire.ExtensionResponderAddress, c.self())
	case "enters itself in its own forward record":
		entries(p, wire.ExtensionForwardTransit, c.self())
	case "enters itself in its own reverse record":
		entries(p, wire.ExtensionReverseTransit, c.self())
	case "has its password without the type":
		p.Extensions = append(p.Extensions, wire.Extension{Type: wire.ExtensionAuthentication, Compulsory: true, Value: []byte(c.secret)})
	case "has the NAT flag without the extension":
		p.RemoveExtension(wire.ExtensionNATAddress)
	case "has the NAT extension without the flag":
		p.Flags &^= wire.FlagNAT
	case "enters itself in the NAT extension":
		entries(p, wire.ExtensionNATAddress, c.self())
	}
	return p
}

// ask begins to ask a hub for a destination.
func (c *client) ask(h *hub, destination netip.Addr) {
	p := asking(c.plain(wire.ResolutionRequest, destination))
	p.Flags = wire.FlagRouter | wire.FlagAuthoritative | wire.FlagSourceStable
	p.CIEs = []wire.CIE{{PrefixLength: uint8(c.network.Bits()), HoldingTime: 60}}
	switch c.fault {
	case "asks in another's name":
		p.SourceProtocol = c.own.Next()
	case "asks with D":
		p.Flags |= wire.FlagDestinationStable
	case "asks without Q":
		p.Flags &^= wire.FlagRouter
	case "asks with a holding time and without S":
		p.Flags &^= wire.FlagSourceStable
	case "asks with two entries":
		p.CIEs = append(p.CIEs, p.CIEs[0])
	case "asks without A for what was purged":
		if within(c.purged, destination) {
			p.Flags &^= wire.FlagAuthoritative
		}
	}
	c.questions = append(c.questions, &question{h, repeat{p: p, pause: firstPause}})
}

// send sends with the password.
func (c *client) send(to netip.Addr, p *wire.Packet) {
	bare := c.does("registers without its password") && p.Type == wire.RegistrationRequest
	if p.Type != wire.ErrorIndication && p.Extension(wire.ExtensionAuthentication) == nil && !bare {
		p = p.Clone()
		e, err := wire.NewCiscoAuthentication(c.secret)
		if err != nil {
			panic(err)
		}
		p.SetExtension(e)
	}
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	if c.does("registers with octets behind the end mark") && p.Type == wire.RegistrationRequest {
		b = resized(b, len(b)+2)
	}
	c.octets(to, []byte{0, 0, wire.GREProtocol >> 8, wire.GREProtocol & 0xFF}, b)
}

// inside sends a registration with an IP header between.
func (c *client) inside(h *hub) {
	const protocolNHRP = 54
	b, err := h.p.Marshal()
	if err != nil {
		panic(err)
	}
	c.octets(h.nbma, []byte{0, 0, 0x08, 0x00}, datagram(c.own, h.protocol, protocolNHRP, b))
}

// failure sends an Error Indication about what came.
func (c *client) failure(r *received, code wire.ErrorCode, offset int, to netip.Addr) {
	p := c.plain(wire.ErrorIndication, to)
	p.RequestID, p.ErrorCode, p.ErrorOffset, p.Contents = 0, code, uint16(offset), r.Payload
	c.send(r.From, p)
}

// unread is for what cannot be read: an Error Indication, unless it is an indication itself.
func (c *client) unread(r *received) {
	var d *wire.DecodeError
	if !errors.As(r.Err, &d) || d.Packet == nil {
		return
	}
	octets := slices.Clone(r.Payload)
	mend := false
	switch {
	case c.does("takes version 2"):
		mend, octets[offVersion] = octets[offVersion] == 2, wire.Version
	case c.does("takes any checksum"):
		mend = errors.Is(d, wire.ErrChecksum)
	case c.does("takes type 99 for a question"):
		mend, octets[offType] = octets[offType] == 99, byte(wire.ResolutionRequest)
	case c.does("ends at an address family that it does not know"):
		if c.dead = errors.Is(d, wire.ErrFamily); c.dead {
			return
		}
	}
	if mend {
		mended := *r
		mended.Payload = sum(octets)
		if mended.Packet, mended.Err = wire.Decode(mended.Payload); mended.Packet != nil {
			c.hear(&mended)
			return
		}
	}
	switch t := d.Packet.Type; {
	case t == wire.ErrorIndication && !c.does("answers errors with errors"):
	case t == wire.TrafficIndication && !c.does("answers indications that it cannot read"):
	case d.Packet.SourceProtocol.IsValid():
		c.failure(r, d.Code, d.Offset, d.Packet.SourceProtocol)
	}
}
