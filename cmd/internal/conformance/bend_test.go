// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// takes sends a reply where an error is due.
func takes(s *warped, to netip.Addr, p *wire.Packet) bool {
	if p.Type != wire.ErrorIndication || p.SourceProtocol != s.own() || len(p.Contents) < offID+4 {
		return true
	}
	if from := p.DestinationProtocol; from.IsValid() {
		s.yes(to, from, binary.BigEndian.Uint32(p.Contents[offID:]))
	}
	return false
}

// leaves changes what is sent of a type, 0: all types.
func leaves(t wire.Type, change func(*warped, *wire.Packet)) bend {
	return bend{leaves: func(s *warped, _ netip.Addr, p *wire.Packet) bool {
		if t == 0 || p.Type == t {
			change(s, p)
		}
		return true
	}}
}

// loses sends nothing of a type.
func loses(t wire.Type) bend {
	return bend{leaves: func(_ *warped, _ netip.Addr, p *wire.Packet) bool { return p.Type != t }}
}

// hears changes what comes of a type.
func hears(t wire.Type, change func(*warped, *netip.Addr, *wire.Packet) bool) bend {
	return bend{hears: func(s *warped, from *netip.Addr, p *wire.Packet) bool { return p.Type != t || change(s, from, p) }}
}

func purges(change func(*warped, netip.Addr, *wire.Packet) bool) bend {
	return hears(wire.PurgeRequest, func(s *warped, from *netip.Addr, p *wire.Packet) bool { return change(s, *from, p) })
}

// entryOf changes the entries of an extension, if it has any.
func entryOf(p *wire.Packet, kind wire.ExtensionType, change func(*wire.CIE)) {
	e := p.Extension(kind)
	if e == nil {
		return
	}
	list, err := p.Entries(e)
	if err != nil || len(list) == 0 {
		return
	}
	for i := range list {
		change(&list[i])
	}
	entries(p, kind, list...)
}
