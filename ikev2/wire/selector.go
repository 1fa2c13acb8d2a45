// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// SelectorType is the kind of a traffic selector (RFC 7296, section 3.13.1).
type SelectorType uint8

// Selector types; others are carried and skipped.
const (
	SelectorIPv4 SelectorType = 7
	SelectorIPv6 SelectorType = 8
)

// Selectors is the TSi or TSr payload (section 3.13).
type Selectors struct {
	Responder bool // TSr
	List      []Selector
}

// Selector is one traffic selector: a range of addresses, one IP protocol or
// all (0), a range of ports.
type Selector struct {
	Type               SelectorType
	Protocol           uint8
	StartPort, EndPort uint16 // 0 to 65535 is any, 65535 to 0 opaque
	Start, End         netip.Addr
	// Other is what follows the protocol's octet in a selector of unknown type.
	Other []byte
}

func parseSelectors(responder bool, body []byte) (Payload, error) {
	p := &Selectors{Responder: responder}
	where := p.PayloadType().String()
	c := cursor{b: body}
	count := int(c.uint8())
	c.take(3) // reserved
	if c.short || count == 0 || count > MaxSelectors {
		return nil, syntax(where, "%d selectors, not 1 to %d", count, MaxSelectors)
	}
	for range count {
		s := Selector{Type: SelectorType(c.uint8()), Protocol: c.uint8()}
		n := int(c.uint16())
		rest := cursor{b: c.take(n - payloadHeader)}
		if c.short {
			return nil, syntax(where, "selector of %d octets", n)
		}
		if err := s.parseRange(&rest, where); err != nil {
			return nil, err
		}
		p.List = append(p.List, s)
	}
	if c.more() {
		return nil, syntax(where, "%d octets behind the last selector", len(c.b))
	}
	return p, nil
}

func (s *Selector) parseRange(c *cursor, where string) error {
	size := 0
	switch s.Type {
	case SelectorIPv4:
		size = 4
	case SelectorIPv6:
		size = 16
	default:
		s.Other = c.rest()
		return nil
	}
	n := len(c.b)
	s.StartPort, s.EndPort = c.uint16(), c.uint16()
	s.Start, _ = netip.AddrFromSlice(c.take(size))
	s.End, _ = netip.AddrFromSlice(c.take(size))
	if c.short || c.more() {
		return syntax(where, "%d octets for a range", n)
	}
	if s.End.Less(s.Start) || s.StartPort > s.EndPort && !s.Opaque() {
		return syntax(where, "%s ends before it starts", s)
	}
	return nil
}

// Opaque says whether the selector wants what has no port to look at.
func (s Selector) Opaque() bool { return s.StartPort == 65535 && s.EndPort == 0 }

// PayloadType is TSi or TSr.
func (p *Selectors) PayloadType() PayloadType {
	if p.Responder {
		return PayloadSelectorsOfResponder
	}
	return PayloadSelectorsOfInitiator
}

func (p *Selectors) appendBody(b []byte) ([]byte, error) {
	if len(p.List) > MaxSelectors {
		return nil, oversize("selectors", len(p.List), MaxSelectors)
	}
	b = append(b, byte(len(p.List)), 0, 0, 0)
	for _, s := range p.List {
		start := len(b)
		b = append(b, byte(s.Type), s.Protocol, 0, 0)
		if s.Type == SelectorIPv4 || s.Type == SelectorIPv6 {
			if four := s.Type == SelectorIPv4; s.Start.Is4() != four || s.End.Is4() != four || !s.Start.IsValid() || !s.End.IsValid() {
				return nil, syntax(p.PayloadType().String(), "addresses %s and %s for type %d", s.Start, s.End, s.Type)
			}
			b = binary.BigEndian.AppendUint16(b, s.StartPort)
			b = binary.BigEndian.AppendUint16(b, s.EndPort)
			b = append(b, s.Start.AsSlice()...)
			b = append(b, s.End.AsSlice()...)
		} else {
			b = append(b, s.Other...)
		}
		n := len(b) - start
		if n > MaxMessage {
			return nil, oversize("selector", n, MaxMessage)
		}
		binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	}
	return b, nil
}

func (p *Selectors) String() string {
	all := make([]string, len(p.List))
	for i, s := range p.List {
		all[i] = s.String()
	}
	return fmt.Sprintf("%s(%s)", p.PayloadType(), strings.Join(all, ", "))
}

func (s Selector) String() string {
	if !s.Start.IsValid() {
		return fmt.Sprintf("selector(%d, %d octets)", uint8(s.Type), len(s.Other))
	}
	addresses := s.Start.String()
	if s.End != s.Start {
		addresses += "-" + s.End.String()
	}
	protocol := "any"
	switch s.Protocol {
	case 0:
	case 47:
		protocol = "gre"
	default:
		protocol = fmt.Sprint(s.Protocol)
	}
	switch {
	case s.StartPort == 0 && s.EndPort == 65535:
	case s.Opaque():
		protocol += "/opaque"
	default:
		protocol += fmt.Sprintf("/%d-%d", s.StartPort, s.EndPort)
	}
	return addresses + "[" + protocol + "]"
}
