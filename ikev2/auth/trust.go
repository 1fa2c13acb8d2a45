// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/sha1" // RFC 7296, section 3.7, fixes it for CERTREQ, a mere hint
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"dmvpn/ikev2/wire"
)

// Bounds of what a peer may send and a chain may have.
const (
	MaxCertificates = 8
	MaxChain        = 5 // with leaf and root
)

// Trust are the authorities whose certificates are believed, and their lists of
// what is revoked. Neither changes after the first use. It is safe for concurrent use.
type Trust struct {
	Roots []*x509.Certificate
	CRLs  []*x509.RevocationList

	revoked revocations
}

// Certificates decodes the CERT payloads of a message, the sender's own first
// (section 3.6). Other encodings than X.509 are passed over.
func Certificates(payloads []wire.Payload) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, p := range payloads {
		c, ok := p.(*wire.Certificate)
		if !ok || c.Encoding != wire.CertificateX509 {
			continue
		}
		if len(all) == MaxCertificates {
			return nil, failed("more than %d certificates", MaxCertificates)
		}
		parsed, err := x509.ParseCertificate(c.Data)
		if err != nil {
			return nil, failed("certificate %d: %v", len(all)+1, err)
		}
		all = append(all, parsed)
	}
	return all, nil
}

// Authorities is the content of a CERTREQ payload: the hash of each root's
// public key (section 3.7).
func (t *Trust) Authorities() []byte {
	var all []byte
	for _, c := range t.Roots {
		h := sha1.Sum(c.RawSubjectPublicKeyInfo)
		all = append(all, h[:]...)
	}
	return all
}

// Verify says whether the first of the certificates belongs to the identity, is
// for this use, and leads to one of the roots at the time now, none of the chain
// being revoked. AUTH is then verified with its public key.
func (t *Trust) Verify(all []*x509.Certificate, id Identity, now time.Time) error {
	if len(all) == 0 {
		return failed("%s sent no certificate", id)
	}
	// Before a signature of it is verified: a huge key costs the verifier most.
	for _, c := range all {
		if err := CheckKey(c.PublicKey); err != nil {
			return failed("the certificate of %q: %v", describeDN(c.RawSubject), err)
		}
	}
	leaf := all[0]
	if err := checkUse(leaf, id); err != nil {
		return failed("%v", err)
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range t.Roots {
		options.Roots.AddCert(c)
	}
	for _, c := range all[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := leaf.Verify(options)
	if err != nil {
		return failed("the certificate of %s: %v", id, err)
	}
	for _, chain := range chains {
		if err = t.checkChain(chain, now); err == nil {
			return nil
		}
	}
	return err
}

// checkChain looks at what crypto/x509 does not.
func (t *Trust) checkChain(chain []*x509.Certificate, now time.Time) error {
	if len(chain) > MaxChain {
		return failed("a chain of %d certificates, at most %d", len(chain), MaxChain)
	}
	for i, c := range chain {
		if err := CheckKey(c.PublicKey); err != nil {
			return failed("the certificate of %q: %v", describeDN(c.RawSubject), err)
		}
		if i+1 < len(chain) {
			if err := t.checkRevoked(c, chain[i+1], now); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkUse says whether a certificate is for IKE and this identity.
func checkUse(c *x509.Certificate, id Identity) error {
	if !names(c, id) {
		return fmt.Errorf("the certificate of %q does not name %s", describeDN(c.RawSubject), id)
	}
	if why := unfit(c); why != "" {
		return fmt.Errorf("the certificate of %s is not for IKE: %s", id, why)
	}
	return nil
}

// CheckCertificate says whether a certificate of our own is one that peers may
// take for the identity at a time, as far as that can be seen without their
// authorities. The error does not wrap ErrFailed.
func CheckCertificate(c *x509.Certificate, id Identity, now time.Time) error {
	if err := checkUse(c, id); err != nil {
		return err
	}
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return fmt.Errorf("the certificate of %s is valid from %s to %s, and it is %s", id,
			c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return CheckKey(c.PublicKey)
}

// names says whether a certificate is of the identity (RFC 4945, section 3): by
// a subject alternative name without wildcards, or by its subject for a DN.
func names(c *x509.Certificate, id Identity) bool {
	switch id.Type {
	case wire.IDFQDN:
		return slices.ContainsFunc(c.DNSNames, func(n string) bool { return id.Equal(Identity{wire.IDFQDN, n}) })
	case wire.IDEmail:
		return slices.ContainsFunc(c.EmailAddresses, func(n string) bool { return id.Equal(Identity{wire.IDEmail, n}) })
	case wire.IDDN:
		return id.Equal(Identity{wire.IDDN, string(c.RawSubject)})
	case wire.IDIPv4, wire.IDIPv6:
		for _, a := range c.IPAddresses {
			if v4 := a.To4(); v4 != nil {
				a = v4
			}
			if string(a) == id.Data {
				return true
			}
		}
	case wire.IDKeyID:
		return len(c.SubjectKeyId) > 0 && string(c.SubjectKeyId) == id.Data
	}
	return false
}

// usages of certificates for IKE that x509 has no name for: id-kp-ipsecIKE
// (RFC 4945) and the older iKEIntermediate.
var usages = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 17}, {1, 3, 6, 1, 5, 5, 8, 2, 2}}

// unfit says why a certificate must not be used for IKE, "" if it may: it must be
// for signatures, and its extended usage, if it has one, for IKE, for a TLS
// client or server, which is what many authorities issue, or for anything.
func unfit(c *x509.Certificate) string {
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return "its key usage is not for signatures"
	}
	if c.IsCA {
		return "it is an authority's own"
	}
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return ""
	}
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageAny, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth,
			x509.ExtKeyUsageIPSECEndSystem, x509.ExtKeyUsageIPSECTunnel, x509.ExtKeyUsageIPSECUser:
			return ""
		}
	}
	for _, u := range c.UnknownExtKeyUsage {
		if slices.ContainsFunc(usages, u.Equal) {
			return ""
		}
	}
	return "its extended key usage is for something else"
}
