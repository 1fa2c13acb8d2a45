// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// wrongly is what a server does wrong, and rows that have to say so; others may as well.
type wrongly struct {
	rows, fault string
	bend
}

// answeringWrongly is about chapters 1 to 6.
var answeringWrongly = []wrongly{
	{"", "", bend{}}, // and a server that does nothing wrong
	{takesAll, "takes what it should refuse", bend{leaves: takes}},
	{"HD-05", "fills SNAP", leaves(0, func(s *warped, p *wire.Packet) { p.SNAP[3] = 8 })},
	{"HD-06 HD-10", "has lengths of addresses of its own", bend{comes: func(_ *warped, _ netip.Addr, b []byte) []byte {
		return with(b, func(b []byte) {
			b[offFamily], b[offFamily+1], b[offNBMA], b[offSource], b[offDestination] = 0, 1, 4, 4, 4
		})
	}}},
	{"HD-11", "answers IPv6 in IPv4", bend{comes: func(s *warped, from netip.Addr, b []byte) []byte {
		if binary.BigEndian.Uint16(b[offProtocol:]) == wire.ProtocolIPv6 {
			s.yes(from, s.own().Next(), binary.BigEndian.Uint32(b[offID:]))
			return nil
		}
		return b
	}}},
	{"HD-07", "passes over packets with unused flags", hears(wire.RegistrationRequest, func(_ *warped, _ *netip.Addr, p *wire.Packet) bool { return p.Flags&0x7FFC == 0 })},
	{"HD-09", "sends hop count 0", leaves(0, func(s *warped, p *wire.Packet) { p.HopCount = 0 })},
	{"HD-12", "answers from another address", bend{sends: func(s *warped) conn { return s.other }}},
	{"CM-01", "has no id 0", leaves(0, func(_ *warped, p *wire.Packet) { p.RequestID = max(p.RequestID, 5) })},
	{"CM-04", "does not know prefix length 0", hears(wire.RegistrationRequest, func(_ *warped, _ *netip.Addr, p *wire.Packet) bool { return p.CIEs[0].PrefixLength != 0 })},
	{"CM-05", "cuts prefix lengths to a host's", bend{comes: func(_ *warped, _ netip.Addr, b []byte) []byte {
		if at := fixedHeader + 8 + 4 + 4 + 4 + 1; len(b) > at && b[offType] == byte(wire.RegistrationRequest) && b[at] > 32 && b[at] < 255 {
			return set(b, at, 32)
		}
		return b
	}}},
	{"CM-06", "has a holding time in a NAK", leaves(0, func(_ *warped, p *wire.Packet) {
		for i := range p.CIEs {
			p.CIEs[i].HoldingTime = 7200
		}
	})},
	{"CM-07", "holds for longer than it was asked to", hears(wire.RegistrationRequest, func(_ *warped, _ *netip.Addr, p *wire.Packet) bool {
		p.CIEs[0].HoldingTime = max(p.CIEs[0].HoldingTime, 60)
		return true
	})},
	{"RQ-05", "answers without Q", leaves(wire.ResolutionReply, func(_ *warped, p *wire.Packet) { p.Flags &^= wire.FlagRouter })},
	{"RQ-06", "passes on without U", leaves(wire.ResolutionRequest, func(_ *warped, p *wire.Packet) { p.Flags &^= wire.FlagUnique })},
	{"RQ-07 RP-07 PU-05", "answers for its clients, whoever asks", bend{leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool {
		if s.transit(p) {
			s.answersItself(p)
		}
		return !s.transit(p)
	}}},
	{"RP-01", "answers for its clients with two entries", bend{leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool {
		if s.transit(p) {
			s.answersItself(p, wire.CIE{HoldingTime: 60, NBMA: s.node.NBMA, Protocol: s.own()})
		}
		return !s.transit(p)
	}}},
	{"RQ-11 CA-03 CA-04", "answers from cache as if it were no cache", bend{leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool {
		type of struct{ asked netip.Addr }
		if !s.transit(p) || s.count(of{p.DestinationProtocol}) == 1 {
			return true
		}
		s.answersItself(p)
		return false
	}}},
	{"RQ-10", "does not look at how wide an answer may be", hears(wire.ResolutionRequest, func(_ *warped, _ *netip.Addr, p *wire.Packet) bool {
		if p.Flags&wire.FlagUnique == 0 && len(p.CIEs) == 1 {
			p.CIEs = nil
		}
		return true
	})},
	{"RQ-12 RP-05 ER-06 ER-07 FW-07", "says 4 where it is 12", leaves(wire.ResolutionReply, func(_ *warped, p *wire.Packet) {
		if p.CIEs[0].Code == wire.CodeNoBinding {
			p.CIEs[0].Code = wire.CodeAdministrativelyProhibited
		}
	})},
	{"RQ-13", "asks in anybody's name", hears(wire.ResolutionRequest, func(s *warped, from *netip.Addr, p *wire.Packet) bool {
		if home := s.home(p.SourceProtocol); home.IsValid() {
			*from = home
		}
		return true
	})},
	{"RQ-14", "answers each time otherwise", leaves(wire.ResolutionReply, func(s *warped, p *wire.Packet) {
		if p.CIEs[0].Code == 0 && s.count("answers")%2 == 0 {
			p.Flags ^= wire.FlagDestinationStable
		}
	})},
	{"RP-02", "answers without A", leaves(wire.ResolutionReply, func(_ *warped, p *wire.Packet) { p.Flags &^= wire.FlagAuthoritative })},
	{"RP-03", "sets D in transit", leaves(wire.ResolutionReply, func(_ *warped, p *wire.Packet) { p.Flags |= wire.FlagDestinationStable })},
	{"RP-08", "answers for too much", leaves(wire.ResolutionReply, func(_ *warped, p *wire.Packet) { p.CIEs[0].PrefixLength = 8 })},
	{"RP-10", "answers with a next hop that is another", leaves(wire.ResolutionReply, func(_ *warped, p *wire.Packet) {
		if p.CIEs[0].NBMA.IsValid() {
			p.CIEs[0].NBMA = p.CIEs[0].NBMA.Next()
		}
	})},
	{"RP-11 EX-06 RC-03 RC-09 AU-02", "sends no errors", loses(wire.ErrorIndication)},
	{"RP-12 FW-09 HU-06", "passes no answer on", bend{leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool {
		return p.Type != wire.ResolutionReply || p.CIEs[0].Code != 0 || p.CIEs[0].Protocol == s.own()
	}}},
	{"FW-01 FW-03 RQ-06", "passes no question on", bend{leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool { return !s.transit(p) }}},
	{"RG-01", "says in replies that it is another", leaves(0, func(s *warped, p *wire.Packet) {
		entryOf(p, wire.ExtensionResponderAddress, func(c *wire.CIE) { c.Protocol = s.own().Next() })
	})},
	{"RG-02", "serves what is for another NHS", hears(wire.RegistrationRequest, func(s *warped, _ *netip.Addr, p *wire.Packet) bool {
		p.DestinationProtocol = s.own()
		return true
	})},
	{"RG-03 RG-04 RG-05 NA-01", "does not know U in a registration", hears(wire.RegistrationRequest, func(_ *warped, _ *netip.Addr, p *wire.Packet) bool {
		p.Flags &^= wire.FlagRegistrationUnique
		return true
	})},
	{"RG-08", "judges all entries by the first", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) {
		for i := range p.CIEs {
			p.CIEs[i].Code = p.CIEs[0].Code
		}
	})},
	{"RG-10", "takes no prefixes", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) {
		for i := range p.CIEs {
			if c := &p.CIEs[i]; c.Protocol.IsValid() && c.PrefixLength < 32 {
				c.Code = wire.CodeAdministrativelyProhibited
			}
		}
	})},
	{"CM-06 RG-04 RG-05 RG-07 RG-11 RG-16 RG-18 SE-04 SE-06", "says yes to every registration", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) {
		for i := range p.CIEs {
			p.CIEs[i].Code = 0
		}
	})},
	{"RG-12 SE-04", "says 4 where there is no room", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) {
		for i := range p.CIEs {
			if p.CIEs[i].Code == wire.CodeInsufficientResources {
				p.CIEs[i].Code = wire.CodeAdministrativelyProhibited
			}
		}
	})},
	{"RG-14", "does not look at ids", bend{hears: func(s *warped, _ *netip.Addr, p *wire.Packet) bool {
		if p.Type == wire.RegistrationRequest {
			id := uint32(1<<31 + s.count("ids"))
			s.state[id], p.RequestID = p.RequestID, id
		}
		return true
	}, leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool {
		if id, ok := s.state[p.RequestID].(uint32); ok {
			p.RequestID = id
		}
		return true
	}}},
	{"RR-01", "changes the entry of a registration", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) { p.CIEs[0].MTU = 0 })},
	{"RR-02", "puts the address that it sees into the header", bend{leaves: func(_ *warped, to netip.Addr, p *wire.Packet) bool {
		if p.Type == wire.RegistrationReply {
			p.SourceNBMA = to
		}
		return true
	}}},
}

// takesAll are the rows about what is to be refused with an error.
const takesAll = "HD-01 HD-02 HD-03 HD-04 HD-08 CM-09 RQ-07 RQ-09 RG-09 PU-04 ER-07 ER-10 EX-01 EX-02 EX-06 EX-12 RC-03 RC-09 AU-02 AU-04 FW-02 NA-04"
