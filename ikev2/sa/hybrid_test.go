// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"

	"dmvpn/ikev2/wire"
)

// covered is what one IKE_INTERMEDIATE message adds to IntAuth (RFC 9242, section 3.3.2): A, the
// message from the header to the generic header of its SK payload, and P, the payloads
// inside in clear, both lengths in A as if that were the message.
func covered(h wire.Header, first wire.PayloadType, text []byte) []byte {
	b := append(append([]byte{}, h.SPIi[:]...), h.SPIr[:]...)
	var flags byte
	if h.Initiator {
		flags |= 8
	}
	if h.Response {
		flags |= 32
	}
	b = append(b, 46, 0x20, byte(h.Exchange), flags)
	b = binary.BigEndian.AppendUint32(b, h.MessageID)
	b = binary.BigEndian.AppendUint32(b, uint32(28+4+len(text)))
	b = append(b, byte(first), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(text)))
	return append(b, text...)
}
