// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	stdcrypto "crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func identity(t *testing.T, text string) auth.Identity {
	t.Helper()
	i, err := auth.ParseIdentity(text)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

type authority struct {
	*x509.Certificate
	key stdcrypto.Signer
}

// newAuthority makes one below another, or a root.
func newAuthority(t *testing.T, name string, above *authority) *authority {
	t.Helper()
	a := &authority{key: newEC(t, elliptic.P256())}
	template := x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	by := above
	if by == nil {
		by = &authority{Certificate: &template, key: a.key}
	}
	var err error
	if a.Certificate, err = x509.ParseCertificate(by.issue(t, template, a.key)); err != nil {
		t.Fatal(err)
	}
	return a
}

func leafOf(name string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature}
}

// issue gives DER.
func (a *authority) issue(t *testing.T, template x509.Certificate, key stdcrypto.Signer) []byte {
	t.Helper()
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, &template, a.Certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// revoke gives DER of a list with the certificates.
func (a *authority) revoke(t *testing.T, extensions []pkix.Extension, all ...*x509.Certificate) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour), ExtraExtensions: extensions}
	for _, c := range all {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Certificate, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestAuthoritiesAndListsAreReadFromFilesAndFolders(t *testing.T) {
	one, two := newAuthority(t, "one", nil), newAuthority(t, "two", nil)
	der := one.issue(t, leafOf("spoke1.example.net"), newEC(t, elliptic.P256()))
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, content := range map[string][]byte{
		"one.pem": inPEM("CERTIFICATE", one.Raw), "two.CRT": two.Raw, "both.cer": append(inPEM("CERTIFICATE", two.Raw), inPEM("CERTIFICATE", one.Raw)...),
		"README": []byte("not read"), "one.key": []byte("not read"),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "folder.pem"), 0o755); err != nil {
		t.Fatal(err)
	}
	list := one.revoke(t, nil, leaf)
	cases := []struct {
		name      string
		cas, crls []string
		roots     int
		want      string // why the certificate is not believed
	}{
		{"a folder", []string{folder}, nil, 2, ""},
		{"a file in PEM", []string{write(t, "one.pem", inPEM("CERTIFICATE", one.Raw))}, nil, 1, ""},
		{"a file in DER", []string{write(t, "one.der", one.Raw)}, nil, 1, ""},
		{"a file twice", []string{filepath.Join(folder, "one.pem"), filepath.Join(folder, "one.pem")}, nil, 1, ""},
		{"none, so that nobody is believed", nil, nil, 0, "unknown authority"},
		{"another's", []string{filepath.Join(folder, "two.CRT")}, nil, 1, "unknown authority"},
		{"with a list in DER", []string{folder}, []string{write(t, "one.crl", list)}, 2, "was revoked"},
		{"with a list in PEM", []string{folder}, []string{write(t, "one.pem", inPEM("X509 CRL", list))}, 2, "was revoked"},
		{"with a folder of lists", []string{folder}, []string{filepath.Dir(write(t, "one.crl", list))}, 2, "was revoked"},
		{"with another's list", []string{folder}, []string{write(t, "two.crl", two.revoke(t, nil, leaf))}, 2, ""},
		{"with the list of one in the middle that is not here", []string{folder}, []string{write(t, "m.crl", newAuthority(t, "middle", one).revoke(t, nil))}, 2, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			trust, err := LoadTrust(c.cas, c.crls)
			if err != nil {
				t.Fatal(err)
			}
			if len(trust.Roots) != c.roots {
				t.Errorf("%d authorities", len(trust.Roots))
			}
			err = trust.Verify([]*x509.Certificate{leaf}, identity(t, "spoke1.example.net"), now)
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, auth.ErrFailed) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v; want %q", err, c.want)
			}
		})
	}
}

func TestAuthoritiesAndListsThatWillNotDo(t *testing.T) {
	one, impostor := newAuthority(t, "one", nil), newAuthority(t, "one", nil)
	good := write(t, "good.pem", inPEM("CERTIFICATE", one.Raw))
	leaf := one.issue(t, leafOf("spoke1.example.net"), newEC(t, elliptic.P256()))
	tiny := newRSA(t, 1024)
	weak := one.issue(t, x509.Certificate{Subject: pkix.Name{CommonName: "weak"}, IsCA: true, BasicConstraintsValid: true}, tiny)
	delta := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
	empty := t.TempDir()
	cas := []struct{ name, path, want string }{
		{"a certificate that is no authority's", write(t, "leaf.pem", inPEM("CERTIFICATE", leaf)), "no authority's"},
		{"a weak key", write(t, "weak.pem", inPEM("CERTIFICATE", weak)), "1024 bits"},
		{"a key", write(t, "key.pem", pkcs8(t, newEC(t, elliptic.P256()))), "no certificate"},
		{"nothing", write(t, "nothing.pem"), "no certificate"},
		{"a broken one", write(t, "broken.pem", inPEM("CERTIFICATE", one.Raw[:50])), "openssl x509"},
		{"a list", write(t, "list.pem", inPEM("X509 CRL", one.revoke(t, nil))), "no certificate"},
		{"a folder with nothing in it", empty, "no file that ends in .pem"},
		{"no file at all", good + ".old", "no such file"},
	}
	for _, c := range cas {
		t.Run(c.name, func(t *testing.T) {
			_, err := LoadTrust([]string{good, c.path}, nil)
			refused(t, err, c.path, c.want)
		})
	}
	crls := []struct{ name, path, want string }{
		{"signed by another of the same name", write(t, "a.crl", impostor.revoke(t, nil)), "fetch it again"},
		{"a delta list", write(t, "b.crl", one.revoke(t, delta)), "critical extension 2.5.29.27"},
		{"a certificate for a list", good, "no revocation list"},
		{"a broken list", write(t, "c.crl", one.revoke(t, nil)[:40]), "openssl crl"},
		{"no file at all", good + ".crl", "no such file"},
	}
	for _, c := range crls {
		t.Run(c.name, func(t *testing.T) {
			_, err := LoadTrust([]string{good}, []string{c.path})
			refused(t, err, c.path, c.want)
		})
	}
}
