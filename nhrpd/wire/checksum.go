// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// Checksum is the Internet checksum (RFC 1071) of the whole of b, of odd length
// as if a zero octet followed (RFC 2332, section 5.1). Over a packet with its
// checksum in place it is 0. There is no value that means "none".
func Checksum(b []byte) uint16 {
	var sum uint64
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return ^uint16(sum)
}
