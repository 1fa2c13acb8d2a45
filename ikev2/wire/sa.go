// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// ProtocolID is what a proposal, notification or deletion is about (RFC 7296,
// section 3.3.1).
type ProtocolID uint8

// Protocols.
const (
	ProtocolNone ProtocolID = 0
	ProtocolIKE  ProtocolID = 1
	ProtocolAH   ProtocolID = 2
	ProtocolESP  ProtocolID = 3
)

func (p ProtocolID) String() string {
	switch p {
	case ProtocolNone:
		return "none"
	case ProtocolIKE:
		return "IKE"
	case ProtocolAH:
		return "AH"
	case ProtocolESP:
		return "ESP"
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// SA is the Security Association payload (RFC 7296, section 3.3): what is
// offered, or the one proposal that is chosen.
type SA struct {
	Proposals []Proposal
}

// Proposal is one alternative of an SA payload (section 3.3.1). In an offer the
// transforms of one type are alternatives; types are all needed.
type Proposal struct {
	Number     uint8
	Protocol   ProtocolID
	SPI        []byte // empty in IKE_SA_INIT, 8 octets for an IKE SA, 4 for ESP
	Transforms []Transform
}

const (
	moreProposals  = 2
	proposalHeader = 8
)

// parseSA checks structure, not sense: numbers that do not count up, an SPI of
// the wrong size or an unknown protocol make a proposal unacceptable, which is
// for ikev2/proposal to say.
func parseSA(body []byte) (Payload, error) {
	sa := &SA{}
	c := &cursor{b: body}
	for last := false; !last; {
		if len(sa.Proposals) == MaxProposals {
			return nil, syntax("SA", "more than %d proposals", MaxProposals)
		}
		var p Proposal
		var err error
		if p, last, err = parseProposal(c); err != nil {
			return nil, err
		}
		sa.Proposals = append(sa.Proposals, p)
	}
	if c.more() {
		return nil, syntax("SA", "%d octets behind the last proposal", len(c.b))
	}
	return sa, nil
}

func parseProposal(c *cursor) (p Proposal, last bool, err error) {
	more := c.uint8()
	c.take(1) // reserved
	n := int(c.uint16())
	if c.short || n < proposalHeader || (more != 0 && more != moreProposals) {
		return p, false, syntax("SA", "proposal of %d octets, mark %d", n, more)
	}
	body := &cursor{b: c.take(n - payloadHeader)}
	if c.short {
		return p, false, syntax("SA", "proposal of %d octets is past the payload's end", n)
	}
	p.Number, p.Protocol = body.uint8(), ProtocolID(body.uint8())
	size, count := body.uint8(), int(body.uint8())
	p.SPI = body.take(int(size))
	if body.short {
		return p, false, syntax("SA", "SPI of %d octets is past its proposal's end", size)
	}
	if count > MaxTransforms {
		return p, false, syntax("SA", "%d transforms, at most %d", count, MaxTransforms)
	}
	for i := range count {
		t, end, err := parseTransform(body)
		if err != nil {
			return p, false, err
		}
		if end != (i == count-1) {
			return p, false, syntax("SA", "transform %d of %d has the wrong mark", i+1, count)
		}
		p.Transforms = append(p.Transforms, t)
	}
	if body.more() {
		return p, false, syntax("SA", "%d octets behind the last transform", len(body.b))
	}
	return p, more == 0, nil
}

// PayloadType is SA.
func (p *SA) PayloadType() PayloadType { return PayloadSA }

func (p *SA) appendBody(b []byte) ([]byte, error) {
	for i, prop := range p.Proposals {
		var err error
		if b, err = prop.append(b, i == len(p.Proposals)-1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (p Proposal) append(b []byte, last bool) ([]byte, error) {
	if len(p.SPI) > 255 {
		return nil, oversize("SPI", len(p.SPI), 255)
	}
	if len(p.Transforms) > 255 {
		return nil, oversize("transforms of a proposal", len(p.Transforms), 255)
	}
	start := len(b)
	more := byte(moreProposals)
	if last {
		more = 0
	}
	b = append(b, more, 0, 0, 0, p.Number, byte(p.Protocol), byte(len(p.SPI)), byte(len(p.Transforms)))
	b = append(b, p.SPI...)
	for i, t := range p.Transforms {
		var err error
		if b, err = t.append(b, i == len(p.Transforms)-1); err != nil {
			return nil, err
		}
	}
	n := len(b) - start
	if n > MaxMessage {
		return nil, oversize("proposal", n, MaxMessage)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return b, nil
}

func (p *SA) String() string {
	all := make([]string, len(p.Proposals))
	for i, prop := range p.Proposals {
		all[i] = prop.String()
	}
	return "SA(" + strings.Join(all, ", ") + ")"
}

// String is as strongSwan's log has it: IKE:AES_CBC_128/HMAC_SHA2_256_128/…
func (p Proposal) String() string {
	all := make([]string, len(p.Transforms))
	for i, t := range p.Transforms {
		all[i] = t.String()
	}
	s := fmt.Sprintf("#%d %s:%s", p.Number, p.Protocol, strings.Join(all, "/"))
	if len(p.SPI) > 0 {
		s += fmt.Sprintf(" %x", p.SPI)
	}
	return s
}
