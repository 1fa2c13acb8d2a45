// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// observe puts what we see and IKE has authenticated of a packet's sender into our own
// extension: its UDP port, for which Cisco's has no place, and its identity. What the
// sender claims of itself or of others is worth nothing; a server's word stands, and that of
// the hub of a region below us about its own clients.
func (m *Machine) observe(from Endpoint, p *wire.Packet) {
	if m.fromServer(from) {
		return
	}
	switch p.Type {
	case wire.RegistrationRequest: // who may send which is checked
	case wire.ResolutionRequest: // likewise
		if m.below(from, p.SourceProtocol) {
			return
		}
	case wire.ResolutionReply:
		if len(p.CIEs) > 0 && m.below(from, answered(p, p.CIEs[0])) {
			return
		}
		if len(p.CIEs) == 0 || !m.holds(from, p, p.CIEs[0]) {
			from = Endpoint{}
		}
	default:
		return
	}
	own, claimed := p.Private()
	if !claimed && from.Port == 0 && from.Identity == "" {
		return
	}
	own.Port, own.Identity = from.Port, from.Identity
	if wire.FamilyOf(from.NBMA) != p.AddressFamily {
		own.Port = 0 // of another address than the packet's
	}
	if own == (wire.Private{}) {
		p.RemovePrivate()
	} else if p.SetPrivate(own) != nil {
		p.RemovePrivate()
		m.count("encode-failed")
	}
}

// holds says whether the next hop that an answer's entry names is registered by an endpoint.
func (m *Machine) holds(e Endpoint, p *wire.Packet, c wire.CIE) bool {
	b, ok := m.bindings.Get(host(answered(p, c)))
	return ok && b.To.Is(e)
}

// answered is the next hop that an answer's entry names.
func answered(p *wire.Packet, c wire.CIE) netip.Addr {
	if c.Protocol.IsValid() {
		return c.Protocol
	}
	return p.DestinationProtocol
}

// answersForOthers says that an authenticated client names a next hop that is another's: the
// requester would send that one's traffic to it.
func (m *Machine) answersForOthers(from Endpoint, p *wire.Packet) bool {
	if from.Identity == "" || m.fromServer(from) {
		return false
	}
	for _, c := range p.CIEs {
		hop := answered(p, c)
		if _, taken := m.hopEndpoint(hop); hop == m.own() || taken && !m.holds(from, p, c) {
			return true
		}
	}
	return false
}

// located is where and who a system is that a packet speaks for: at the public address
// where the packet has one, the port that a server observed, the identity that it
// authenticated. Who is behind the same NAT as we are is reached by its own address.
func (m *Machine) located(p *wire.Packet, public, private netip.Addr) Endpoint {
	at := Endpoint{NBMA: private.Unmap()}
	own, _ := p.Private()
	at.Identity = own.Identity
	if public.IsValid() && public.Unmap() == m.public(wire.FamilyOf(public)) && m.underlays(at.NBMA) {
		return at
	}
	if at.Port = own.Port; public.IsValid() {
		at.NBMA = public.Unmap()
	}
	return at
}

// underlays says whether an address that a system claims to have, and no server has seen, may be one
// of the underlay's: the tunnel does not lead there, and nothing there is guarded. Else whoever
// claims it would have the guard lifted that is in the way.
func (m *Machine) underlays(claimed netip.Addr) bool {
	r, ok := m.env.Routes.Lookup(claimed)
	return !r.Unreachable && !(ok && r.Tunnel && !r.Local && r.Prefix.Bits() > 1)
}

// translation is the public address that Cisco's NAT extension has of a system.
func translation(p *wire.Packet, protocol netip.Addr) (public netip.Addr) {
	if c, ok := firstEntry(p, wire.ExtensionNATAddress); ok && c.NBMA.IsValid() && (!c.Protocol.IsValid() || c.Protocol == protocol) {
		return c.NBMA
	}
	return public
}

// public is our address of a family as our servers see it, invalid if no one translates it.
func (m *Machine) public(family uint16) netip.Addr {
	for _, s := range m.ranked() {
		if s.Public.IsValid() && wire.FamilyOf(s.Public) == family {
			return s.Public
		}
	}
	return netip.Addr{}
}
