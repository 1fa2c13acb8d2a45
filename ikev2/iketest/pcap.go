// SPDX-License-Identifier: Apache-2.0

package iketest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Datagram is one UDP datagram to or from port 500 or 4500.
type Datagram struct {
	Frame       int // its number in the file, from 1
	Source      netip.AddrPort
	Destination netip.AddrPort
	Payload     []byte // with the non-ESP marker on port 4500
}

// Errors of a capture file that is none.
var (
	errNoPcap    = errors.New("no little-endian classic pcap of Ethernet frames")
	errTruncated = errors.New("ends within a packet")
)

// parsePcap picks the datagrams of IKE's ports out of a classic pcap. Packets of
// other protocols are left out; IP fragments do not occur in the captures and
// are an error, as they would be lost.
func parsePcap(b []byte) ([]Datagram, error) {
	const magic, ethernet = 0xA1B2C3D4, 1
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != magic || binary.LittleEndian.Uint32(b[20:]) != ethernet {
		return nil, errNoPcap
	}
	var all []Datagram
	b = b[24:]
	for frame := 1; len(b) > 0; frame++ {
		if len(b) < 16 {
			return nil, errTruncated
		}
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if len(b)-16 < n {
			return nil, errTruncated
		}
		d, err := parseFrame(b[16 : 16+n])
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", frame, err)
		}
		if d != nil {
			d.Frame = frame
			all = append(all, *d)
		}
		b = b[16+n:]
	}
	return all, nil
}

// parseFrame gives nil for what is no datagram of IKE's ports.
func parseFrame(b []byte) (*Datagram, error) {
	const ipv4, udp = 0x0800, 17
	if len(b) < 14+20 || binary.BigEndian.Uint16(b[12:]) != ipv4 {
		return nil, nil
	}
	ip := b[14:]
	header := int(ip[0]&15) * 4
	total := int(binary.BigEndian.Uint16(ip[2:]))
	if header < 20 || total < header || len(ip) < total {
		return nil, errTruncated
	}
	if ip[9] != udp {
		return nil, nil
	}
	if binary.BigEndian.Uint16(ip[6:])&0x3FFF != 0 {
		return nil, errors.New("an IP fragment")
	}
	datagram := ip[header:total]
	if len(datagram) < 8 {
		return nil, errTruncated
	}
	from, to := binary.BigEndian.Uint16(datagram), binary.BigEndian.Uint16(datagram[2:])
	if n := int(binary.BigEndian.Uint16(datagram[4:])); n < 8 || n > len(datagram) {
		return nil, errTruncated
	} else {
		datagram = datagram[8:n]
	}
	isIKE := func(port uint16) bool { return port == 500 || port == 4500 }
	if !isIKE(from) && !isIKE(to) {
		return nil, nil
	}
	return &Datagram{
		Source:      netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:])), from),
		Destination: netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:])), to),
		Payload:     datagram,
	}, nil
}
