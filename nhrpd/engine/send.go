// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// request begins a request of ours to a destination, with the extensions that
// ask for the responder, the records of transit and Cisco's NAT address.
func (m *Machine) request(t wire.Type, destination netip.Addr, to Endpoint) *wire.Packet {
	p := m.plain(t, destination, to)
	kinds := []wire.ExtensionType{wire.ExtensionResponderAddress, wire.ExtensionForwardTransit, wire.ExtensionReverseTransit}
	if t != wire.PurgeRequest {
		kinds = append(kinds, wire.ExtensionNATAddress)
	}
	for _, kind := range kinds {
		e, _ := p.NewEntries(kind) // without entries nothing can fail
		p.Extensions = append(p.Extensions, e)
	}
	return p
}

// plain begins a packet of ours without extensions, to an endpoint: its family is the
// packet's.
func (m *Machine) plain(t wire.Type, destination netip.Addr, to Endpoint) *wire.Packet {
	return &wire.Packet{
		AddressFamily: wire.FamilyOf(to.NBMA), ProtocolType: wire.ProtocolOf(m.own()),
		HopCount: wire.HopCount, Type: t,
		SourceNBMA: m.local.to(to.NBMA), SourceProtocol: m.own(), DestinationProtocol: destination,
	}
}

// reply makes the reply of a request: another type and a fresh hop count, the
// rest as it came (RFC 2332, section 5.2.4). The Responder Address, if asked
// for, says that it is us.
func (m *Machine) reply(request *wire.Packet, t wire.Type) *wire.Packet {
	p := request.Clone()
	p.Type, p.HopCount = t, wire.HopCount
	if e := p.Extension(wire.ExtensionResponderAddress); e != nil {
		m.setEntries(p, wire.ExtensionResponderAddress, m.selfEntry(p))
	}
	return p
}

// selfEntry is us in the Responder Address and in the transit records. The NBMA
// address is left out of a packet of a family that we have no address of.
func (m *Machine) selfEntry(p *wire.Packet) wire.CIE {
	return wire.CIE{HoldingTime: m.holdingSeconds(), Protocol: m.own(), NBMA: m.offered(p.AddressFamily)}
}

// setEntries replaces the entries of an extension in its place, or adds it.
func (m *Machine) setEntries(p *wire.Packet, kind wire.ExtensionType, list ...wire.CIE) {
	e, err := p.NewEntries(kind, list...)
	if err != nil {
		m.count("encode-failed")
		return
	}
	if old := p.Extension(kind); old != nil {
		e.Compulsory = old.Compulsory
	}
	p.SetExtension(e)
}

// entries reads the entries of an extension, none if it is absent or wrong:
// packet refused those that are wrong where it matters.
func entries(p *wire.Packet, kind wire.ExtensionType) []wire.CIE {
	e := p.Extension(kind)
	if e == nil {
		return nil
	}
	list, err := p.Entries(e)
	if err != nil {
		return nil
	}
	return list
}

func firstEntry(p *wire.Packet, kind wire.ExtensionType) (wire.CIE, bool) {
	if list := entries(p, kind); len(list) > 0 {
		return list[0], true
	}
	return wire.CIE{}, false
}

// send authenticates a packet anew (RFC 2332, section 5.3.4: at every hop, in
// its old place) and sends it.
func (m *Machine) send(to Endpoint, p *wire.Packet) bool { return m.transmit(to, p, false) }

func (m *Machine) transmit(to Endpoint, p *wire.Packet, confirms bool) bool {
	if !m.local.to(to.NBMA).IsValid() {
		m.count("send-without-address")
		return false
	}
	if p.Type != wire.ErrorIndication {
		if m.cfg.Authentication != "" {
			e, err := wire.NewCiscoAuthentication(m.cfg.Authentication)
			if err != nil {
				m.count("encode-failed")
				return false
			}
			p.SetExtension(e)
		} else if p.Extension(wire.ExtensionAuthentication) != nil {
			p.RemoveExtension(wire.ExtensionAuthentication)
		}
	}
	data, err := p.Marshal()
	if err != nil {
		m.count("encode-failed")
		return false
	}
	m.count(typeName(p.Type) + "-sent")
	m.countCodes(p, "sent")
	m.do(Send{To: to, Data: data, Confirms: confirms})
	return true
}

// typeName is a type's name in counters.
func typeName(t wire.Type) string {
	switch t {
	case wire.ResolutionRequest:
		return "resolution-request"
	case wire.ResolutionReply:
		return "resolution-reply"
	case wire.RegistrationRequest:
		return "registration-request"
	case wire.RegistrationReply:
		return "registration-reply"
	case wire.PurgeRequest:
		return "purge-request"
	case wire.PurgeReply:
		return "purge-reply"
	case wire.ErrorIndication:
		return "error-indication"
	case wire.ProbeRequest:
		return "probe-request"
	case wire.ProbeReply:
		return "probe-reply"
	}
	return "traffic-indication"
}
