// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"dmvpn/ikev2/auth"
)

// LoadTrust reads the authorities that are believed and their revocation lists.
// Each path is a file (PEM, several in one, or DER) or a folder, of which the
// files with the usual endings are read: .pem, .crt, .cer and .der, for lists
// .crl too. Anything in them that is not for its purpose is an error that names
// the file.
func LoadTrust(cas, crls []string) (*auth.Trust, error) {
	t := &auth.Trust{}
	files, err := expand(cas, ".pem", ".crt", ".cer", ".der")
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		all, err := readCertificates(path)
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			if !c.IsCA || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
				return nil, fmt.Errorf("ike: %s: the certificate of %q is no authority's (basic constraints, key usage): name the file of who issued it", path, c.Subject)
			}
			if err := auth.CheckKey(c.PublicKey); err != nil {
				return nil, fmt.Errorf("ike: %s: the certificate of authority %q: %w: peers with certificates of it cannot be believed", path, c.Subject, err)
			}
			if !slices.ContainsFunc(t.Roots, c.Equal) {
				t.Roots = append(t.Roots, c)
			}
		}
	}
	if files, err = expand(crls, ".pem", ".crl", ".crt", ".der"); err != nil {
		return nil, err
	}
	for _, path := range files {
		all, err := readRevocationLists(path)
		if err != nil {
			return nil, err
		}
		for _, list := range all {
			if err := checkList(list, t.Roots); err != nil {
				return nil, fmt.Errorf("ike: %s: %w", path, err)
			}
			t.CRLs = append(t.CRLs, list)
		}
	}
	t.Prepare()
	return t, nil
}

// checkList refuses what would never be obeyed. A list of an authority that we
// do not have may be of one in the middle, which peers send.
func checkList(list *x509.RevocationList, roots []*x509.Certificate) error {
	if err := auth.CheckRevocationList(list); err != nil {
		return err
	}
	var wrong error
	for _, c := range roots {
		if bytes.Equal(c.RawSubject, list.RawIssuer) {
			if wrong = list.CheckSignatureFrom(c); wrong == nil {
				return nil
			}
		}
	}
	if wrong != nil {
		return fmt.Errorf("the revocation list of %q is not signed by the authority of that name: %w: fetch it again", list.Issuer, wrong)
	}
	return nil
}

func readRevocationLists(path string) ([]*x509.RevocationList, error) {
	raw, err := readFile("revocation list", path, maxList)
	if err != nil {
		return nil, err
	}
	var all []*x509.RevocationList
	for _, der := range blocks(raw, "X509 CRL") {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("ike: %s is no revocation list in PEM or DER: %w: check it with openssl crl -in %s -noout -text", path, err, path)
		}
		all = append(all, list)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("ike: %s has no revocation list: name the file that the authority publishes", path)
	}
	return all, nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	raw, err := readFile("certificate file", path, maxPEM)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, der := range blocks(raw, "CERTIFICATE") {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("ike: certificate file %s, certificate %d: %w: check it with openssl x509 -in %s -noout -text", path, len(all)+1, err, path)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("ike: certificate file %s has no certificate in PEM or DER", path)
	}
	return all, nil
}

// blocks gives the DER of the PEM blocks of one type, or all of the file if
// there is no PEM in it.
func blocks(raw []byte, kind string) [][]byte {
	block, rest := pem.Decode(raw)
	if block == nil && len(raw) > 0 && raw[0] == 0x30 { // a SEQUENCE
		return [][]byte{raw}
	}
	var all [][]byte
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type == kind {
			all = append(all, block.Bytes)
		}
	}
	return all
}
