// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ParseStray reads an ESP packet from its IP header to its SPI, as the programs report it
// when nobody has the SPI (loader.EventUnknownSPI). Without UDP the ports are 0. false: it
// is none, or cut off.
func ParseStray(b []byte) (spi uint32, local, remote netip.AddrPort, ok bool) {
	const udpHeader, spiOctets = 8, 4
	var source, destination netip.Addr
	var protocol byte
	switch {
	case len(b) >= ipv4.header && b[0] == 0x45:
		source, destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		protocol, b = b[9], b[ipv4.header:]
	case len(b) >= ipv6.header && b[0]>>4 == 6:
		source, destination = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		protocol, b = b[6], b[ipv6.header:]
	default:
		return 0, local, remote, false
	}
	var from, to uint16
	switch {
	case protocol == unix.IPPROTO_UDP && len(b) >= udpHeader:
		from, to, b = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[udpHeader:]
	case protocol != unix.IPPROTO_ESP:
		return 0, local, remote, false
	}
	if len(b) < spiOctets {
		return 0, local, remote, false
	}
	return binary.BigEndian.Uint32(b), netip.AddrPortFrom(destination, to), netip.AddrPortFrom(source, from), true
}
