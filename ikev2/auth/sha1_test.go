// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // to see it refused
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"

	"dmvpn/ikev2/auth"
)

// TestCertificatesSignedWithSHA1AreRefused: the signature itself is good, as is
// that of the same certificate with SHA-256.
func TestCertificatesSignedWithSHA1AreRefused(t *testing.T) {
	const fqdn = "spoke1.example.net"
	key := rsaKey(t, 2048)
	root := issueWith(t, nil, authorityTemplate("root"), key)
	spoke := issue(t, root, x509.Certificate{DNSNames: []string{fqdn}})
	sha256OID := unhex(t, "2a864886f70d01010b")
	if !bytes.Contains(spoke.RawTBSCertificate, sha256OID) {
		t.Fatal("not signed with SHA-256")
	}
	trust := &auth.Trust{Roots: []*x509.Certificate{root.Certificate}}
	for _, c := range []struct {
		oid  string
		hash stdcrypto.Hash
		sum  func([]byte) []byte
		want string
	}{
		{"2a864886f70d01010b", stdcrypto.SHA256, func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }, ""},
		{"2a864886f70d010105", stdcrypto.SHA1, func(b []byte) []byte { s := sha1.Sum(b); return s[:] }, "insecure algorithm SHA1-RSA"},
	} {
		text := bytes.ReplaceAll(spoke.RawTBSCertificate, sha256OID, unhex(t, c.oid))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, c.hash, c.sum(text))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := asn1.Marshal([]any{asn1.RawValue{FullBytes: text}, asn1.RawValue{FullBytes: unhex(t, "300d 0609"+c.oid+"0500")},
			asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		err = trust.Verify([]*x509.Certificate{certificate}, identity(t, fqdn), now)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, auth.ErrFailed) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.hash, err)
		}
	}
}
