// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// passingOnWrongly is about chapters 7 to 18.
var passingOnWrongly = []wrongly{
	{"PU-01 PU-03 PU-04", "purges nothing, and says that it did", purges(func(s *warped, from netip.Addr, p *wire.Packet) bool {
		a := p.Clone()
		a.Type = wire.PurgeReply
		s.say(from, a)
		return false
	})},
	{"PU-02", "answers purges with N", purges(func(s *warped, from netip.Addr, p *wire.Packet) bool {
		p.Flags = 0
		return true
	})},
	{"PU-02 PU-07 PU-10 PU-13", "answers no purge", loses(wire.PurgeReply)},
	{"PU-07", "answers a purge as its own", leaves(wire.PurgeReply, func(s *warped, p *wire.Packet) { p.SourceProtocol = s.own() })},
	{"PU-10", "lets anybody purge what is another's", hears(wire.PurgeRequest, func(s *warped, from *netip.Addr, p *wire.Packet) bool {
		if home := s.home(p.CIEs[0].Protocol); home.IsValid() {
			p.SourceProtocol, *from = p.CIEs[0].Protocol, home
		}
		return true
	})},
	{"PU-13", "takes a purge for a repeat of the registration with its id", bend{hears: func(s *warped, _ *netip.Addr, p *wire.Packet) bool {
		type of struct{ id uint32 }
		return s.count(of{p.RequestID}) == 1 || p.Type != wire.PurgeRequest
	}}},
	{"ER-01", "says that the fault is elsewhere", leaves(wire.ErrorIndication, func(_ *warped, p *wire.Packet) { p.ErrorOffset++ })},
	{"ER-02", "sends errors about errors", bend{comes: func(s *warped, from netip.Addr, b []byte) []byte {
		if b[offType] == byte(wire.ErrorIndication) {
			s.failure(from, wire.ErrorProtocolError, b)
		}
		return b
	}}},
	{"ER-03", "sends errors twice", bend{leaves: func(s *warped, to netip.Addr, p *wire.Packet) bool {
		if p.Type == wire.ErrorIndication {
			s.say(to, p)
		}
		return true
	}}},
	{"ER-04", "sends errors with extensions", leaves(wire.ErrorIndication, func(_ *warped, p *wire.Packet) { p.Extensions = []wire.Extension{foreign(4)} })},
	{"AU-03", "signs errors", leaves(wire.ErrorIndication, func(_ *warped, p *wire.Packet) {
		a, _ := wire.NewCiscoAuthentication(serverSecret)
		p.Extensions = []wire.Extension{a}
	})},
	{"AU-07", "gives the password away", leaves(wire.ErrorIndication, func(_ *warped, p *wire.Packet) { p.Contents = append(p.Contents, serverSecret...) })},
	{"ER-05", "passes on what has no hop left", hears(wire.ErrorIndication, func(_ *warped, _ *netip.Addr, p *wire.Packet) bool {
		p.HopCount = max(p.HopCount, 2)
		return true
	})},
	{"ER-06", "has numbers of its own for errors", leaves(wire.ErrorIndication, func(_ *warped, p *wire.Packet) { p.ErrorCode += 100 })},
	{"ER-09 SE-05", "sends an error about each packet, and a large one", bend{comes: func(s *warped, from netip.Addr, b []byte) []byte {
		if b[offVersion] == 9 && b[offType] != byte(wire.ErrorIndication) {
			s.failure(from, wire.ErrorProtocolError, append(slices.Clone(b), make([]byte, 400)...))
			return nil
		}
		return b
	}}},
	{"EX-03", "keeps one of a vendor's extensions", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) { p.RemoveExtension(wire.ExtensionVendorPrivate) })},
	{"EX-04 AU-01", "turns the order of extensions", leaves(wire.ResolutionRequest, func(_ *warped, p *wire.Packet) { slices.Reverse(p.Extensions) })},
	{"EX-05", "leaves out what it does not know", leaves(0, func(_ *warped, p *wire.Packet) { p.RemoveExtension(unknown(false).Type) })},
	{"EX-07", "enters itself beside what it does not know", leaves(wire.ResolutionRequest, func(s *warped, p *wire.Packet) {
		if p.Extension(unknown(true).Type) != nil {
			entries(p, wire.ExtensionForwardTransit, wire.CIE{NBMA: s.node.NBMA, Protocol: s.own()})
		}
	})},
	{"EX-08", "passes over packets with u", bend{hears: func(_ *warped, _ *netip.Addr, p *wire.Packet) bool {
		return !slices.ContainsFunc(p.Extensions, func(e wire.Extension) bool { return e.Unused })
	}}},
	{"EX-09", "adds an extension to its replies", leaves(0, func(_ *warped, p *wire.Packet) { entries(p, wire.ExtensionNATAddress) })},
	{"EX-10 FW-04", "takes small packets only", bend{comes: func(_ *warped, _ netip.Addr, b []byte) []byte {
		if len(b) > 1200 {
			return nil
		}
		return b
	}}},
	{"EX-11", "gives a client an identity", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) {
		e, _ := wire.NewPrivate(wire.Private{Port: 4711, Identity: "another.example.net"})
		p.RemoveExtension(wire.ExtensionVendorPrivate)
		p.Extensions = append(p.Extensions, e)
	})},
	{"RC-01 RC-02", "does not say who it is", leaves(0, func(_ *warped, p *wire.Packet) {
		if p.Extension(wire.ExtensionResponderAddress) != nil {
			entries(p, wire.ExtensionResponderAddress)
		}
	})},
	{"RC-02 RC-07", "has another address in records", leaves(0, func(s *warped, p *wire.Packet) {
		entryOf(p, wire.ExtensionForwardTransit, func(c *wire.CIE) { c.Protocol = s.own().Next() })
	})},
	{"RC-06", "has a prefix length in records", leaves(0, func(_ *warped, p *wire.Packet) {
		entryOf(p, wire.ExtensionForwardTransit, func(c *wire.CIE) { c.PrefixLength = 24 })
	})},
	{"RC-07", "enters itself nowhere", leaves(wire.ResolutionRequest, func(_ *warped, p *wire.Packet) {
		if p.Extension(wire.ExtensionForwardTransit) != nil {
			entries(p, wire.ExtensionForwardTransit)
		}
	})},
	{"RC-08", "empties the record of what it answers", leaves(wire.ResolutionReply, func(_ *warped, p *wire.Packet) {
		if p.Extension(wire.ExtensionForwardTransit) != nil {
			entries(p, wire.ExtensionForwardTransit)
		}
	})},
	{"AU-01", "signs with another password in transit", leaves(wire.ResolutionRequest, func(_ *warped, p *wire.Packet) {
		a, _ := wire.NewCiscoAuthentication("another")
		p.SetExtension(a)
	})},
	{"AU-04", "signs in a form of its own", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) {
		p.SetExtension(wire.Extension{Type: wire.ExtensionAuthentication, Compulsory: true, Value: []byte(serverSecret)})
	})},
	{"FW-02", "does not count hops", leaves(wire.ResolutionRequest, func(_ *warped, p *wire.Packet) { p.HopCount++ })},
	{"FW-05", "answers for itself with a NAK", leaves(wire.ResolutionReply, func(_ *warped, p *wire.Packet) { p.CIEs = []wire.CIE{{Code: wire.CodeNoBinding}} })},
	{"FW-06", "changes flags in transit", leaves(wire.ResolutionRequest, func(_ *warped, p *wire.Packet) { p.Flags ^= wire.FlagRouter })},
	{"FW-08", "does not look at the GRE key", bend{keys: true}},
	{"FW-10 HU-04 RP-05", "answers for the world", leaves(wire.ResolutionReply, func(s *warped, p *wire.Packet) {
		if p.CIEs[0].Code != 0 {
			p.CIEs[0] = wire.CIE{PrefixLength: 1, HoldingTime: 60, NBMA: s.node.NBMA, Protocol: s.own()}
		}
	})},
	{"FW-12", "takes no registrations for a while after many questions", bend{comes: func(s *warped, _ netip.Addr, b []byte) []byte {
		type in struct{ second int64 }
		const many, while = 200, 10 * time.Second
		if s.count(in{s.world.Now.Unix()}) > many {
			s.state["flooded"] = s.world.Now
		}
		if last, _ := s.state["flooded"].(time.Time); b[offType] == byte(wire.RegistrationRequest) && s.world.Now.Sub(last) < while {
			return nil
		}
		return b
	}}},
	{"CA-02", "remembers who asks", hears(wire.ResolutionRequest, func(s *warped, from *netip.Addr, p *wire.Packet) bool {
		if !s.home(p.SourceProtocol).IsValid() {
			s.pretend(*from, p.SourceProtocol)
		}
		return true
	})},
	{"CA-08", "remembers what it hears in answers, before registrations", hears(wire.ResolutionReply, func(s *warped, _ *netip.Addr, p *wire.Packet) bool {
		if c := p.CIEs[0]; c.Protocol == p.DestinationProtocol && c.NBMA != s.home(c.Protocol) {
			s.pretend(c.NBMA, c.Protocol)
		}
		return true
	})},
	{"CA-09", "passes questions on to the wider of two", bend{leaves: func(s *warped, to netip.Addr, p *wire.Packet) bool {
		best := netip.Prefix{}
		for prefix, next := range s.node.Installed {
			if s.transit(p) && prefix.Contains(p.DestinationProtocol) && s.home(next) != to {
				best = prefix
			}
		}
		return !best.IsValid()
	}}},
	{"NA-01", "does not know the NAT flag", leaves(wire.RegistrationReply, func(_ *warped, p *wire.Packet) { p.Flags &^= wire.FlagNAT })},
	{"NA-02 NA-03", "says nobody where it was seen", leaves(0, func(_ *warped, p *wire.Packet) {
		if p.Extension(wire.ExtensionNATAddress) != nil {
			entries(p, wire.ExtensionNATAddress)
		}
	})},
	{"NA-05", "finds nobody who says that it is elsewhere", bend{hears: func(s *warped, from *netip.Addr, p *wire.Packet) bool {
		type claims struct{ client netip.Addr }
		if p.Type == wire.RegistrationRequest && p.SourceNBMA != *from {
			s.count(claims{p.SourceProtocol})
		}
		return p.Type != wire.ResolutionRequest || s.state[claims{p.DestinationProtocol}] == nil
	}}},
	{"NA-06", "has one client at each NBMA address", hears(wire.RegistrationRequest, func(s *warped, from *netip.Addr, p *wire.Packet) bool {
		for client, at := range s.node.Bound {
			if at.NBMA == *from && client != p.SourceProtocol {
				s.forget(*from, client)
			}
		}
		return true
	})},
	{"TI-01", "has a code in an indication", leaves(wire.TrafficIndication, func(_ *warped, p *wire.Packet) { p.ErrorCode = 1 })},
	{"TI-02", "has itself as the destination of an indication", leaves(wire.TrafficIndication, func(s *warped, p *wire.Packet) { p.DestinationProtocol = s.own() })},
	{"TI-03", "tells the other end as well", bend{leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool {
		if _, to := ends(p.Contents); p.Type == wire.TrafficIndication && s.home(to).IsValid() {
			s.say(s.home(to), p)
		}
		return true
	}}},
	{"TI-04", "tells of every packet", bend{data: func(s *warped, from, _ netip.Addr, b []byte) bool { return s.tell(from, b) }}},
	{"TI-05", "tells of ICMP errors", bend{data: func(s *warped, from, _ netip.Addr, b []byte) bool { return b[9] != protocolICMP || s.tell(from, b) }}},
	{"TI-06", "answers indications with errors", bend{comes: func(s *warped, from netip.Addr, b []byte) []byte {
		if b[offType] == byte(wire.TrafficIndication) {
			s.failure(from, wire.ErrorProtocolError, b)
		}
		return b
	}}},
	{"TI-10", "tells one of two ends", bend{leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool {
		type pair struct{ a, b netip.Addr }
		from, to := ends(p.Contents)
		if p.Type != wire.TrafficIndication {
			return true
		}
		s.count(pair{from, to})
		return s.state[pair{to, from}] == nil
	}}},
	{"HU-05", "does not see that it is in a record", hears(wire.ResolutionRequest, func(s *warped, from *netip.Addr, p *wire.Packet) bool {
		if p.Extension(wire.ExtensionForwardTransit) != nil {
			entries(p, wire.ExtensionForwardTransit)
		}
		if home := s.home(p.SourceProtocol); home.IsValid() {
			*from = home
		}
		return true
	})},
	{"HU-07", "asks for what it forwards", bend{data: func(s *warped, from, _ netip.Addr, b []byte) bool {
		_, to := ends(b)
		s.say(from, &wire.Packet{
			AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: wire.HopCount, Type: wire.ResolutionRequest,
			SourceNBMA: s.node.NBMA, SourceProtocol: s.own(), DestinationProtocol: to,
		})
		return true
	}}},
	{"HU-09", "holds a client to where it was first", hears(wire.RegistrationRequest, func(s *warped, from *netip.Addr, p *wire.Packet) bool {
		home := s.home(p.SourceProtocol)
		return !home.IsValid() || home == *from
	})},
	{"SE-03", "believes errors about its clients", hears(wire.ErrorIndication, func(s *warped, _ *netip.Addr, p *wire.Packet) bool {
		if about, err := wire.Decode(p.Contents); err == nil && s.home(about.SourceProtocol).IsValid() {
			s.forget(s.home(about.SourceProtocol), about.SourceProtocol)
		}
		return true
	})},
	{"SE-07", "answers replies", bend{hears: func(s *warped, from *netip.Addr, p *wire.Packet) bool {
		if p.Type == wire.RegistrationReply {
			s.say(*from, p)
		}
		return true
	}}},
	{"SE-08", "ends at zeros, and is started again", bend{comes: func(s *warped, _ netip.Addr, b []byte) []byte {
		const away = 10 * time.Second
		ended, _ := s.state["ended"].(time.Time)
		if len(b) > 1000 && b[offType] == 0 && s.world.Now.Sub(ended) > away {
			ended = s.world.Now
			s.state["ended"] = ended
		}
		if s.world.Now.Sub(ended) <= away {
			return nil
		}
		return b
	}}},
}
