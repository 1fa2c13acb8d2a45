// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// PeekInit finds the nonce and the cookie of an IKE_SA_INIT request in a datagram that
// ParseHeader took, without decoding anything else: what is asked before a stranger is
// worth more work (section 2.6). Both are octets of b, cookie is nil without one. ok is
// false if the payloads' lengths are wrong or there is no nonce.
func PeekInit(b []byte) (nonce, cookie []byte, ok bool) {
	t, b := PayloadType(b[16]), b[HeaderSize:]
	for n := 0; t != NoPayload; n++ {
		if len(b) < payloadHeader || n == MaxPayloads {
			return nil, nil, false
		}
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size < payloadHeader || size > len(b) {
			return nil, nil, false
		}
		body := b[payloadHeader:size:size]
		switch {
		case t == PayloadNonce && nonce == nil:
			nonce = body
		case t == PayloadNotify && cookie == nil && len(body) >= 4 && body[1] == 0 && NotifyType(binary.BigEndian.Uint16(body[2:])) == Cookie:
			cookie = body[4:]
		}
		t, b = PayloadType(b[0]), b[size:]
	}
	return nonce, cookie, len(b) == 0 && len(nonce) >= MinNonce && len(nonce) <= MaxNonce
}
