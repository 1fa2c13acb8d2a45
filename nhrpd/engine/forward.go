// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"

	"dmvpn/nhrpd/wire"
)

// forwardRequest passes a request on along the routed path (RFC 2332, section
// 2.2). Where there is no way onward, a Resolution Request earns a NAK and
// another type an error.
func (m *Machine) forwardRequest(in Packet, p *wire.Packet) {
	to, ok := m.onward(p.DestinationProtocol)
	if !ok || to.Is(in.From) {
		m.unreachable(in, p)
		return
	}
	if m.loops(in, p, wire.ExtensionForwardTransit) {
		return
	}
	q := p.Clone()
	m.addNAT(in, q, p.SourceProtocol, p.SourceNBMA)
	m.transit(in, q, to, wire.ExtensionForwardTransit)
}

// onward is the endpoint of the next NHS on the routed path: the client or
// server that its next hop is, else our best server, which knows more of the
// overlay than we do.
func (m *Machine) onward(destination netip.Addr) (Endpoint, bool) {
	r, ok := m.routed(destination)
	if !ok || !r.Tunnel || r.Local {
		return Endpoint{}, false
	}
	if to, ok := m.hopEndpoint(r.NextHop); ok {
		return to, true
	}
	if up := m.ranked(); len(up) > 0 {
		return up[0].Bound, true
	}
	return Endpoint{}, false
}

// unreachable says that a request goes nowhere from here.
func (m *Machine) unreachable(in Packet, p *wire.Packet) {
	m.drop("unreachable")
	if p.Type == wire.ResolutionRequest {
		m.refuseResolution(in, p, wire.CodeNoBinding)
		return
	}
	m.sendError(in, p, wire.ErrorProtocolAddressUnreachable, 0)
}

// forwardReply passes a reply on towards its request's source: to the client
// itself if it registered here, whatever a route says (RFC 2332, section 3).
func (m *Machine) forwardReply(in Packet, p *wire.Packet) {
	if !m.fromPeer(in.From) {
		m.drop("stranger")
		return
	}
	to, ok := m.hopEndpoint(p.SourceProtocol)
	if !ok {
		to, ok = m.onward(p.SourceProtocol)
	}
	if !ok || to.Is(in.From) {
		m.drop("unreachable")
		return
	}
	if c, ok := firstEntry(p, wire.ExtensionResponderAddress); ok && c.Protocol == m.own() {
		m.drop("loop")
		m.sendError(in, p, wire.ErrorLoopDetected, extensionOffset(p, wire.ExtensionResponderAddress))
		return
	}
	if m.loops(in, p, wire.ExtensionReverseTransit) {
		return
	}
	q := p.Clone()
	if p.Type == wire.ResolutionReply && len(p.CIEs) > 0 && !p.CIEs[0].Code.NAK() {
		if m.answersForOthers(in.From, p) {
			m.drop("answer-of-others")
			m.complain(in.From, "answer to %v dropped: the next hop %v is not the responder's", p.SourceProtocol, p.CIEs[0].Protocol)
			return
		}
		m.confine(in, q)
		m.addNAT(in, q, p.CIEs[0].Protocol, p.CIEs[0].NBMA)
	}
	m.transit(in, q, to, wire.ExtensionReverseTransit)
}

// forwardError passes an error on like a request; at the end of its hop count
// it goes in silence.
func (m *Machine) forwardError(in Packet, p *wire.Packet) {
	to, ok := m.hopEndpoint(p.DestinationProtocol)
	if !ok {
		to, ok = m.onward(p.DestinationProtocol)
	}
	if !ok || to.Is(in.From) || p.HopCount == 0 || !m.fromPeer(in.From) {
		m.drop("error-in-transit")
		return
	}
	q := p.Clone()
	q.HopCount--
	m.send(to, q)
}

// fromPeer says whether an endpoint is a client or an NHS of ours.
func (m *Machine) fromPeer(e Endpoint) bool {
	return m.owned[e.Key()] > 0 || m.fromServer(e) || m.fromMapped(e)
}

// loops answers a packet that has been here before (RFC 2332, sections 5.3.2
// and 5.3.3): our protocol address is in its record.
func (m *Machine) loops(in Packet, p *wire.Packet, record wire.ExtensionType) bool {
	if !slices.ContainsFunc(entries(p, record), func(c wire.CIE) bool { return c.Protocol == m.own() }) {
		return false
	}
	m.drop("loop")
	m.sendError(in, p, wire.ErrorLoopDetected, extensionOffset(p, record))
	return true
}

// transit sends a packet on: its hop count goes down, and we are entered in its
// record if it has one and nothing in it must be understood that we do not
// (RFC 2332, section 5.3).
func (m *Machine) transit(in Packet, p *wire.Packet, to Endpoint, record wire.ExtensionType) {
	if p.HopCount == 0 {
		m.drop("hop-count")
		m.sendError(in, p, wire.ErrorHopCountExceeded, 0)
		return
	}
	p.HopCount--
	if e := p.Extension(record); e != nil && p.UnknownCompulsory() < 0 {
		if p.AddEntries(e, m.selfEntry(p)) != nil {
			m.count("encode-failed")
		}
	}
	if m.cfg.MTU != 0 && p.Size()+len(m.cfg.Authentication)+8 > int(m.cfg.MTU) {
		m.drop("packet-size")
		m.sendError(in, p, wire.ErrorPacketSizeExceeded, 0)
		return
	}
	m.count("forwarded")
	m.send(to, p)
}

// addNAT enters the NBMA address that we observe of a client of ours behind NAT
// in Cisco's extension, unless something is there already; in place of it where the
// client is authenticated: then nothing that it says of itself counts. A packet without the
// extension gets it, against RFC 2332, section 5.3: who does not know it passes
// it over, and who does would answer to an address that leads nowhere.
func (m *Machine) addNAT(in Packet, p *wire.Packet, client, claimed netip.Addr) {
	b, ok := m.bindings.Get(host(client))
	if !client.IsValid() || !ok || !b.To.Is(in.From) {
		return
	}
	there := len(entries(p, wire.ExtensionNATAddress)) > 0
	if there && in.From.Identity != "" {
		m.setEntries(p, wire.ExtensionNATAddress)
		there = false
	}
	if there || in.From.NBMA == claimed || wire.FamilyOf(in.From.NBMA) != p.AddressFamily {
		return
	}
	m.setEntries(p, wire.ExtensionNATAddress, wire.CIE{PrefixLength: uint8(client.BitLen()), NBMA: in.From.NBMA, Protocol: client})
}
