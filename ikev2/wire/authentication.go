// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// AuthMethod is how AUTH was made (RFC 7296, section 3.8; RFC 7427).
type AuthMethod uint8

// Authentication methods.
const (
	AuthRSA              AuthMethod = 1 // PKCS #1 v1.5
	AuthSharedKey        AuthMethod = 2
	AuthECDSA256         AuthMethod = 9  // RFC 4754
	AuthECDSA384         AuthMethod = 10 // RFC 4754
	AuthECDSA521         AuthMethod = 11 // RFC 4754
	AuthDigitalSignature AuthMethod = 14 // RFC 7427
)

func (m AuthMethod) String() string {
	switch m {
	case AuthRSA:
		return "RSA signature"
	case AuthSharedKey:
		return "shared key"
	case AuthECDSA256:
		return "ECDSA-256"
	case AuthECDSA384:
		return "ECDSA-384"
	case AuthECDSA521:
		return "ECDSA-521"
	case AuthDigitalSignature:
		return "digital signature"
	}
	return fmt.Sprintf("method %d", uint8(m))
}

// Authentication is the AUTH payload. Data of AuthDigitalSignature begins with
// the algorithm identifier (RFC 7427, section 3).
type Authentication struct {
	Method AuthMethod
	Data   []byte
}

func parseAuthentication(body []byte) (Payload, error) {
	c := cursor{b: body}
	p := &Authentication{Method: AuthMethod(c.uint8())}
	c.take(3) // reserved
	p.Data = c.rest()
	if c.short {
		return nil, syntax("AUTH", "%d octets", len(body))
	}
	return p, nil
}

// PayloadType is AUTH.
func (p *Authentication) PayloadType() PayloadType { return PayloadAuthentication }

func (p *Authentication) String() string {
	return fmt.Sprintf("AUTH(%s, %d octets)", p.Method, len(p.Data))
}

func (p *Authentication) appendBody(b []byte) ([]byte, error) {
	return append(append(b, byte(p.Method), 0, 0, 0), p.Data...), nil
}

// EAP is the EAP payload (section 3.16), carried whole. We offer no EAP: who
// gets one refuses it.
type EAP struct {
	Message []byte // an EAP packet (RFC 3748), its length checked
}

func parseEAP(body []byte) (Payload, error) {
	c := cursor{b: body}
	c.take(2) // code, identifier
	if n := int(c.uint16()); c.short || n != len(body) {
		return nil, syntax("EAP", "length %d in %d octets", n, len(body))
	}
	return &EAP{Message: body}, nil
}

// PayloadType is EAP.
func (p *EAP) PayloadType() PayloadType { return PayloadEAP }

func (p *EAP) String() string { return fmt.Sprintf("EAP(%d octets)", len(p.Message)) }

func (p *EAP) appendBody(b []byte) ([]byte, error) { return append(b, p.Message...), nil }
