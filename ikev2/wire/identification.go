// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"net/netip"
	"strconv"
)

// IDType is the kind of an identity (RFC 7296, section 3.5).
type IDType uint8

// Identity types.
const (
	IDIPv4  IDType = 1
	IDFQDN  IDType = 2
	IDEmail IDType = 3 // ID_RFC822_ADDR
	IDIPv6  IDType = 5
	IDDN    IDType = 9 // ID_DER_ASN1_DN
	IDKeyID IDType = 11
)

// Identification is the IDi or IDr payload.
type Identification struct {
	Responder bool // IDr
	Type      IDType
	// Reserved is kept as received, for AUTH covers it (section 2.15).
	Reserved [3]byte
	Data     []byte
}

func parseIdentification(responder bool, body []byte) (Payload, error) {
	c := cursor{b: body}
	p := &Identification{Responder: responder, Type: IDType(c.uint8())}
	copy(p.Reserved[:], c.take(3))
	p.Data = c.rest()
	where := p.PayloadType().String()
	if c.short {
		return nil, syntax(where, "%d octets", len(body))
	}
	if p.Type == IDIPv4 && len(p.Data) != 4 || p.Type == IDIPv6 && len(p.Data) != 16 {
		return nil, syntax(where, "an address of %d octets", len(p.Data))
	}
	return p, nil
}

// PayloadType is IDi or IDr.
func (p *Identification) PayloadType() PayloadType {
	if p.Responder {
		return PayloadIDResponder
	}
	return PayloadIDInitiator
}

// Body is the payload without its generic header: what RFC 7296, section 2.15,
// calls RestOfInitIDPayload or RestOfRespIDPayload and AUTH is computed over.
func (p *Identification) Body() []byte {
	b := append([]byte{byte(p.Type)}, p.Reserved[:]...)
	return append(b, p.Data...)
}

func (p *Identification) appendBody(b []byte) ([]byte, error) { return append(b, p.Body()...), nil }

func (p *Identification) String() string {
	return fmt.Sprintf("%s(%s)", p.PayloadType(), p.Identity())
}

// Identity prints the identity alone. Text of a peer is quoted where it is not
// plain, so that it cannot forge a log line.
func (p *Identification) Identity() string {
	switch p.Type {
	case IDIPv4, IDIPv6:
		if a, ok := netip.AddrFromSlice(p.Data); ok {
			return a.String()
		}
	case IDFQDN, IDEmail:
		return plain(p.Data)
	case IDDN:
		return fmt.Sprintf("dn:%x", p.Data)
	case IDKeyID:
		return fmt.Sprintf("keyid:%x", p.Data)
	}
	return fmt.Sprintf("id(%d):%x", uint8(p.Type), p.Data)
}

// plain gives printable text without blanks and brackets as it is, and quotes
// everything else.
func plain(b []byte) string {
	for _, c := range b {
		if c <= ' ' || c > '~' || c == '"' || c == '(' || c == ')' || c == '[' || c == ']' {
			return strconv.Quote(string(b))
		}
	}
	return string(b)
}
