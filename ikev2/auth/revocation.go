// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"
)

// CheckRevocationList says whether we can read a list: one with a critical
// extension, such as a delta list or one of some certificates alone, says
// something else than it seems to (RFC 5280, section 5.2).
func CheckRevocationList(list *x509.RevocationList) error {
	for _, e := range list.Extensions {
		if e.Critical {
			return fmt.Errorf("the revocation list of %q has the critical extension %s: use a full list of the authority's", describeDN(list.RawIssuer), e.Id)
		}
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical {
				return fmt.Errorf("the revocation list of %q has an entry with the critical extension %s: use a direct list", describeDN(list.RawIssuer), e.Id)
			}
		}
	}
	return nil
}

// checkRevoked asks the issuer's list, the newest if there are several. Who
// configures one wants it obeyed: a list that has run out, or that we cannot
// read, is as bad as a revoked certificate.
func (t *Trust) checkRevoked(c, issuer *x509.Certificate, now time.Time) error {
	var list *x509.RevocationList
	for _, l := range t.CRLs {
		if bytes.Equal(l.RawIssuer, issuer.RawSubject) && (list == nil || l.ThisUpdate.After(list.ThisUpdate)) && l.CheckSignatureFrom(issuer) == nil {
			list = l
		}
	}
	if list == nil {
		return nil
	}
	if now.Before(list.ThisUpdate) || !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
		return failed("the revocation list of %q is not valid now: fetch a new one", describeDN(issuer.RawSubject))
	}
	if err := CheckRevocationList(list); err != nil {
		return failed("%v", err)
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return failed("the certificate of %q was revoked", describeDN(c.RawSubject))
		}
	}
	return nil
}
