// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// CertificateEncoding is the form of a certificate (RFC 7296, section 3.6).
type CertificateEncoding uint8

// The encodings that have a meaning here; others are carried and not used.
const (
	CertificateX509 CertificateEncoding = 4
	CertificateCRL  CertificateEncoding = 7
	HashAndURLX509  CertificateEncoding = 12
)

// Certificate is the CERT payload (section 3.6).
type Certificate struct {
	Encoding CertificateEncoding
	Data     []byte // DER
}

func parseCertificate(body []byte) (Payload, error) {
	if len(body) < 2 {
		return nil, syntax("CERT", "%d octets", len(body))
	}
	return &Certificate{Encoding: CertificateEncoding(body[0]), Data: body[1:]}, nil
}

// PayloadType is CERT.
func (p *Certificate) PayloadType() PayloadType { return PayloadCertificate }

func (p *Certificate) String() string {
	return fmt.Sprintf("CERT(%d, %d octets)", uint8(p.Encoding), len(p.Data))
}

func (p *Certificate) appendBody(b []byte) ([]byte, error) {
	return append(append(b, byte(p.Encoding)), p.Data...), nil
}

// CertificateRequest is the CERTREQ payload (section 3.7).
type CertificateRequest struct {
	Encoding CertificateEncoding
	// Authorities are SHA-1 hashes of the trusted CAs' SubjectPublicKeyInfo, 20
	// octets each, for CertificateX509; empty where the sender names none.
	Authorities []byte
}

func parseCertificateRequest(body []byte) (Payload, error) {
	if len(body) < 1 {
		return nil, syntax("CERTREQ", "no encoding")
	}
	p := &CertificateRequest{Encoding: CertificateEncoding(body[0]), Authorities: body[1:]}
	if p.Encoding == CertificateX509 && len(p.Authorities)%20 != 0 {
		return nil, syntax("CERTREQ", "authorities of %d octets, not 20 each", len(p.Authorities))
	}
	return p, nil
}

// PayloadType is CERTREQ.
func (p *CertificateRequest) PayloadType() PayloadType { return PayloadCertificateRequest }

func (p *CertificateRequest) String() string {
	return fmt.Sprintf("CERTREQ(%d, %d authorities)", uint8(p.Encoding), len(p.Authorities)/20)
}

func (p *CertificateRequest) appendBody(b []byte) ([]byte, error) {
	return append(append(b, byte(p.Encoding)), p.Authorities...), nil
}

// VendorID is the V payload (section 3.12): a hint, never a condition.
type VendorID []byte

// PayloadType is V.
func (p VendorID) PayloadType() PayloadType { return PayloadVendorID }

func (p VendorID) String() string { return fmt.Sprintf("V(%x)", []byte(p)) }

func (p VendorID) appendBody(b []byte) ([]byte, error) { return append(b, p...), nil }
