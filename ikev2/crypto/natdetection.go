// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"crypto/sha1" // RFC 7296 fixes it for this hash, which protects nothing
	"encoding/binary"
	"net/netip"

	"dmvpn/ikev2/wire"
)

// NATDetection is the data of NAT_DETECTION_SOURCE_IP or _DESTINATION_IP: SHA-1
// over the SPIs as they stand in the message's header, the address and the port
// (RFC 7296, section 2.23). An IPv4 address in an IPv6 socket's form counts as
// IPv4.
func NATDetection(spii, spir wire.SPI, address netip.AddrPort) [sha1.Size]byte {
	b := append(append([]byte{}, spii[:]...), spir[:]...)
	b = append(b, address.Addr().Unmap().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, address.Port())
	return sha1.Sum(b)
}
