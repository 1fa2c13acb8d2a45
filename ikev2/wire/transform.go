// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// TransformType is the kind of a transform (RFC 7296, section 3.3.2).
type TransformType uint8

// Transform types. AdditionalKeyExchange1 to 7 are 6 to 12 (RFC 9370).
const (
	Encryption             TransformType = 1
	PseudorandomFunction   TransformType = 2
	Integrity              TransformType = 3
	KeyExchangeMethod      TransformType = 4
	SequenceNumbers        TransformType = 5
	AdditionalKeyExchange1 TransformType = 6
	AdditionalKeyExchange7 TransformType = 12
)

// Transform is one algorithm that a proposal offers.
type Transform struct {
	Type TransformType
	ID   uint16
	// KeyLength in bits of the Key Length attribute, 0 for none.
	KeyLength uint16
	// Others are attributes that no RFC gives a meaning here. A transform that
	// has any is not acceptable (section 3.3.6).
	Others []Attribute
}

// Attribute is a transform attribute (section 3.3.5).
type Attribute struct {
	Type  uint16 // 15 bits
	Short bool   // in the form of four octets: Value has two
	Value []byte
}

const (
	attributeKeyLength = 14
	attributeShort     = 0x8000
	moreTransforms     = 3
	transformHeader    = 8
	attributeHeader    = 4
)

// Supported says whether a transform can be accepted at all.
func (t Transform) Supported() bool { return len(t.Others) == 0 }

// Matches says whether two transforms are the same offer; attributes of unknown
// meaning are never the same.
func (t Transform) Matches(o Transform) bool {
	return t.Type == o.Type && t.ID == o.ID && t.KeyLength == o.KeyLength && t.Supported() && o.Supported()
}

// parseTransform reads one substructure; last says whether its own field says
// that no other follows.
func parseTransform(c *cursor) (t Transform, last bool, err error) {
	more := c.uint8()
	c.take(1) // reserved
	n := int(c.uint16())
	if c.short || n < transformHeader || (more != 0 && more != moreTransforms) {
		return t, false, syntax("SA", "transform of %d octets, mark %d", n, more)
	}
	body := cursor{b: c.take(n - attributeHeader)}
	if c.short {
		return t, false, syntax("SA", "transform of %d octets is past its proposal's end", n)
	}
	t.Type = TransformType(body.uint8())
	body.take(1) // reserved
	t.ID = body.uint16()
	for n := 0; body.more(); n++ {
		if n == MaxAttributes {
			return t, false, syntax("SA", "more than %d attributes in a transform", MaxAttributes)
		}
		a, err := parseAttribute(&body)
		if err != nil {
			return t, false, err
		}
		length := uint16(0)
		if a.Short {
			length = binary.BigEndian.Uint16(a.Value)
		}
		// A key length of zero, in the long form or told twice means nothing.
		if a.Type == attributeKeyLength && length != 0 && t.KeyLength == 0 {
			t.KeyLength = length
		} else {
			t.Others = append(t.Others, a)
		}
	}
	return t, more == 0, nil
}

func parseAttribute(c *cursor) (a Attribute, err error) {
	t := c.uint16()
	a.Type, a.Short = t&^attributeShort, t&attributeShort != 0
	if a.Short {
		a.Value = c.take(2)
	} else {
		a.Value = c.take(int(c.uint16()))
	}
	if c.short {
		return a, syntax("SA", "attribute %d is past its transform's end", a.Type)
	}
	return a, nil
}

func (t Transform) append(b []byte, last bool) ([]byte, error) {
	start := len(b)
	more := byte(moreTransforms)
	if last {
		more = 0
	}
	b = append(b, more, 0, 0, 0, byte(t.Type), 0)
	b = binary.BigEndian.AppendUint16(b, t.ID)
	if t.KeyLength != 0 {
		b = binary.BigEndian.AppendUint16(b, attributeShort|attributeKeyLength)
		b = binary.BigEndian.AppendUint16(b, t.KeyLength)
	}
	for _, a := range t.Others {
		if a.Short {
			if len(a.Value) != 2 {
				return nil, oversize("short attribute", len(a.Value), 2)
			}
			b = binary.BigEndian.AppendUint16(b, attributeShort|a.Type)
		} else {
			if len(a.Value) > MaxMessage {
				return nil, oversize("attribute", len(a.Value), MaxMessage)
			}
			b = binary.BigEndian.AppendUint16(b, a.Type&^attributeShort)
			b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		}
		b = append(b, a.Value...)
	}
	n := len(b) - start
	if n > MaxMessage {
		return nil, oversize("transform", n, MaxMessage)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return b, nil
}
