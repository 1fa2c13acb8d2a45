// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	stdcrypto "crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/wire"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// authority issues certificates for a test.
type authority struct {
	*x509.Certificate
	key stdcrypto.Signer
}

var serial int64

// issue makes a certificate by template; a nil issuer signs itself.
func issue(t *testing.T, by *authority, template x509.Certificate) *authority {
	t.Helper()
	return issueWith(t, by, template, ecKey(t, elliptic.P256()))
}

// issueWith does it with the holder's key.
func issueWith(t *testing.T, by *authority, template x509.Certificate, key stdcrypto.Signer) *authority {
	t.Helper()
	serial++
	template.SerialNumber = big.NewInt(serial)
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
	}
	a := &authority{key: key}
	parent, signer := &template, a.key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, a.key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if a.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func authorityTemplate(name string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
}

func ca(t *testing.T, by *authority, name string) *authority {
	t.Helper()
	return issue(t, by, authorityTemplate(name))
}

func TestCertificatesAreBelievedOrNot(t *testing.T) {
	root, foreign := ca(t, nil, "root"), ca(t, nil, "foreign")
	middle := ca(t, root, "middle")
	spoke := func(change func(*x509.Certificate)) x509.Certificate {
		c := x509.Certificate{Subject: pkix.Name{CommonName: "spoke1"}, DNSNames: []string{"spoke1.example.net"}, EmailAddresses: []string{"spoke@example.net"},
			IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")}, SubjectKeyId: []byte{1, 2, 3}, KeyUsage: x509.KeyUsageDigitalSignature}
		if change != nil {
			change(&c)
		}
		return c
	}
	good := issue(t, root, spoke(nil))
	below := issue(t, middle, spoke(nil))
	usage := func(unknown ...asn1.ObjectIdentifier) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.UnknownExtKeyUsage = unknown }
	}
	extended := func(u x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} }
	}
	deep := middle
	var chain []*x509.Certificate
	for range 4 {
		chain = append([]*x509.Certificate{deep.Certificate}, chain...)
		deep = ca(t, deep, "deeper")
	}
	chain = append([]*x509.Certificate{issue(t, deep, spoke(nil)).Certificate, deep.Certificate}, chain...)
	narrow := authorityTemplate("constrained")
	narrow.PermittedDNSDomainsCritical, narrow.PermittedDNSDomains = true, []string{"example.org"}
	constrained := issue(t, root, narrow)
	ending := authorityTemplate("last")
	ending.MaxPathLenZero = true
	last := issue(t, root, ending)
	tooDeep := ca(t, last, "too deep")
	list := func(all ...*authority) []*x509.Certificate {
		var certificates []*x509.Certificate
		for _, a := range all {
			certificates = append(certificates, a.Certificate)
		}
		return certificates
	}
	const fqdn = "spoke1.example.net"
	cases := []struct {
		name string
		id   string
		all  []*x509.Certificate
		crls []*x509.RevocationList
		want string // part of the error; "" if it is believed
	}{
		{"by name", fqdn, list(good), nil, ""},
		{"by name in capitals", "SPOKE1.example.net", list(good), nil, ""},
		{"by e-mail address", "spoke@example.net", list(good), nil, ""},
		{"by IPv4 address", "192.0.2.1", list(good), nil, ""},
		{"by IPv6 address", "2001:db8::1", list(good), nil, ""},
		{"by subject", "CN=spoke1", list(good), nil, ""},
		{"by key identifier", "keyid:010203", list(good), nil, ""},
		{"through an authority in the middle", fqdn, list(below, middle), nil, ""},
		{"with certificates that do not matter", fqdn, list(good, foreign, middle), nil, ""},
		{"no certificate", fqdn, nil, nil, "no certificate"},
		{"another's identity", "hub.example.net", list(good), nil, "does not name hub.example.net"},
		{"the common name as a name", "spoke1", list(good), nil, "does not name spoke1"},
		{"another subject", "CN=hub", list(good), nil, "does not name CN=hub"},
		{"a wildcard names nobody", "x.example.net", list(issue(t, root, spoke(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.net"} }))), nil, "does not name"},
		{"a foreign authority", fqdn, list(issue(t, foreign, spoke(nil)), foreign), nil, "unknown authority"},
		{"signed by itself", fqdn, list(issue(t, nil, spoke(nil))), nil, "unknown authority"},
		{"signed by a certificate that is no authority", fqdn, list(issue(t, good, spoke(nil)), good), nil, "cannot sign"},
		{"the one in the middle left out", fqdn, list(below), nil, "unknown authority"},
		{"expired", fqdn, list(issue(t, root, spoke(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) }))), nil, "expired"},
		{"not yet valid", fqdn, list(issue(t, root, spoke(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour) }))), nil, "not yet valid"},
		{"a chain too long", fqdn, chain, nil, "at most 5"},
		{"an authority's own certificate", "CN=root", list(root), nil, "not for IKE"},
		{"key usage for certificates alone", fqdn, list(issue(t, root, spoke(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }))), nil, "not for signatures"},
		{"extended key usage for code", fqdn, list(issue(t, root, spoke(extended(x509.ExtKeyUsageCodeSigning)))), nil, "something else"},
		{"extended key usage of no name", fqdn, list(issue(t, root, spoke(usage(asn1.ObjectIdentifier{1, 2, 3})))), nil, "something else"},
		{"extended key usage for IKE", fqdn, list(issue(t, root, spoke(usage(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17})))), nil, ""},
		{"extended key usage for a TLS server", fqdn, list(issue(t, root, spoke(extended(x509.ExtKeyUsageServerAuth)))), nil, ""},
		{"a critical extension that nobody knows", fqdn, list(issue(t, root, spoke(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}))), nil, "unhandled critical extension"},
		{"a name that the authority may not give", fqdn, list(issue(t, constrained, spoke(nil)), constrained), nil, "not permitted"},
		{"an authority below one that may have none", fqdn, list(issue(t, tooDeep, spoke(nil)), tooDeep, last), nil, "too many intermediates"},
		{"revoked", fqdn, list(good), []*x509.RevocationList{root.revoke(t, now.Add(time.Hour), good)}, "was revoked"},
		{"another one revoked", fqdn, list(good), []*x509.RevocationList{root.revoke(t, now.Add(time.Hour), middle)}, ""},
		{"the one in the middle revoked", fqdn, list(below, middle), []*x509.RevocationList{root.revoke(t, now.Add(time.Hour), middle)}, "was revoked"},
		{"a revocation list that has run out", fqdn, list(good), []*x509.RevocationList{root.revoke(t, now.Add(-time.Minute))}, "not valid now"},
		{"a foreign authority's list does not matter", fqdn, list(good), []*x509.RevocationList{foreign.revoke(t, now.Add(time.Hour), good)}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			trust := &auth.Trust{Roots: []*x509.Certificate{root.Certificate}, CRLs: c.crls}
			err := trust.Verify(c.all, identity(t, c.id), now)
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, auth.ErrFailed) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v; want %q", err, c.want)
			}
		})
	}
}

func TestCertificatePayloads(t *testing.T) {
	root := ca(t, nil, "root")
	payload := func(n int) []wire.Payload {
		var all []wire.Payload
		for range n {
			all = append(all, &wire.Certificate{Encoding: wire.CertificateX509, Data: root.Raw})
		}
		return all
	}
	if all, err := auth.Certificates(append(payload(2), &wire.Certificate{Encoding: wire.HashAndURLX509, Data: []byte("http://example.net")})); err != nil || len(all) != 2 {
		t.Errorf("%d certificates, %v", len(all), err)
	}
	if _, err := auth.Certificates(payload(9)); !errors.Is(err, auth.ErrFailed) {
		t.Errorf("nine certificates: %v", err)
	}
	if _, err := auth.Certificates([]wire.Payload{&wire.Certificate{Encoding: wire.CertificateX509, Data: []byte{0x30}}}); !errors.Is(err, auth.ErrFailed) {
		t.Errorf("one that is none: %v", err)
	}
}
