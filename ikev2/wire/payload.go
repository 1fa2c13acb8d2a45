// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// PayloadType names a payload (RFC 7296, section 3.2).
type PayloadType uint8

// Payload types; Fragment is RFC 7383's.
const (
	NoPayload                   PayloadType = 0
	PayloadSA                   PayloadType = 33
	PayloadKeyExchange          PayloadType = 34
	PayloadIDInitiator          PayloadType = 35
	PayloadIDResponder          PayloadType = 36
	PayloadCertificate          PayloadType = 37
	PayloadCertificateRequest   PayloadType = 38
	PayloadAuthentication       PayloadType = 39
	PayloadNonce                PayloadType = 40
	PayloadNotify               PayloadType = 41
	PayloadDelete               PayloadType = 42
	PayloadVendorID             PayloadType = 43
	PayloadSelectorsOfInitiator PayloadType = 44
	PayloadSelectorsOfResponder PayloadType = 45
	PayloadEncrypted            PayloadType = 46
	PayloadConfiguration        PayloadType = 47
	PayloadEAP                  PayloadType = 48
	PayloadFragment             PayloadType = 53
)

// Payload is one payload: a pointer to one of this package's structures.
type Payload interface {
	PayloadType() PayloadType
	// String is what a log shows: the RFC's notation, never a secret.
	String() string
	// appendBody encodes what follows the generic payload header.
	appendBody(b []byte) ([]byte, error)
}

// parseBody decodes the body of a payload whose type is known. For the others
// it gives nil without an error.
func parseBody(t, next PayloadType, body []byte) (Payload, error) {
	switch t {
	case PayloadSA:
		return parseSA(body)
	case PayloadKeyExchange:
		return parseKeyExchange(body)
	case PayloadIDInitiator, PayloadIDResponder:
		return parseIdentification(t == PayloadIDResponder, body)
	case PayloadCertificate:
		return parseCertificate(body)
	case PayloadCertificateRequest:
		return parseCertificateRequest(body)
	case PayloadAuthentication:
		return parseAuthentication(body)
	case PayloadNonce:
		return parseNonce(body)
	case PayloadNotify:
		return parseNotify(body)
	case PayloadDelete:
		return parseDelete(body)
	case PayloadVendorID:
		return VendorID(body), nil
	case PayloadSelectorsOfInitiator, PayloadSelectorsOfResponder:
		return parseSelectors(t == PayloadSelectorsOfResponder, body)
	case PayloadEncrypted:
		return &Encrypted{Inner: next, Body: body}, nil
	case PayloadConfiguration:
		return parseConfiguration(body)
	case PayloadEAP:
		return parseEAP(body)
	case PayloadFragment:
		return parseFragment(next, body)
	}
	return nil, nil
}

var payloadNames = map[PayloadType]string{
	PayloadSA: "SA", PayloadKeyExchange: "KE", PayloadIDInitiator: "IDi", PayloadIDResponder: "IDr",
	PayloadCertificate: "CERT", PayloadCertificateRequest: "CERTREQ", PayloadAuthentication: "AUTH",
	PayloadNonce: "Nonce", PayloadNotify: "N", PayloadDelete: "D", PayloadVendorID: "V",
	PayloadSelectorsOfInitiator: "TSi", PayloadSelectorsOfResponder: "TSr", PayloadEncrypted: "SK",
	PayloadConfiguration: "CP", PayloadEAP: "EAP", PayloadFragment: "SKF",
}

func (t PayloadType) String() string {
	if s, ok := payloadNames[t]; ok {
		return s
	}
	return fmt.Sprintf("payload(%d)", uint8(t))
}

// Unknown is a payload whose type has no name here. It is skipped by its
// readers; one with the critical bit never gets this far (section 2.5).
type Unknown struct {
	Kind PayloadType
	Body []byte
}

// PayloadType is the number that the payload came with.
func (p *Unknown) PayloadType() PayloadType { return p.Kind }

func (p *Unknown) String() string { return fmt.Sprintf("%s(%d octets)", p.Kind, len(p.Body)) }

func (p *Unknown) appendBody(b []byte) ([]byte, error) { return append(b, p.Body...), nil }
