// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"encoding/binary"

	"dmvpn/ikev2/wire"
)

// Intermediate is what one IKE_INTERMEDIATE message adds to AUTH: prf(SK_p,
// [previous |] A | P) (RFC 9242, section 3.3.2), where A is the message from the
// header to the header of its SK payload with both lengths as if the payloads
// were not encrypted, and P the inner payloads. A message that went in fragments
// counts as if it had been whole.
//
// p is SK_pi or SK_pr as it was when the message was sent, text the plaintext
// without padding. previous is what the sender's last round gave, nil in the
// first.
func Intermediate(prf PRF, p, previous []byte, h wire.Header, inner wire.PayloadType, text []byte) (Secret, error) {
	m := wire.Message{Header: h, Payloads: []wire.Payload{&wire.Encrypted{Inner: inner}}}
	a, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(a[24:], uint32(len(a)+len(text)))
	binary.BigEndian.PutUint16(a[wire.HeaderSize+2:], uint16(len(a)-wire.HeaderSize+len(text)))
	return prf.Sum(p, previous, a, text), nil
}
