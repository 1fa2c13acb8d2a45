// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Delete is the D payload (RFC 7296, section 3.11): SPIs has those on which the
// sender receives, and is empty for the IKE SA that the message itself is in.
type Delete struct {
	Protocol ProtocolID // IKE, AH or ESP
	SPIs     []uint32
}

func parseDelete(body []byte) (Payload, error) {
	c := cursor{b: body}
	p := &Delete{Protocol: ProtocolID(c.uint8())}
	size, count := int(c.uint8()), int(c.uint16())
	want := 4
	switch p.Protocol {
	case ProtocolIKE:
		want = 0
	case ProtocolAH, ProtocolESP:
	default:
		return nil, syntax("D", "%s", p.Protocol)
	}
	if c.short || size != want || want == 0 && count != 0 {
		return nil, syntax("D", "%d SPIs of %d octets for %s", count, size, p.Protocol)
	}
	if count > MaxSPIs {
		return nil, syntax("D", "%d SPIs, at most %d", count, MaxSPIs)
	}
	for range count {
		p.SPIs = append(p.SPIs, c.uint32())
	}
	if c.short || c.more() {
		return nil, syntax("D", "%d SPIs do not fill %d octets", count, len(body))
	}
	return p, nil
}

// PayloadType is D.
func (p *Delete) PayloadType() PayloadType { return PayloadDelete }

func (p *Delete) appendBody(b []byte) ([]byte, error) {
	if len(p.SPIs) > MaxSPIs {
		return nil, oversize("SPIs of a deletion", len(p.SPIs), MaxSPIs)
	}
	size := byte(4)
	if p.Protocol == ProtocolIKE {
		size = 0
		if len(p.SPIs) > 0 {
			return nil, oversize("SPIs of an IKE SA's deletion", len(p.SPIs), 0)
		}
	}
	b = append(b, byte(p.Protocol), size)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.SPIs)))
	for _, spi := range p.SPIs {
		b = binary.BigEndian.AppendUint32(b, spi)
	}
	return b, nil
}

func (p *Delete) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "D(%s", p.Protocol)
	for _, spi := range p.SPIs {
		fmt.Fprintf(&s, " %08x", spi)
	}
	s.WriteByte(')')
	return s.String()
}
