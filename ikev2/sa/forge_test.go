// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// gcm is AES-GCM as RFC 5282 uses it, without ikev2/crypto: what seals here need not be
// payloads at all.
func gcm(keys *crypto.Keys, ofInitiator bool) (a cipher.AEAD, salt []byte) {
	key := keys.Er
	if ofInitiator {
		key = keys.Ei
	}
	n := len(key) - 4
	block, err := aes.NewCipher(key[:n])
	if err != nil {
		panic(err)
	}
	if a, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	return a, key[n:]
}

// vector counts down from where no machine gets to.
var vector = ^uint64(0) - 1

// seal makes one datagram with an SK payload, or with an SKF if total is not 0, around
// any octets.
func seal(keys *crypto.Keys, h wire.Header, first wire.PayloadType, text []byte, number, total uint16) []byte {
	var outer wire.Payload = &wire.Encrypted{Inner: first}
	if total != 0 {
		outer = &wire.Fragment{Inner: first, Number: number, Total: total}
	}
	b, err := (&wire.Message{Header: h, Payloads: []wire.Payload{outer}}).Append(nil)
	if err != nil {
		panic(err)
	}
	return sealBehind(keys, h.Initiator, b, wire.HeaderSize, append(text[:len(text):len(text)], 0))
}

// sealBehind seals a text that ends with its padding and the padding's length behind b, whose
// last payload, at an offset, is to hold it.
func sealBehind(keys *crypto.Keys, ofInitiator bool, b []byte, at int, text []byte) []byte {
	a, salt := gcm(keys, ofInitiator)
	size := 8 + len(text) + a.Overhead()
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)+size))
	binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at+size))
	vector--
	iv := binary.BigEndian.AppendUint64(nil, vector)
	sealed := a.Seal(nil, append(salt[:4:4], iv...), text, b)
	return append(append(b, iv...), sealed...)
}

// unseal opens one datagram; of a fragment it gives the piece.
func unseal(keys *crypto.Keys, b []byte) (h wire.Header, first wire.PayloadType, text []byte, err error) {
	m, err := wire.Parse(b)
	if err != nil {
		return h, 0, nil, err
	}
	first, body, ok := m.Protected()
	if !ok || keys == nil || len(body) < 8 {
		return m.Header, 0, nil, fmt.Errorf("%s is not protected, or by nobody knows what", m)
	}
	a, salt := gcm(keys, m.Initiator)
	text, err = a.Open(nil, append(salt[:4:4], body[:8]...), body[8:], b[:len(b)-len(body)])
	if err != nil {
		return m.Header, 0, nil, err
	}
	return m.Header, first, text[:len(text)-1-int(text[len(text)-1])], nil
}
