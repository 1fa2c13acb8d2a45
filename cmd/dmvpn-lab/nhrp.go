// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/nhrpd/wire"
)

// A message is an NHRP packet that was seen on a wire.
type message struct {
	at       time.Time
	from, to netip.Addr // outer addresses
	packet   *wire.Packet
}

// isNHRP says whether a frame is NHRP in GRE.
func isNHRP(f lab.Frame) bool {
	_, ok := readNHRP(f)
	return ok
}

// readNHRP reads an Ethernet frame with NHRP in GRE in IPv4.
func readNHRP(f lab.Frame) (message, bool) {
	source, destination, ok := lab.GRE(f.Data)
	if !ok {
		return message{}, false
	}
	const ethernet = 14
	ip := f.Data[ethernet:]
	header := int(ip[0]&0xf) * 4
	if len(ip) < header+4 || binary.BigEndian.Uint16(ip[header+2:]) != wire.GREProtocol {
		return message{}, false
	}
	gre := ip[header:]
	const checksum, key, sequence = 0x80, 0x20, 0x10 // RFC 2784, RFC 2890
	body := 4
	for _, bit := range []byte{checksum, key, sequence} {
		if gre[0]&bit != 0 {
			body += 4
		}
	}
	if len(gre) < body {
		return message{}, false
	}
	p, err := wire.Decode(gre[body:])
	if err != nil {
		return message{}, false
	}
	from, _ := netip.AddrFromSlice(source)
	to, _ := netip.AddrFromSlice(destination)
	return message{f.At, from, to, p}, true
}

// text is what a newcomer needs of a message.
func (m message) text() string {
	p := m.packet
	switch p.Type {
	case wire.TrafficIndication:
		return fmt.Sprintf("Traffic Indication: there is a shorter way to %v", about(p))
	case wire.ResolutionRequest:
		return fmt.Sprintf("Resolution Request: %v (%v) asks who has %v", p.SourceProtocol, p.SourceNBMA, p.DestinationProtocol)
	case wire.ResolutionReply:
		for _, c := range p.CIEs {
			if c.Code == wire.CodeSuccess {
				return fmt.Sprintf("Resolution Reply: %v is behind %v (%v), for %d s",
					c.Prefix(p.DestinationProtocol), c.Protocol, c.NBMA, c.HoldingTime)
			}
		}
	}
	return p.Type.String()
}

// about is the destination of the packet that a Traffic Indication quotes.
func about(p *wire.Packet) netip.Addr {
	const header, destination = 20, 16
	if len(p.Contents) >= header {
		a, _ := netip.AddrFromSlice(p.Contents[destination:header])
		return a
	}
	return p.DestinationProtocol
}
