// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A pki is a certificate authority and the certificates of both ends, as PEM.
type pki struct {
	authority     []byte
	intermediates []byte // "chain" has two, each signed by the one above it
	leaves, keys  map[string][]byte
}

var pkis struct {
	sync.Mutex
	made map[string]*pki
}

// certificates gives the pki of a kind of key; it is made once in a run.
func certificates(kind string) (*pki, error) {
	pkis.Lock()
	defer pkis.Unlock()
	if p := pkis.made[kind]; p != nil {
		return p, nil
	}
	p, err := newPKI(kind)
	if err != nil {
		return nil, fmt.Errorf("certificates of %s: %w", kind, err)
	}
	if pkis.made == nil {
		pkis.made = map[string]*pki{}
	}
	pkis.made[kind] = p
	return p, nil
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "rsa", "rsa-pss", "chain":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("no such kind of key")
}

// signer is a key with its certificate.
type signer struct {
	key         crypto.Signer
	certificate *x509.Certificate
}

func newPKI(kind string) (*pki, error) {
	p := &pki{leaves: map[string][]byte{}, keys: map[string][]byte{}}
	above, err := issue(kind, "Interop CA", nil, true)
	if err != nil {
		return nil, err
	}
	p.authority = certificatePEM(above)
	if kind == "chain" {
		for _, name := range []string{"Interop regional CA", "Interop site CA"} {
			if above, err = issue(kind, name, above, true); err != nil {
				return nil, err
			}
			p.intermediates = append(certificatePEM(above), p.intermediates...)
		}
	}
	for _, name := range []string{firstName, secondName} {
		leaf, err := issue(kind, name, above, false)
		if err != nil {
			return nil, err
		}
		key, err := x509.MarshalPKCS8PrivateKey(leaf.key)
		if err != nil {
			return nil, err
		}
		p.leaves[name] = certificatePEM(leaf)
		p.keys[name] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	}
	return p, nil
}

// issue makes a key and a certificate for it, signed by above, or by itself.
func issue(kind, name string, above *signer, authority bool) (*signer, error) {
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"DMVPN interop"}, CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		BasicConstraintsValid: true, IsCA: authority, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if authority {
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else {
		template.DNSNames = []string{name}
	}
	if above == nil {
		above = &signer{key, template}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, above.certificate, key.Public(), above.key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(raw)
	return &signer{key, certificate}, err
}

func certificatePEM(s *signer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate.Raw})
}

// writeFiles writes files beneath a folder, and makes the folders in between.
func writeFiles(folder string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
