// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
)

// LoadKey reads the one private key of a PEM file: PKCS #8, PKCS #1 (RSA) or
// SEC 1 (EC), not encrypted. Files that others can read, and keys that
// auth.CheckKey refuses, are errors. Every error names the file and the remedy;
// none has anything of its content.
func LoadKey(path string) (stdcrypto.Signer, error) {
	raw, err := readSecret("key file", path)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	var key stdcrypto.Signer
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		found, err := parseKey(path, block)
		clear(block.Bytes)
		switch {
		case err != nil:
			return nil, err
		case found != nil && key != nil:
			return nil, fmt.Errorf("ike: key file %s has more than one key: leave the one of our own certificate", path)
		case found != nil:
			key = found
		}
	}
	if key == nil {
		return nil, fmt.Errorf("ike: key file %s has no private key in PEM: openssl pkey -in OLD -out %s", path, path)
	}
	if err := auth.CheckKey(key.Public()); err != nil {
		return nil, fmt.Errorf("ike: key file %s: %w: make a new one, openssl genpkey -algorithm ed25519", path, err)
	}
	return key, nil
}

// parseKey gives nil for blocks that have no key, such as certificates and the
// parameters that openssl writes in front of an EC key.
func parseKey(path string, block *pem.Block) (stdcrypto.Signer, error) {
	decrypt := fmt.Errorf("ike: key file %s is encrypted, and nobody is there to be asked: openssl pkey -in %s -out NEW, and let nobody else read it", path, path)
	if block.Headers["DEK-Info"] != "" {
		return nil, decrypt
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, decrypt
	case "OPENSSH PRIVATE KEY":
		return nil, fmt.Errorf("ike: key file %s is in OpenSSH's format: openssl genpkey makes one for certificates", path)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ike: key file %s: %w: check it with openssl pkey -in %s -noout -check", path, err, path)
	}
	signer, ok := key.(stdcrypto.Signer)
	if !ok {
		return nil, fmt.Errorf("ike: key file %s: a %T cannot sign: use ECDSA, Ed25519 or RSA", path, key)
	}
	return signer, nil
}

// LoadCertificates reads our own certificate and, behind it, those that lead to
// an authority's, from a PEM file. A root in it does no harm.
func LoadCertificates(path string) ([]*x509.Certificate, error) {
	all, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	if all[0].IsCA {
		return nil, fmt.Errorf("ike: certificate file %s begins with the certificate of authority %q: put our own first", path, all[0].Subject)
	}
	if len(all) > auth.MaxCertificates {
		return nil, fmt.Errorf("ike: certificate file %s has %d certificates, peers take %d: leave out what does not lead to the root", path, len(all), auth.MaxCertificates)
	}
	return all, nil
}

// LoadOwn reads what we prove the identity id with, and sees that it belongs
// together and that a peer would take it at the time now: better an error here
// than AUTHENTICATION_FAILED from far away.
func LoadOwn(certificates, key string, id auth.Identity, now time.Time) ([]*x509.Certificate, stdcrypto.Signer, error) {
	chain, err := LoadCertificates(certificates)
	if err != nil {
		return nil, nil, err
	}
	signer, err := LoadKey(key)
	if err != nil {
		return nil, nil, err
	}
	if p, ok := chain[0].PublicKey.(interface {
		Equal(stdcrypto.PublicKey) bool
	}); !ok || !p.Equal(signer.Public()) {
		return nil, nil, fmt.Errorf("ike: key file %s is not of the first certificate in %s: name the file that the request was made with", key, certificates)
	}
	if err := auth.CheckCertificate(chain[0], id, now); err != nil {
		return nil, nil, fmt.Errorf("ike: certificate file %s: %w: have it issued again, or set the identity that it has", certificates, err)
	}
	return chain, signer, nil
}

// LoadSharedKey reads a shared key from a file that others cannot read: one line,
// as it is, or behind 0x in hexadecimal, or behind 0s in base64, as strongSwan
// has it.
func LoadSharedKey(path string) (crypto.Secret, error) {
	raw, err := readSecret("shared key file", path)
	if err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	if len(line) == 0 || bytes.ContainsAny(line, "\x00\r\n") {
		return nil, fmt.Errorf("ike: shared key file %s: not one line of text: head -c 32 /dev/urandom | base64 -w0 makes one", path)
	}
	var key []byte
	switch {
	case bytes.HasPrefix(line, []byte("0x")):
		key, err = hex.DecodeString(string(line[2:]))
	case bytes.HasPrefix(line, []byte("0s")):
		key, err = base64.StdEncoding.DecodeString(string(line[2:]))
	default:
		return line, nil
	}
	clear(raw)
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("ike: shared key file %s: what follows 0x is not hexadecimal, or what follows 0s is not base64", path)
	}
	return key, nil
}
