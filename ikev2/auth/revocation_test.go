// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
)

// revoke makes the authority's list, valid until the time.
func (a *authority) revoke(t *testing.T, until time.Time, all ...*authority) *x509.RevocationList {
	t.Helper()
	return a.list(t, x509.RevocationList{ThisUpdate: now.Add(-2 * time.Hour), NextUpdate: until}, all...)
}

// list makes one by template.
func (a *authority) list(t *testing.T, template x509.RevocationList, all ...*authority) *x509.RevocationList {
	t.Helper()
	list := &template
	list.Number = big.NewInt(1)
	for _, c := range all {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now.Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Certificate, a.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestRevocationLists(t *testing.T) {
	const fqdn = "spoke1.example.net"
	root, other := ca(t, nil, "root"), ca(t, nil, "root") // of the same name
	leaf := x509.Certificate{DNSNames: []string{fqdn}}
	spoke := issue(t, root, leaf)
	from := func(hours int) x509.RevocationList {
		return x509.RevocationList{ThisUpdate: now.Add(time.Duration(hours) * time.Hour), NextUpdate: now.Add(time.Duration(hours+10) * time.Hour)}
	}
	critical := from(-1)
	critical.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
	indirect := from(-1)
	indirect.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(9), RevocationTime: now,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}}}
	endless := from(-1)
	endless.NextUpdate = now.Add(100000 * time.Hour)
	cases := []struct {
		name  string
		lists []*x509.RevocationList
		want  string // part of the error; "" if the certificate is believed
	}{
		{"no list", nil, ""},
		{"a list without it", []*x509.RevocationList{root.list(t, from(-1), other)}, ""},
		{"a list with it", []*x509.RevocationList{root.list(t, from(-1), other, spoke)}, "was revoked"},
		{"the newest holds: it was taken back", []*x509.RevocationList{root.list(t, from(-2), spoke), root.list(t, from(-1))}, ""},
		{"the newest holds: it was revoked since", []*x509.RevocationList{root.list(t, from(-1), spoke), root.list(t, from(-2))}, "was revoked"},
		{"the newest holds: the old one has run out", []*x509.RevocationList{root.list(t, from(-20)), root.list(t, from(-1))}, ""},
		{"one that has run out", []*x509.RevocationList{root.list(t, from(-20))}, "not valid now"},
		{"one of tomorrow", []*x509.RevocationList{root.list(t, from(24))}, "not valid now"},
		{"one for many years", []*x509.RevocationList{root.list(t, endless)}, ""},
		{"another authority's of the same name", []*x509.RevocationList{other.list(t, from(-1), spoke)}, ""},
		{"one that is not of all certificates", []*x509.RevocationList{root.list(t, critical)}, "critical extension 2.5.29.28"},
		{"an indirect one", []*x509.RevocationList{root.list(t, indirect)}, "critical extension 2.5.29.29"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			trust := &auth.Trust{Roots: []*x509.Certificate{root.Certificate}, CRLs: c.lists}
			err := trust.Verify([]*x509.Certificate{spoke.Certificate}, identity(t, fqdn), now)
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, auth.ErrFailed) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v; want %q", err, c.want)
			}
		})
	}
}

// TestAListIsLookedAtOnce, and no peer pays for its length again.
func TestAListIsLookedAtOnce(t *testing.T) {
	const fqdn = "spoke1.example.net"
	root := ca(t, nil, "root")
	good, bad := issue(t, root, x509.Certificate{DNSNames: []string{fqdn}}), issue(t, root, x509.Certificate{DNSNames: []string{fqdn}})
	list := root.revoke(t, now.Add(time.Hour), bad)
	trust := &auth.Trust{Roots: []*x509.Certificate{root.Certificate}, CRLs: []*x509.RevocationList{list}}
	trust.Prepare()
	// Who looked again would find no signature that fits, and nothing revoked.
	list.Signature[len(list.Signature)-1] ^= 1
	list.RevokedCertificateEntries = nil
	for range 2 {
		if err := trust.Verify([]*x509.Certificate{good.Certificate}, identity(t, fqdn), now); err != nil {
			t.Error(err)
		}
		if err := trust.Verify([]*x509.Certificate{bad.Certificate}, identity(t, fqdn), now); !errors.Is(err, auth.ErrFailed) || !strings.Contains(err.Error(), "was revoked") {
			t.Errorf("got %v", err)
		}
	}
	if err := trust.Verify([]*x509.Certificate{good.Certificate}, identity(t, fqdn), now.Add(2*time.Hour)); !errors.Is(err, auth.ErrFailed) {
		t.Errorf("its end is looked at each time: %v", err)
	}
}
