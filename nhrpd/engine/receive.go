// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"

	"dmvpn/nhrpd/wire"
)

// packet takes an NHRP packet. What holds for every type is checked here: rate,
// form, reflection, authentication, extensions.
func (m *Machine) packet(in Packet) {
	if !in.From.NBMA.IsValid() || !m.local.exist() {
		m.drop("no-address")
		return
	}
	if m.cfg.Authenticated && in.From.Identity == "" {
		m.drop("no-identity")
		return
	}
	in.From.NBMA = in.From.NBMA.Unmap()
	if reason := m.tooMany(in); reason != "" {
		m.drop(reason)
		m.count(claimedType(in.Data) + "-dropped-" + reason)
		return
	}
	if m.local.is(in.From.NBMA) {
		m.drop("reflected")
		return
	}
	p, err := wire.Decode(in.Data)
	if err != nil {
		m.malformed(in, err)
		return
	}
	m.count(typeName(p.Type) + "-received")
	m.countCodes(p, "received")
	if wire.ProtocolOf(m.own()) != p.ProtocolType {
		m.drop("protocol-type")
		return
	}
	if !m.authentic(p) {
		m.drop("authentication")
		m.complain(in.From, "%v from %v: authentication does not match ours", p.Type, p.SourceProtocol)
		m.sendError(in, p, wire.ErrorAuthenticationFailure, extensionOffset(p, wire.ExtensionAuthentication))
		return
	}
	for _, kind := range []wire.ExtensionType{
		wire.ExtensionResponderAddress, wire.ExtensionForwardTransit, wire.ExtensionReverseTransit, wire.ExtensionNATAddress,
	} {
		if e := p.Extension(kind); e != nil && !p.Type.Indication() {
			if _, err := p.Entries(e); err != nil {
				m.drop("extension")
				m.sendError(in, p, wire.ErrorInvalidExtension, extensionOffset(p, kind))
				return
			}
		}
	}
	m.observe(in.From, p)
	switch p.Type {
	case wire.RegistrationRequest:
		m.registrationRequest(in, p)
	case wire.RegistrationReply:
		m.replyReceived(in, p, m.registrationReply)
	case wire.ResolutionRequest:
		m.resolutionRequest(in, p)
	case wire.ResolutionReply:
		m.replyReceived(in, p, m.resolutionReply)
	case wire.PurgeRequest:
		m.purgeRequest(in, p)
	case wire.PurgeReply:
		m.replyReceived(in, p, m.purgeReply)
	case wire.ErrorIndication:
		m.errorIndication(in, p)
	case wire.TrafficIndication:
		m.trafficIndication(in, p)
	case wire.ProbeRequest:
		m.probeRequest(in, p)
	case wire.ProbeReply:
		m.probeReply(in, p)
	}
}

// tooMany says why a packet is one too many, "" if it is not.
func (m *Machine) tooMany(in Packet) string {
	switch {
	case !m.familiar(in.From) && !m.limits.stranger(m.now, member(in.Data)):
		return "rate-strangers"
	case !m.limits.packet(in.From, m.now, member(in.Data)):
		return "rate"
	}
	return ""
}

// familiar says whether an endpoint is authenticated, a client, a server, mapped, or one whose
// data is accepted.
func (m *Machine) familiar(e Endpoint) bool {
	if e.Identity != "" || m.owned[e.Key()] > 0 || m.fromMapped(e) {
		return true
	}
	if _, ok := m.accepted.Get(e.Key()); ok {
		return true
	}
	for _, s := range m.servers {
		if to, ok := s.to(); ok && to.Is(e) {
			return true
		}
	}
	return false
}

// Membership says whether a packet is one of the types by which clients come and go: they are
// looked at before others.
func (p Packet) Membership() bool { return member(p.Data) }

// claimedType is the name of the type that a packet claims to be.
func claimedType(data []byte) string {
	t := typeOf(data)
	if name := typeName(t); name != typeName(0) || t == wire.TrafficIndication {
		return name
	}
	return "other"
}

// countCodes counts the refusals in a reply, by type and code.
func (m *Machine) countCodes(p *wire.Packet, way string) {
	if p.Type != wire.RegistrationReply && p.Type != wire.ResolutionReply {
		return
	}
	for _, c := range p.CIEs {
		if c.Code.NAK() {
			m.count(fmt.Sprintf("%s-%s-code-%d", typeName(p.Type), way, c.Code))
		}
	}
}

// replyReceived gives a reply to its taker if it is for us, else passes it on
// towards its request's source (RFC 2332, section 2.2).
func (m *Machine) replyReceived(in Packet, p *wire.Packet, take func(Packet, *wire.Packet)) {
	if p.SourceProtocol == m.own() {
		take(in, p)
		return
	}
	m.forwardReply(in, p)
}

// member says whether a packet is one of the types by which clients come and
// go; data may be anything.
func member(data []byte) bool {
	switch typeOf(data) {
	case wire.RegistrationRequest, wire.RegistrationReply, wire.PurgeRequest, wire.PurgeReply:
		return true
	}
	return false
}

// probe says whether a packet is a probe or its answer; data may be anything.
func probe(data []byte) bool { return typeOf(data).Probe() }

// typeOf is the type that a packet claims to be, 0 if it is too short for one.
func typeOf(data []byte) wire.Type {
	const offType = 17
	if len(data) <= offType {
		return 0
	}
	return wire.Type(data[offType])
}

// malformed counts a packet that cannot be read, and tells its sender.
func (m *Machine) malformed(in Packet, err error) {
	m.drop("malformed")
	var fault *wire.DecodeError
	if !errors.As(err, &fault) || fault.Packet == nil || fault.Packet.Type.Indication() {
		return
	}
	m.sendError(in, fault.Packet, fault.Code, fault.Offset)
}

// authentic checks the Authentication extension where one is configured; an
// unwanted one is tolerated. Error Indications carry none (RFC 2332, section
// 5.2.7).
func (m *Machine) authentic(p *wire.Packet) bool {
	if m.cfg.Authentication == "" || p.Type == wire.ErrorIndication {
		return true
	}
	e := p.Extension(wire.ExtensionAuthentication)
	if e == nil {
		return false
	}
	a, err := e.Authentication()
	return err == nil && a.CiscoSecret(m.cfg.Authentication)
}

// extensionOffset is the place of an extension, 0 if it is absent.
func extensionOffset(p *wire.Packet, kind wire.ExtensionType) int {
	if i := p.Index(kind); i >= 0 {
		return p.ExtensionOffset(i)
	}
	return 0
}

// refusesExtension answers a packet for us with an extension that must be
// understood and is not (RFC 2332, section 5.3).
func (m *Machine) refusesExtension(in Packet, p *wire.Packet) bool {
	i := p.UnknownCompulsory()
	if i < 0 {
		return false
	}
	m.drop("unknown-extension")
	m.sendError(in, p, wire.ErrorUnrecognizedExtension, p.ExtensionOffset(i))
	return true
}

// outgrows refuses a packet for us whose reply might not fit the underlay: what does not fit
// is lost, and its sender would not know that it was processed (RFC 2332, sections 5 and 5.2.7).
func (m *Machine) outgrows(in Packet, p *wire.Packet) bool {
	if m.cfg.MTU == 0 || p.Size()+replyGrowth <= max(int(m.cfg.MTU), shortestUnderlay) {
		return false
	}
	m.drop("packet-size")
	m.sendError(in, p, wire.ErrorPacketSizeExceeded, 0)
	return true
}
