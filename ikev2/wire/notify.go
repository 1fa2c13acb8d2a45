// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Notify is the N payload (RFC 7296, section 3.10). What its data mean, and
// whether they are as they should be, the views of notify_data.go say: an
// unknown or odd notification alone makes no message bad.
type Notify struct {
	Protocol ProtocolID // of SPI; ProtocolNone without one
	SPI      []byte
	Type     NotifyType
	Data     []byte
}

func parseNotify(body []byte) (Payload, error) {
	c := cursor{b: body}
	p := &Notify{Protocol: ProtocolID(c.uint8())}
	size := int(c.uint8())
	p.Type = NotifyType(c.uint16())
	p.SPI = c.take(size)
	p.Data = c.rest()
	if c.short {
		return nil, syntax("N", "%d octets with an SPI of %d", len(body), size)
	}
	return p, nil
}

// PayloadType is N.
func (p *Notify) PayloadType() PayloadType { return PayloadNotify }

func (p *Notify) appendBody(b []byte) ([]byte, error) {
	if len(p.SPI) > 255 {
		return nil, oversize("SPI", len(p.SPI), 255)
	}
	b = append(b, byte(p.Protocol), byte(len(p.SPI)))
	b = binary.BigEndian.AppendUint16(b, uint16(p.Type))
	b = append(b, p.SPI...)
	return append(b, p.Data...), nil
}

func (p *Notify) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "N(%s", p.Type)
	if len(p.SPI) > 0 {
		fmt.Fprintf(&s, " %s %x", p.Protocol, p.SPI)
	}
	switch p.Type {
	case InvalidKEPayload:
		if method, err := p.KeyExchangeMethod(); err == nil {
			fmt.Fprintf(&s, " %s", KeyExchangeName(method))
		}
	case AdditionalIP4Address, AdditionalIP6Address:
		if a, err := p.Address(); err == nil {
			fmt.Fprintf(&s, " %s", a)
		}
	}
	s.WriteByte(')')
	return s.String()
}

// FindNotify gives the first notification of a type, or nil.
func FindNotify(payloads []Payload, t NotifyType) *Notify {
	for _, p := range payloads {
		if n, ok := p.(*Notify); ok && n.Type == t {
			return n
		}
	}
	return nil
}

// Find gives the first payload of a Go type, or its zero value and false.
func Find[P Payload](payloads []Payload) (P, bool) {
	for _, p := range payloads {
		if found, ok := p.(P); ok {
			return found, true
		}
	}
	var none P
	return none, false
}
