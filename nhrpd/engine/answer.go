// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"

	"dmvpn/nhrpd/wire"
)

// resolutionRequest answers for what leaves the overlay here, and passes every
// other request on along the routed path (RFC 2332, sections 2.2 and 5.2.2):
// whoever owns the destination answers, so its answer is authoritative.
func (m *Machine) resolutionRequest(in Packet, p *wire.Packet) {
	if p.SourceProtocol == m.own() {
		m.drop("reflected")
		return
	}
	if m.loops(in, p, wire.ExtensionForwardTransit) {
		return
	}
	if !m.speaksFor(in.From, p.SourceProtocol) {
		m.drop("stranger")
		m.report(Debug, in.From, "Resolution Request of %v, who is not known there", p.SourceProtocol)
		m.sendError(in, p, wire.ErrorProtocolAddressUnreachable, 0)
		return
	}
	// Unique is asked of a host (RFC 2332, section 5.2.1).
	destination := p.DestinationProtocol
	if p.Flags&wire.FlagUnique != 0 && len(p.CIEs) > 0 && destination.IsValid() && !p.CIEs[0].Prefix(destination).IsSingleIP() {
		m.drop("unique-prefix")
		m.sendError(in, p, wire.ErrorProtocolError, p.CIEOffset(0)+1)
		return
	}
	if !validDestination(destination) || destination == p.SourceProtocol || m.cfg.Address.Contains(destination) && !m.inCloud(destination) {
		m.refuseResolution(in, p, wire.CodeNoBinding)
		return
	}
	prefix, stable, ok := m.egress(destination)
	if !ok {
		m.forwardRequest(in, p)
		return
	}
	if m.refusesExtension(in, p) || m.outgrows(in, p) {
		return
	}
	m.answer(in, p, prefix, stable)
}

// answer answers a request: the requester is admitted before the reply leaves,
// for as long as it is told that it may send here. stable says that the destination is
// where it is for at least that long (RFC 2332, section 5.2.2).
func (m *Machine) answer(in Packet, p *wire.Packet, prefix netip.Prefix, stable bool) {
	requester := m.requester(in, p)
	if !validNBMA(requester.NBMA) || m.local.is(requester.NBMA) || m.cfg.Address.Contains(requester.NBMA) {
		m.drop("requester-address")
		m.refuseResolution(in, p, wire.CodeAdministrativelyProhibited)
		return
	}
	own := m.offered(p.AddressFamily)
	if !own.IsValid() { // our entry in the Responder Address has no NBMA address: that is why
		m.count("other-family")
		m.refuseResolution(in, p, wire.CodeNoBinding)
		return
	}
	prefix = m.wished(p, prefix)
	if !m.tell(p.SourceProtocol, requester, answer{prefix, p.DestinationProtocol}) {
		m.refuseResolution(in, p, wire.CodeInsufficientResources)
		return
	}
	r := m.reply(p, wire.ResolutionReply)
	r.RemovePrivate() // it speaks for the requester
	r.Flags |= wire.FlagAuthoritative
	r.Flags &^= wire.FlagDestinationStable
	if stable {
		r.Flags |= wire.FlagDestinationStable
	}
	r.CIEs = []wire.CIE{{
		PrefixLength: uint8(prefix.Bits()), MTU: m.cfg.MTU, HoldingTime: m.holdingSeconds(), NBMA: own, Protocol: m.own(),
	}}
	if r.Extension(wire.ExtensionNATAddress) != nil {
		var public []wire.CIE
		if a := m.public(r.AddressFamily); a.IsValid() {
			public = []wire.CIE{{PrefixLength: uint8(a.BitLen()), NBMA: a, Protocol: m.own()}}
		}
		m.setEntries(r, wire.ExtensionNATAddress, public...)
	}
	m.announce(r, wire.ProbeReplier, asksForProbes(p))
	m.count("answered")
	m.send(in.From, r)
}

// wished narrows a prefix to what the requester takes. A length of 0, of a host
// or 0xFF is no wish: that is what FRR and Cisco send, and they take any.
func (m *Machine) wished(p *wire.Packet, prefix netip.Prefix) netip.Prefix {
	if p.Flags&wire.FlagUnique != 0 {
		return host(p.DestinationProtocol)
	}
	if len(p.CIEs) == 0 {
		return prefix
	}
	if bits := int(p.CIEs[0].PrefixLength); bits > prefix.Bits() && bits < prefix.Addr().BitLen() {
		prefix, _ = p.DestinationProtocol.Prefix(bits)
	}
	return prefix
}

// requester is where the requester's data will come from: where its packet came
// from if that is itself, else what the NHS entered for one behind NAT, else
// what it says.
func (m *Machine) requester(in Packet, p *wire.Packet) Endpoint {
	if !m.fromServer(in.From) {
		return in.From
	}
	return m.located(p, translation(p, p.SourceProtocol), p.SourceNBMA)
}

// refuseResolution answers with a NAK: one entry, and nothing in it but the code.
func (m *Machine) refuseResolution(in Packet, p *wire.Packet, code wire.Code) {
	r := m.reply(p, wire.ResolutionReply)
	r.CIEs = []wire.CIE{{Code: code}}
	m.count("refused")
	m.send(in.From, r)
}

// tell remembers whom we answered, admits it, and takes back purges that are
// under way for the same. False: there is no room to remember.
func (m *Machine) tell(protocol netip.Addr, to Endpoint, a answer) bool {
	until := m.now + m.cfg.HoldingTime
	t, ok := m.told.Get(protocol)
	if !ok {
		if m.told.Len() >= m.cfg.Limits.Cached {
			return false
		}
		t = &told{Protocol: protocol}
	}
	before, moved := t.To, ok && t.To.Key() != to.Key()
	i := slices.IndexFunc(t.Answers, func(b answer) bool { return b.Prefix == a.Prefix })
	if i < 0 && len(t.Answers) >= answersPerTold {
		return false
	}
	if i < 0 {
		t.Answers = append(t.Answers, a)
	}
	t.To, t.Until = to, until
	m.told.Put(protocol, t, until)
	for id, q := range m.purges.All() {
		if q.Protocol == protocol {
			if q.Prefixes = slices.DeleteFunc(q.Prefixes, func(p netip.Prefix) bool { return p == a.Prefix }); len(q.Prefixes) == 0 {
				m.purges.Delete(id)
			}
		}
	}
	// The requester counts from when it has the answer, and its last packet takes its time.
	m.admit(to, protocol, until+drainTime, !ok || moved, "answered for "+a.Prefix.String())
	if moved && m.leave(before) == 0 {
		m.drain(before) // else who asks from ever new addresses has all of them accepted
	}
	return true
}

// forgetTold forgets whom we answered. Its packets are accepted until it knows,
// or what it was told has expired.
func (m *Machine) forgetTold(t *told) {
	m.told.Delete(t.Protocol)
	m.leave(t.To)
}

func (m *Machine) expireTold() {
	for {
		_, t, ok := m.told.Due(m.now)
		if !ok {
			return
		}
		m.forgetTold(t)
	}
}
