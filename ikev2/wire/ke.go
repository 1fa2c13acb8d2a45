// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
)

// KeyExchange is the KE payload (RFC 7296, section 3.4). Whether Data is as long
// as the method wants it, and a good public value, ikev2/crypto says.
type KeyExchange struct {
	Method uint16
	Data   []byte
}

func parseKeyExchange(body []byte) (Payload, error) {
	c := cursor{b: body}
	p := &KeyExchange{Method: c.uint16()}
	c.take(2) // reserved
	p.Data = c.rest()
	if c.short {
		return nil, syntax("KE", "%d octets", len(body))
	}
	return p, nil
}

// PayloadType is KE.
func (p *KeyExchange) PayloadType() PayloadType { return PayloadKeyExchange }

func (p *KeyExchange) String() string {
	return fmt.Sprintf("KE(%s, %d octets)", KeyExchangeName(p.Method), len(p.Data))
}

func (p *KeyExchange) appendBody(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint16(b, p.Method)
	b = append(b, 0, 0)
	return append(b, p.Data...), nil
}

// Nonce is the Ni or Nr payload (RFC 7296, section 3.9): 16 to 256 octets.
type Nonce []byte

func parseNonce(body []byte) (Payload, error) {
	if len(body) < MinNonce || len(body) > MaxNonce {
		return nil, syntax("Nonce", "%d octets, not %d to %d", len(body), MinNonce, MaxNonce)
	}
	return Nonce(body), nil
}

// PayloadType is Nonce.
func (p Nonce) PayloadType() PayloadType { return PayloadNonce }

func (p Nonce) String() string { return fmt.Sprintf("Nonce(%d octets)", len(p)) }

func (p Nonce) appendBody(b []byte) ([]byte, error) {
	if len(p) > MaxNonce {
		return nil, oversize("nonce", len(p), MaxNonce)
	}
	return append(b, p...), nil
}
