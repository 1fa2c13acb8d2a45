// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/binary"
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// sendError tells the endpoint that a packet came from what is wrong with it
// (RFC 2332, section 5.2.7): we are the source, the station that made the packet
// is the destination. Nothing is said about an indication, or too often.
func (m *Machine) sendError(in Packet, about *wire.Packet, code wire.ErrorCode, offset int) {
	to := m.author(about)
	if about.Type.Indication() || !to.IsValid() || to == m.own() {
		return
	}
	if !m.limits.error(in.From, m.now) {
		m.count("error-suppressed")
		return
	}
	back := m.errorTo(in, to)
	p := m.plain(wire.ErrorIndication, to, back)
	if wire.ProtocolOf(to) != p.ProtocolType {
		return
	}
	p.ErrorCode, p.ErrorOffset = code, uint16(min(max(offset, 0), 0xFFFF))
	p.Contents = in.Data[:min(len(in.Data), errorContents)]
	m.count("error-sent-" + errorName(code))
	m.send(back, p)
}

// errorTo is where an error goes: back to where the packet came from. Of what an
// NHS passed on to us, a client of ours is told straight: the way back by the
// NHS may be the very loop that is told of.
func (m *Machine) errorTo(in Packet, author netip.Addr) Endpoint {
	if b, ok := m.bindings.Get(host(author)); ok && m.fromServer(in.From) {
		return b.To
	}
	return in.From
}

// author is the station that made a packet. A reply has its request's source and
// names who made it in the Responder Address, if it was asked to and it was not us.
func (m *Machine) author(p *wire.Packet) netip.Addr {
	switch p.Type {
	case wire.ResolutionReply, wire.RegistrationReply, wire.PurgeReply:
		if c, ok := firstEntry(p, wire.ExtensionResponderAddress); ok && c.Protocol.IsValid() && c.Protocol != m.own() {
			return c.Protocol
		}
		return p.DestinationProtocol
	}
	return p.SourceProtocol
}

// errorIndication takes an Error Indication. It counts only if its contents are
// a request of ours that waits for an answer.
func (m *Machine) errorIndication(in Packet, p *wire.Packet) {
	m.count("error-received-" + errorName(p.ErrorCode))
	if p.SourceProtocol == m.own() {
		m.drop("own-error")
		return
	}
	if p.DestinationProtocol != m.own() {
		m.forwardError(in, p)
		return
	}
	t, id, source, ok := quotedRequest(p)
	if !ok || source != m.own() {
		m.drop("error-about-nothing")
		return
	}
	switch t {
	case wire.RegistrationRequest:
		m.registrationError(in, p.ErrorCode, id)
	case wire.ResolutionRequest:
		m.resolutionError(in, p.ErrorCode, id, p.SourceProtocol)
	case wire.PurgeRequest:
		m.purgeError(in, p.ErrorCode, id)
	default:
		m.drop("error-about-nothing")
	}
}

// registrationError takes an error about a registration: the usual pauses go
// on, and the reason is shown.
func (m *Machine) registrationError(in Packet, code wire.ErrorCode, id uint32) {
	for _, s := range m.servers {
		for _, r := range s.Registrations {
			if to, _ := s.to(); !r.Waiting || r.ID != id || !to.Is(in.From) {
				continue
			}
			reason := code.String()
			if s.Reason != reason && r == s.own() {
				m.report(Warn, in.From, "NHS %s answers our registration with an error: %s", s.Name, reason)
			}
			r.Reason = reason
			if r == s.own() {
				s.Reason = reason
			} else {
				// It will not be otherwise before the next renewal.
				r.Waiting, r.Tries, r.Next, r.Registered = false, 0, 0, false
			}
			return
		}
	}
	m.drop("error-about-nothing")
}

// purgeError takes an error about a purge. A peer that says that it does not
// know us has nothing left to purge; an NHS may have forgotten us, and the purge
// is repeated, but for the end, when it has been told to.
func (m *Machine) purgeError(in Packet, code wire.ErrorCode, id uint32) {
	q, ok := m.purges.Get(id)
	if !ok || code != wire.ErrorProtocolAddressUnreachable {
		return
	}
	if in.From.Is(q.To) || m.ending != 0 && m.fromServer(in.From) {
		m.purges.Delete(id)
		m.purged(q)
		return
	}
	m.registerAgain(in.From)
}

// quotedRequest reads type, id and source protocol address of the request that
// an error is about. The contents may be cut: only the beginning is read
// (RFC 2332, sections 5.1 and 5.2.0.1).
func quotedRequest(p *wire.Packet) (t wire.Type, id uint32, source netip.Addr, ok bool) {
	const (
		fixed     = 20
		addresses = 28
	)
	b := p.Contents
	if len(b) < addresses || binary.BigEndian.Uint16(b[2:]) != p.ProtocolType {
		return 0, 0, source, false
	}
	t = wire.Type(b[17])
	id = binary.BigEndian.Uint32(b[24:])
	at := addresses + int(b[18]&0x3F) + int(b[19]&0x3F)
	n := int(b[fixed])
	if n != 4 && n != 16 || len(b) < at+n {
		return 0, 0, source, false
	}
	source, ok = netip.AddrFromSlice(b[at : at+n])
	return t, id, source, ok
}

// errorName is a code's name in counters.
func errorName(c wire.ErrorCode) string {
	switch c {
	case wire.ErrorUnrecognizedExtension:
		return "unrecognized-extension"
	case wire.ErrorLoopDetected:
		return "loop-detected"
	case wire.ErrorProtocolAddressUnreachable:
		return "unreachable"
	case wire.ErrorProtocolError:
		return "protocol-error"
	case wire.ErrorPacketSizeExceeded:
		return "packet-size"
	case wire.ErrorInvalidExtension:
		return "invalid-extension"
	case wire.ErrorInvalidResolutionReply:
		return "invalid-reply"
	case wire.ErrorAuthenticationFailure:
		return "authentication"
	case wire.ErrorHopCountExceeded:
		return "hop-count"
	}
	return "other"
}
