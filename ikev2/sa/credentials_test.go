// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// signer is a key with its certificate.
type signer struct {
	key  stdcrypto.Signer
	cert *x509.Certificate
}

// edKey is a key that is always the same, and signs always the same.
func edKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// issue makes a certificate, of an authority where by is nil.
func issue(by *signer, key stdcrypto.Signer, name string) *signer {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name)) + 1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	parent, with := template, key
	if by == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	} else {
		template.DNSNames = []string{name}
		parent, with = by.cert, by.key
	}
	der, err := x509.CreateCertificate(bytes.NewReader(make([]byte, 1024)), template, parent, key.Public(), with)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &signer{key, cert}
}

var (
	testCA     = issue(nil, edKey(1), "the authority")
	anotherCA  = issue(nil, edKey(2), "another authority")
	certOfA    = issue(testCA, edKey(3), "a.test")
	certOfB    = issue(testCA, edKey(4), "b.test")
	certOfC    = issue(testCA, edKey(5), "c.test")
	strangersA = issue(anotherCA, edKey(6), "a.test")
)

// proves gives an end a certificate instead of a shared key.
func proves(s *signer) func(c *sa.Connection) {
	return func(c *sa.Connection) {
		c.SharedKeys, c.Key, c.Chain = nil, s.key, []*x509.Certificate{s.cert}
		c.Trust = &auth.Trust{Roots: []*x509.Certificate{testCA.cert}}
	}
}

// certified is a World whose ends have certificates.
func certified() Options {
	return Options{Alone: true, A: proves(certOfA), B: proves(certOfB)}
}

// signedOctets are what A's AUTH in a message is made over.
func signedOctets(w *World, m *Message) []byte {
	requests, responses := w.All("A INIT→"), w.All("B INIT←")
	id, _ := wire.Find[*wire.Identification](m.Payloads)
	nonce, _ := wire.Find[wire.Nonce](responses[len(responses)-1].Payloads)
	prf, err := crypto.NewPRF(wire.PRFHMACSHA256)
	if err != nil {
		panic(err)
	}
	return auth.SignedOctets(prf, requests[len(requests)-1].Packets[0], nonce, m.Keys().Pi, id, nil)
}

// reproved makes A's AUTH in a message anew, with the key that A and B share.
func reproved(w *World, m *Message) {
	prf, err := crypto.NewPRF(wire.PRFHMACSHA256)
	if err != nil {
		panic(err)
	}
	m.Payloads = with(m.Payloads, auth.SignShared(prf, crypto.Secret("between a and b"), signedOctets(w, m)))
}

// ecKey is a key on P-256 that is always the same.
func ecKey(seed byte) *ecdsa.PrivateKey {
	raw := sha256.Sum256([]byte{seed})
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw[:])
	if err != nil {
		panic(err)
	}
	return k
}
