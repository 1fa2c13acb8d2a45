// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"slices"

	"dmvpn/nhrpd/wire"
)

// Places in an NHRP packet (RFC 2332, sections 5.1 and 5.2.0.1).
const (
	offFamily      = 0
	offProtocol    = 2
	offSNAP        = 4
	offHopCount    = 9
	offSize        = 10
	offChecksum    = 12
	offExtensions  = 14
	offVersion     = 16
	offType        = 17
	offNBMA        = 18
	offSub         = 19
	offSource      = 20
	offDestination = 21
	offFlags       = 22
	offID          = 24
	fixedHeader    = 20
)

// with is a copy of a packet with something changed, and the checksum made good again.
func with(b []byte, change func(b []byte)) []byte {
	b = slices.Clone(b)
	change(b)
	return sum(b)
}

// set is with for one octet.
func set(b []byte, at int, octet byte) []byte {
	return with(b, func(b []byte) { b[at] = octet })
}

// set16 is with for two octets.
func set16(b []byte, at int, value uint16) []byte {
	return with(b, func(b []byte) { binary.BigEndian.PutUint16(b[at:], value) })
}

// resized is the packet in so many octets, cut or padded with zeros, and saying so.
func resized(b []byte, size int) []byte {
	b = append(slices.Clone(b), make([]byte, max(size-len(b), 0))...)[:size]
	binary.BigEndian.PutUint16(b[offSize:], uint16(size))
	return sum(b)
}

// sum puts the checksum in.
func sum(b []byte) []byte {
	b[offChecksum], b[offChecksum+1] = 0, 0
	size := int(binary.BigEndian.Uint16(b[offSize:]))
	if size < fixedHeader || size > len(b) {
		size = len(b)
	}
	binary.BigEndian.PutUint16(b[offChecksum:], wire.Checksum(b[:size]))
	return b
}

// at is where the extensions begin, 0 if there are none.
func extensionsAt(b []byte) int { return int(binary.BigEndian.Uint16(b[offExtensions:])) }
