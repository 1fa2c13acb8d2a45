// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"dmvpn/nhrpd/wire"
)

// holding is what our stations ask for, in seconds: longer than a case lasts.
const holding = 120

// station is one of ours: an NBMA address of its own, an overlay address, a network.
type station struct {
	NBMA       netip.Addr
	Protocol   netip.Addr
	Network    netip.Prefix // behind it
	used       bool         // its NBMA address has been another's in this run
	registered bool

	s     *suite
	inbox chan received
	other []received // heard, and not yet wanted
	heard func(*received)
	ids   *atomic.Uint32
}

// id gives a request id that was not used in this run.
func (st *station) id() uint32 { return st.ids.Add(1) }

// plain begins a packet of the station without entries and extensions.
func (st *station) plain(t wire.Type, destination netip.Addr) *wire.Packet {
	return &wire.Packet{
		AddressFamily: wire.FamilyOf(st.NBMA), ProtocolType: wire.ProtocolOf(st.Protocol), HopCount: wire.HopCount, Type: t,
		SourceNBMA: st.NBMA, SourceProtocol: st.Protocol, DestinationProtocol: destination, RequestID: st.id(),
	}
}

// asking adds the extensions by which a request asks who answers and by which way.
func asking(p *wire.Packet) *wire.Packet {
	for _, kind := range []wire.ExtensionType{wire.ExtensionResponderAddress, wire.ExtensionForwardTransit, wire.ExtensionReverseTransit} {
		e, _ := p.NewEntries(kind)
		p.Extensions = append(p.Extensions, e)
	}
	return p
}

// registration registers the station's own address, or prefixes.
func (st *station) registration(prefixes ...netip.Prefix) *wire.Packet {
	p := asking(st.plain(wire.RegistrationRequest, st.s.o.Server.Addr()))
	if len(prefixes) == 0 {
		p.CIEs = []wire.CIE{{PrefixLength: wire.HostPrefix, HoldingTime: holding}}
	}
	for _, x := range prefixes {
		p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: uint8(x.Bits()), HoldingTime: holding, NBMA: st.NBMA, Protocol: x.Addr()})
	}
	return p
}

// resolution asks for a destination, as routers do: with Q, and with A.
func (st *station) resolution(destination netip.Addr) *wire.Packet {
	p := asking(st.plain(wire.ResolutionRequest, destination))
	p.Flags = wire.FlagRouter | wire.FlagAuthoritative
	return p
}

// purge voids prefixes.
func (st *station) purge(prefixes ...netip.Prefix) *wire.Packet {
	p := asking(st.plain(wire.PurgeRequest, st.s.o.Server.Addr()))
	for _, x := range prefixes {
		p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: uint8(x.Bits()), Protocol: x.Addr()})
	}
	return p
}

// failure is an Error Indication about what begins with contents.
func (st *station) failure(code wire.ErrorCode, to netip.Addr, contents []byte) *wire.Packet {
	p := st.plain(wire.ErrorIndication, to)
	p.RequestID, p.ErrorCode, p.Contents = 0, code, contents
	return p
}

// host is an address as a prefix.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// bytes encodes a packet, authenticated if that is configured and the packet has no such
// extension.
func (st *station) bytes(p *wire.Packet) []byte {
	if a := st.s.o.Auth; a != "" && p.Type != wire.ErrorIndication && p.Extension(wire.ExtensionAuthentication) == nil {
		if e, err := wire.NewCiscoAuthentication(a); err == nil {
			p = p.Clone()
			p.SetExtension(e)
		}
	}
	b, err := p.Marshal()
	if err != nil {
		panic(end{Inconclusive, "the suite cannot encode its packet: " + err.Error()})
	}
	return b
}

// raw sends octets as NHRP.
func (st *station) raw(b []byte) {
	if err := st.s.link.send(st.NBMA, st.s.o.Key, wire.GREProtocol, b); err != nil {
		panic(end{Inconclusive, err.Error()})
	}
}

func (st *station) send(p *wire.Packet) { st.raw(st.bytes(p)) }

// data sends an IP packet through the tunnel.
func (st *station) data(b []byte) {
	if err := st.s.link.send(st.NBMA, st.s.o.Key, wire.ProtocolOf(st.Protocol), b); err != nil {
		panic(end{Inconclusive, err.Error()})
	}
}

// wait gives the first packet that is as wanted, heard before or within the time.
func (st *station) wait(patience time.Duration, like func(*received) bool) *received {
	for i := range st.other {
		if r := st.other[i]; like(&r) {
			st.other = append(st.other[:i:i], st.other[i+1:]...)
			return &r
		}
	}
	deadline := time.After(patience)
	for {
		var r received
		select { // what is there comes before the end
		case r = <-st.inbox:
		default:
			select {
			case r = <-st.inbox:
			case <-deadline:
				return nil
			}
		}
		if st.heard != nil {
			st.heard(&r)
		}
		if like(&r) {
			return &r
		}
		st.other = append(st.other, r)
	}
}

// answer waits for the reply to, or the Error Indication about, what was sent.
func (st *station) answer(sent []byte, patience time.Duration) *received {
	return st.wait(patience, func(r *received) bool { return r.about(sent) })
}

// about says whether it is a reply to, or an Error Indication about, a packet.
func (r *received) about(sent []byte) bool {
	if r.Protocol != wire.GREProtocol {
		return false
	}
	id := sent[min(offID, len(sent)):min(offID+4, len(sent))]
	p := r.Packet
	switch {
	case p == nil:
		b := r.Payload
		return len(b) < offID+4 || len(id) < 4 || wire.Type(b[offType]) == wire.ErrorIndication || string(b[offID:offID+4]) == string(id)
	case p.Type == wire.ErrorIndication:
		return len(p.Contents) < offID+4 || len(id) < 4 || string(p.Contents[offID:offID+4]) == string(id)
	case p.Type == wire.ResolutionReply || p.Type == wire.RegistrationReply || p.Type == wire.PurgeReply:
		return len(id) == 4 && p.RequestID == binary.BigEndian.Uint32(id)
	}
	return false
}

// ofType is for wait: NHRP of a type with a request id.
func ofType(t wire.Type, id uint32) func(*received) bool {
	return func(r *received) bool { return r.Packet != nil && r.Packet.Type == t && r.Packet.RequestID == id }
}
