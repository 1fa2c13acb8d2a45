// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
)

// Encrypted is the SK payload (RFC 7296, section 3.14): Body is initialization
// vector, ciphertext and integrity check value, as ikev2/crypto makes them.
type Encrypted struct {
	Inner PayloadType // of the first payload inside
	Body  []byte
}

// PayloadType is SK.
func (p *Encrypted) PayloadType() PayloadType { return PayloadEncrypted }

func (p *Encrypted) String() string { return fmt.Sprintf("SK(%d octets)", len(p.Body)) }

func (p *Encrypted) appendBody(b []byte) ([]byte, error) { return append(b, p.Body...), nil }

// Fragment is the SKF payload, one piece of an SK payload's plaintext, sealed by
// itself (RFC 7383, section 2.5).
type Fragment struct {
	Inner  PayloadType // of the first payload inside: NoPayload but in fragment 1
	Number uint16      // 1 to Total
	Total  uint16      // 1 to MaxFragments
	Body   []byte      // as Encrypted's
}

func parseFragment(inner PayloadType, body []byte) (Payload, error) {
	c := cursor{b: body}
	p := &Fragment{Inner: inner, Number: c.uint16(), Total: c.uint16(), Body: c.rest()}
	switch {
	case c.short:
		return nil, syntax("SKF", "%d octets", len(body))
	case p.Number == 0 || p.Number > p.Total:
		return nil, syntax("SKF", "fragment %d of %d", p.Number, p.Total)
	case p.Total > MaxFragments:
		return nil, syntax("SKF", "%d fragments, at most %d", p.Total, MaxFragments)
	case p.Number > 1 && inner != NoPayload:
		return nil, syntax("SKF", "fragment %d names a first payload", p.Number)
	}
	return p, nil
}

// PayloadType is SKF.
func (p *Fragment) PayloadType() PayloadType { return PayloadFragment }

func (p *Fragment) String() string {
	return fmt.Sprintf("SKF(%d of %d, %d octets)", p.Number, p.Total, len(p.Body))
}

func (p *Fragment) appendBody(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint16(b, p.Number)
	b = binary.BigEndian.AppendUint16(b, p.Total)
	return append(b, p.Body...), nil
}
