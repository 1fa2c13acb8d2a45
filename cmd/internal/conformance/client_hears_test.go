// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// hear takes what came.
func (c *client) hear(r *received) {
	p := r.Packet
	if r.Protocol != wire.GREProtocol {
		return
	}
	if p == nil {
		c.unread(r)
		return
	}
	if p.Type != wire.ErrorIndication && !c.authentic(p) {
		return
	}
	if i := p.UnknownCompulsory(); i >= 0 && !p.Type.Indication() && !c.does("takes compulsory extensions that it does not know") {
		c.failure(r, wire.ErrorUnrecognizedExtension, p.ExtensionOffset(i), p.SourceProtocol)
		return
	}
	switch p.Type {
	case wire.RegistrationReply:
		c.accepted(r)
	case wire.RegistrationRequest:
		if c.does("answers its own registration") {
			q := p.Clone()
			q.Type = wire.RegistrationReply
			c.send(r.From, q)
		}
	case wire.ResolutionRequest:
		c.send(r.From, c.answer(p, c.hub(r.From)))
	case wire.ResolutionReply:
		c.resolved(r)
	case wire.PurgeRequest:
		c.purge(r)
	case wire.ErrorIndication:
		c.failed(p)
	case wire.TrafficIndication:
		c.told(r)
	}
}

// authentic says whether a packet has the password.
func (c *client) authentic(p *wire.Packet) bool {
	e := p.Extension(wire.ExtensionAuthentication)
	switch {
	case c.does("takes any password"):
		return true
	case e == nil:
		return false
	case c.does("has its password without the type") && string(e.Value) == c.secret:
		return true
	}
	a, err := e.Authentication()
	return err == nil && a.CiscoSecret(c.secret)
}

// accepted takes the reply to a registration.
func (c *client) accepted(r *received) {
	p := r.Packet
	for _, h := range c.hubs {
		switch {
		case h.p == nil || h.nbma != r.From || len(p.CIEs) == 0:
			continue
		case p.RequestID != h.p.RequestID && !c.does("takes replies of any id"):
			continue
		case p.SourceProtocol != c.own && !c.does("takes replies to another"):
			continue
		case p.SourceNBMA != c.nbma && !c.does("takes replies to another NBMA address"):
			continue
		}
		now := time.Now()
		h.p, h.next = nil, now.Add(clientHolding/3)
		if c.does("renews late") {
			h.next = now.Add(clientHolding * 9 / 10)
		}
		code := p.CIEs[0].Code
		if h.registered = code == 0 || c.does("takes code 77 for success") && code == 77; h.registered {
			continue
		}
		h.next = now.Add(afterRefusal)
		switch {
		case code != wire.CodeAlreadyRegistered:
		case c.does("purges what is another's"):
			q := c.plain(wire.PurgeRequest, h.protocol)
			q.CIEs = []wire.CIE{{PrefixLength: wire.HostPrefix, Protocol: c.own}}
			c.send(h.nbma, q)
		case c.does("tries again soon after code 14"):
			h.next = now.Add(3 * firstPause)
		}
	}
}

// hub is the server at an address, nil for a stranger.
func (c *client) hub(nbma netip.Addr) *hub {
	i := slices.IndexFunc(c.hubs, func(h *hub) bool { return h.nbma == nbma })
	if i < 0 {
		return nil
	}
	return c.hubs[i]
}

// answer answers a server for what is its own.
func (c *client) answer(p *wire.Packet, by *hub) *wire.Packet {
	a := p.Clone()
	a.Type, a.HopCount = wire.ResolutionReply, wire.HopCount
	a.Flags = p.Flags | wire.FlagAuthoritative | wire.FlagDestinationStable
	d := p.DestinationProtocol
	own := d == c.own || c.network.Contains(d)
	switch {
	case by != nil && by.hides && c.network.Contains(d):
		a.CIEs = []wire.CIE{{PrefixLength: 8, HoldingTime: 60, NBMA: by.nbma, Protocol: by.protocol}}
		return a
	case own, c.does("answers for what it was told") && within(c.known, d), c.does("answers for multicast") && d.IsMulticast():
	default:
		a.CIEs = []wire.CIE{{Code: wire.CodeNoBinding}}
		return a
	}
	self := c.self()
	self.PrefixLength = uint8(c.network.Bits())
	if p.Extension(wire.ExtensionResponderAddress) != nil && !c.does("does not say who answers") {
		entries(a, wire.ExtensionResponderAddress, c.self())
	}
	switch c.fault {
	case "answers without A":
		a.Flags &^= wire.FlagAuthoritative
	case "answers for more than it has":
		self.PrefixLength = 8
	case "answers for the host alone":
		self.PrefixLength = wire.HostPrefix
	case "answers with a next hop that is another":
		self.NBMA = c.hubs[0].nbma
	case "changes the source in an answer":
		a.SourceProtocol = a.SourceProtocol.Next()
	case "leaves out what it does not know":
		a.RemoveExtension(unknown(false).Type)
	case "adds an extension to an answer":
		entries(a, wire.ExtensionNATAddress)
	case "enters itself in a record that it is to leave":
		if a.Extension(wire.ExtensionForwardTransit) != nil {
			entries(a, wire.ExtensionForwardTransit, c.self())
		}
	}
	a.CIEs = []wire.CIE{self}
	return a
}

// resolved takes the reply to a question.
func (c *client) resolved(r *received) {
	p := r.Packet
	i := slices.IndexFunc(c.questions, func(q *question) bool {
		forged := c.does("takes answers of any id from anywhere") && q.p != nil && q.p.DestinationProtocol == p.DestinationProtocol
		return forged || q.p != nil && q.p.RequestID == p.RequestID && q.hub.nbma == r.From
	})
	if i < 0 {
		if !c.does("says nothing to an unsolicited reply") {
			c.failure(r, wire.ErrorInvalidResolutionReply, 0, p.SourceProtocol)
		}
		return
	}
	q, cie := c.questions[i], p.CIEs[0]
	if cie.Code != 0 {
		if !c.does("asks on after a refusal") {
			q.p = nil
		}
		return
	}
	const widest = 16
	prefix := cie.Prefix(p.DestinationProtocol)
	if c.does("lets an answer hide its own network") && prefix.Bits() >= 8 && prefix.Contains(c.network.Addr()) {
		q.hub.hides = true
	}
	if prefix.Bits() < widest && !c.does("takes an answer for half the world") {
		prefix = host(p.DestinationProtocol)
	}
	q.p = nil
	c.known = append(c.known, prefix)
}

// purge forgets, and says so.
func (c *client) purge(r *received) {
	p := r.Packet
	for _, cie := range p.CIEs {
		prefix := cie.Prefix(cie.Protocol)
		c.purged = append(c.purged, prefix)
		c.known = slices.DeleteFunc(c.known, func(k netip.Prefix) bool { return prefix.Bits() <= k.Bits() && prefix.Contains(k.Addr()) })
	}
	if c.does("answers no purge") || p.Flags&wire.FlagPurgeNoReply != 0 && !c.does("answers a purge with N") {
		return
	}
	a := p.Clone()
	a.Type, a.HopCount = wire.PurgeReply, wire.HopCount
	switch c.fault {
	case "changes the entries of a purge":
		a.CIEs[0].HoldingTime = 5
	case "answers a purge as its own":
		a.SourceProtocol, a.SourceNBMA = c.own, c.nbma
	}
	c.send(r.From, a)
}

// failed ends the question that an Error Indication is about.
func (c *client) failed(p *wire.Packet) {
	if len(p.Contents) < offID+4 {
		return
	}
	id := binary.BigEndian.Uint32(p.Contents[offID:])
	for _, q := range c.questions {
		if q.p != nil && (q.p.RequestID == id || c.does("takes any error for one about its question")) && !c.does("passes errors over") {
			q.p = nil
		}
	}
	for _, h := range c.hubs {
		if c.does("registers at once after an error") && h.p != nil && h.p.RequestID == id {
			h.next = time.Now()
		}
	}
}

// told takes a Traffic Indication.
func (c *client) told(r *received) {
	source, d := ends(r.Packet.Contents)
	if !d.IsValid() {
		if c.does("answers indications about nothing") {
			c.failure(r, wire.ErrorProtocolError, 0, r.Packet.SourceProtocol)
		}
		return
	}
	i := slices.IndexFunc(c.hubs, func(h *hub) bool { return h.routed.Contains(d) })
	switch {
	case i < 0:
		return
	case source != c.own && !c.network.Contains(source) && !c.does("takes indications about others' packets"):
		return
	case r.Packet.DestinationProtocol != source && c.does("wants the packet's source in an indication"):
		return
	}
	h := c.hubs[i]
	if h.nbma != r.From && !c.does("takes indications from strangers") || !h.registered {
		return
	}
	asked := slices.ContainsFunc(c.questions, func(q *question) bool { return q.p != nil && q.p.DestinationProtocol == d })
	switch {
	case within(c.known, d) && !c.does("asks again for what it knows"):
	case !within(c.known, d) && asked && !c.does("asks anew at each indication"):
	default:
		c.ask(h, d)
	}
}
