// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

const criticalBit = 0x80

// ParseInner decodes the payloads of an opened SK payload, whose first has the
// type that Message.Protected gave. b ends with the last payload: the padding is
// off. Another SK payload or fragment inside is refused.
func ParseInner(first PayloadType, b []byte) ([]Payload, error) {
	return parseChain(first, b, false)
}

// parseChain follows the generic payload headers (section 3.2) to the end of b.
// SK and SKF end the chain, for their next payload field names what is inside.
func parseChain(t PayloadType, b []byte, outer bool) ([]Payload, error) {
	var payloads []Payload
	for t != NoPayload {
		if len(payloads) == MaxPayloads {
			return nil, syntax("message", "more than %d payloads", MaxPayloads)
		}
		if len(b) < payloadHeader {
			return nil, syntax(t.String(), "%d octets for its header", len(b))
		}
		next, critical, n := PayloadType(b[0]), b[1]&criticalBit != 0, int(binary.BigEndian.Uint16(b[2:]))
		if n < payloadHeader || n > len(b) {
			return nil, syntax(t.String(), "length %d where %d octets are left", n, len(b))
		}
		protected := t == PayloadEncrypted || t == PayloadFragment
		if protected && (!outer || n != len(b)) {
			return nil, syntax(t.String(), "not the last payload of a message")
		}
		p, err := parseBody(t, next, b[payloadHeader:n:n])
		if err != nil {
			return nil, err
		}
		if p == nil {
			if critical {
				return nil, &CriticalError{Payload: t}
			}
			p = &Unknown{Kind: t, Body: b[payloadHeader:n:n]}
		}
		payloads = append(payloads, p)
		if protected {
			return payloads, nil
		}
		t, b = next, b[n:]
	}
	if len(b) > 0 {
		return nil, syntax("message", "%d octets behind the last payload", len(b))
	}
	return payloads, nil
}

// First is the type that a header names as its first payload: NoPayload for none.
func First(payloads []Payload) PayloadType {
	if len(payloads) == 0 {
		return NoPayload
	}
	return payloads[0].PayloadType()
}

// AppendInner encodes payloads behind b, each with its generic header: the
// plaintext of an SK payload without its padding. The critical bit is never set,
// for no payload of this package may carry it (section 3.2).
func AppendInner(b []byte, payloads []Payload) ([]byte, error) {
	for i, p := range payloads {
		start := len(b)
		next := First(payloads[i+1:])
		switch p := p.(type) {
		case *Encrypted:
			next = p.Inner
		case *Fragment:
			next = p.Inner
		}
		b = append(b, byte(next), 0, 0, 0)
		var err error
		if b, err = p.appendBody(b); err != nil {
			return nil, err
		}
		n := len(b) - start
		if n > MaxMessage {
			return nil, oversize(p.PayloadType().String(), n, MaxMessage)
		}
		binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	}
	return b, nil
}
