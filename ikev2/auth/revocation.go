// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
	"sync"
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

// revocation is what one list says.
type revocation struct {
	list    *x509.RevocationList
	bad     error // why it cannot be read
	serials map[string]struct{}
}

// revocations are what the lists say, looked at once: a list may have many megabytes, and each
// peer asks.
type revocations struct {
	mutex sync.Mutex
	lists map[*x509.RevocationList]*revocation
	// issuers are the list of each authority, nil where it has none, by the digest of its
	// certificate.
	issuers map[[sha256.Size]byte]*revocation
}

// maxIssuers bounds the authorities that are remembered, which peers bring, though each is
// signed by one that is believed.
const maxIssuers = 256

// Prepare looks at the lists of the roots, so that no peer waits for it.
func (t *Trust) Prepare() {
	for _, c := range t.Roots {
		t.revocation(c)
	}
}

// revocation is what the issuer's list says, the newest if there are several; nil without.
func (t *Trust) revocation(issuer *x509.Certificate) *revocation {
	if len(t.CRLs) == 0 {
		return nil
	}
	r := &t.revoked
	r.mutex.Lock()
	defer r.mutex.Unlock()
	at := sha256.Sum256(issuer.Raw)
	if known, ok := r.issuers[at]; ok {
		return known
	}
	if r.issuers == nil || len(r.issuers) >= maxIssuers {
		r.issuers = map[[sha256.Size]byte]*revocation{}
	}
	var list *x509.RevocationList
	for _, l := range t.CRLs {
		if bytes.Equal(l.RawIssuer, issuer.RawSubject) && (list == nil || l.ThisUpdate.After(list.ThisUpdate)) && l.CheckSignatureFrom(issuer) == nil {
			list = l
		}
	}
	if list == nil {
		r.issuers[at] = nil
		return nil
	}
	if r.lists == nil {
		r.lists = map[*x509.RevocationList]*revocation{}
	}
	if r.lists[list] == nil { // else another certificate of the same authority was here
		r.lists[list] = read(list)
	}
	r.issuers[at] = r.lists[list]
	return r.issuers[at]
}

func read(list *x509.RevocationList) *revocation {
	r := &revocation{list: list, bad: CheckRevocationList(list), serials: make(map[string]struct{}, len(list.RevokedCertificateEntries))}
	for _, entry := range list.RevokedCertificateEntries {
		r.serials[serial(entry.SerialNumber)] = struct{}{}
	}
	return r
}

// serial is a serial number as a key.
func serial(n *big.Int) string { return string(append([]byte{byte(n.Sign())}, n.Bytes()...)) }

// checkRevoked asks the issuer's list. Who configures one wants it obeyed: a list that has
// run out, or that we cannot read, is as bad as a revoked certificate.
func (t *Trust) checkRevoked(c, issuer *x509.Certificate, now time.Time) error {
	r := t.revocation(issuer)
	if r == nil {
		return nil
	}
	if now.Before(r.list.ThisUpdate) || !r.list.NextUpdate.IsZero() && now.After(r.list.NextUpdate) {
		return failed("the revocation list of %q is not valid now: fetch a new one", describeDN(issuer.RawSubject))
	}
	if r.bad != nil {
		return failed("%v", r.bad)
	}
	if _, revoked := r.serials[serial(c.SerialNumber)]; revoked {
		return failed("the certificate of %q was revoked", describeDN(c.RawSubject))
	}
	return nil
}
