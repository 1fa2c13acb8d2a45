// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Policy is what both ends of a Pair are configured with.
type Policy struct {
	IKE, ESP     string // as strongSwan writes them; "": the default
	Certificates bool   // ECDSA P-256 with a chain of one; else a group's shared key
	Random       io.Reader
	Change       func(c *sa.Connection) // after everything else; nil: nothing
}

// Epoch is when a Pair's clock begins.
var Epoch = time.Unix(1_700_000_000, 0)

// Key is the shared key.
var Key = []byte("one key for all spokes")

// credentials are what identities prove themselves with.
type credentials struct {
	Policy
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCredentials(p Policy) *credentials {
	c := &credentials{Policy: p}
	if !p.Certificates {
		return c
	}
	c.key = must(ecdsa.GenerateKey(elliptic.P256(), p.Random))
	c.root = c.certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, c.key)
	return c
}

// certificate signs one, by itself without an issuer.
func (c *credentials) certificate(t, issuer *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.SerialNumber = big.NewInt(1)
	t.NotBefore, t.NotAfter = Epoch.Add(-time.Hour), Epoch.Add(20*365*24*time.Hour)
	if issuer == nil {
		issuer = t
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(c.Random, t, issuer, &key.PublicKey, c.key))))
}

// Connection is the policy of one identity, a domain name.
func (c *credentials) connection(name string) *sa.Connection {
	x := &sa.Connection{Name: "tunnel", Local: must(auth.ParseIdentity(name))}
	if c.IKE != "" {
		x.IKE = must(proposal.Parse(wire.ProtocolIKE, c.IKE))
	}
	if c.ESP != "" {
		x.ESP = must(proposal.Parse(wire.ProtocolESP, c.ESP))
	}
	if c.Certificates {
		key := must(ecdsa.GenerateKey(elliptic.P256(), c.Random))
		x.Key = key
		x.Chain = []*x509.Certificate{c.certificate(&x509.Certificate{DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature}, c.root, key)}
		x.Trust = &auth.Trust{Roots: []*x509.Certificate{c.root}}
	} else {
		x.SharedKeys = auth.SharedKeys{{Peer: must(auth.ParsePattern("*")), Key: Key}}
	}
	x.SetDefaults()
	if c.Change != nil {
		c.Change(x)
	}
	return x
}

// must is for what only a mistake in a test makes fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
