// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"strings"
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/wire"
)

// point makes a key of any two numbers, which the library would refuse.
func point(curve elliptic.Curve, x, y *big.Int) *ecdsa.PublicKey {
	//lint:ignore SA1019 it must be possible here, for it is in a caller's hands too
	return &ecdsa.PublicKey{Curve: curve, X: x, Y: y}
}

// TestWeakKeysAreRefused by themselves and in a signature.
func TestWeakKeysAreRefused(t *testing.T) {
	modulus, p256 := rsaKey(t, 2048).N, ecKey(t, elliptic.P256())
	raw, err := p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := new(big.Int).SetBytes(raw[1:33]), new(big.Int).SetBytes(raw[33:])
	bad := []struct {
		name string
		key  stdcrypto.PublicKey
		want string
	}{
		{"RSA exponent 1", &rsa.PublicKey{N: modulus, E: 1}, "exponent 1"},
		{"RSA exponent 3", &rsa.PublicKey{N: modulus, E: 3}, "exponent 3"},
		{"RSA exponent 65536", &rsa.PublicKey{N: modulus, E: 1 << 16}, "exponent 65536"},
		{"an even exponent", &rsa.PublicKey{N: modulus, E: 1 << 20}, "exponent 1048576"},
		{"a negative exponent", &rsa.PublicKey{N: modulus, E: -65537}, "exponent -65537"},
		{"an even modulus", &rsa.PublicKey{N: new(big.Int).Lsh(modulus, 1), E: 65537}, "modulus is even"},
		{"RSA of 512 bits", &rsa.PublicKey{N: new(big.Int).Rsh(modulus, 1536), E: 65537}, "512 bits"},
		{"RSA of 1024 bits", &rsa.PublicKey{N: new(big.Int).Rsh(modulus, 1024), E: 65537}, "1024 bits"},
		{"RSA of 2047 bits", &rsa.PublicKey{N: new(big.Int).Rsh(modulus, 1), E: 65537}, "2047 bits"},
		{"RSA of 16384 bits", &rsa.PublicKey{N: new(big.Int).Lsh(modulus, 14336), E: 65537}, "16384 bits"},
		{"the modulus zero", &rsa.PublicKey{N: new(big.Int), E: 65537}, "0 bits"},
		{"ECDSA on P-224", &ecKey(t, elliptic.P224()).PublicKey, "P-224"},
		{"a point that is not on its curve", point(elliptic.P256(), x, new(big.Int).Add(y, big.NewInt(1))), "ECDSA key"},
		{"a point of another curve", point(elliptic.P384(), x, y), "ECDSA key"},
		{"the point at infinity", point(elliptic.P256(), new(big.Int), new(big.Int)), "ECDSA key"},
		{"Ed25519 cut", edKey(t).Public().(ed25519.PublicKey)[:31], "31 octets"},
		{"something else", struct{}{}, "type struct"},
		{"nothing", nil, "type <nil>"},
	}
	for _, c := range bad {
		if err := auth.CheckKey(c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := auth.VerifySignature(c.key, nil, &wire.Authentication{Method: wire.AuthDigitalSignature}); !errors.Is(err, auth.ErrFailed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, good := range []stdcrypto.Signer{rsaKey(t, 2048), p256, ecKey(t, elliptic.P521()), edKey(t)} {
		if err := auth.CheckKey(good.Public()); err != nil {
			t.Errorf("%T: %v", good, err)
		}
	}
}

// TestSmallOrderPointsOfEd25519AreRefused: for each of them there is a message
// under which the standard library takes a signature that nobody made.
func TestSmallOrderPointsOfEd25519AreRefused(t *testing.T) {
	points := [][]byte{
		unhex(t, "0100000000000000000000000000000000000000000000000000000000000000"),
		unhex(t, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
		unhex(t, "0000000000000000000000000000000000000000000000000000000000000000"),
		unhex(t, "0000000000000000000000000000000000000000000000000000000000000080"),
		unhex(t, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
		unhex(t, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
		unhex(t, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
		unhex(t, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
		unhex(t, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
		unhex(t, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
		unhex(t, "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	}
	identity := append(points[0], make([]byte, 32)...) // R is 1, s is 0
	for _, p := range points {
		octets, forged := make([]byte, 8), false
		for i := uint64(0); i < 200 && !forged; i++ {
			binary.BigEndian.PutUint64(octets, i)
			forged = ed25519.Verify(p, octets, identity)
		}
		if !forged {
			t.Errorf("%x: the forgery is none", p)
		}
		if err := auth.VerifySignature(ed25519.PublicKey(p), octets, signature(t, "3005 0603 2b6570", identity)); !errors.Is(err, auth.ErrFailed) || !strings.Contains(err.Error(), "small order") {
			t.Errorf("%x: %v", p, err)
		}
	}
}

// TestCertificatesWithWeakKeysAreRefused: of the peer, of an authority in the
// middle and of the root.
func TestCertificatesWithWeakKeysAreRefused(t *testing.T) {
	const fqdn = "spoke1.example.net"
	tiny, cube := rsaKey(t, 1024), rsaKey(t, 2048)
	cube.E = 3
	leaf := x509.Certificate{DNSNames: []string{fqdn}}
	root := ca(t, nil, "root")
	weakRoot := issueWith(t, nil, authorityTemplate("weak root"), tiny)
	weakMiddle := issueWith(t, root, authorityTemplate("weak middle"), tiny)
	cases := []struct {
		name string
		root *authority
		all  []*authority
		want string
	}{
		{"a tiny modulus", root, []*authority{issueWith(t, root, leaf, tiny)}, "1024 bits"},
		{"exponent 3", root, []*authority{issueWith(t, root, leaf, cube)}, "exponent 3"},
		{"a tiny modulus in the middle", root, []*authority{issue(t, weakMiddle, leaf), weakMiddle}, "1024 bits"},
		{"a tiny modulus at the root", weakRoot, []*authority{issue(t, weakRoot, leaf)}, "1024 bits"},
	}
	for _, c := range cases {
		var all []*x509.Certificate
		for _, a := range c.all {
			all = append(all, a.Certificate)
		}
		trust := &auth.Trust{Roots: []*x509.Certificate{c.root.Certificate}}
		if err := trust.Verify(all, identity(t, fqdn), now); !errors.Is(err, auth.ErrFailed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A point beside its curve does not even parse.
	raw := issue(t, root, leaf).Raw
	key := issue(t, root, leaf).RawSubjectPublicKeyInfo
	raw = append([]byte{}, raw...)
	spki := strings.Index(string(raw), string(key[:26]))
	raw[spki+len(key)-1] ^= 1
	payloads := []wire.Payload{&wire.Certificate{Encoding: wire.CertificateX509, Data: raw}}
	if _, err := auth.Certificates(payloads); !errors.Is(err, auth.ErrFailed) || !strings.Contains(err.Error(), "not on curve") {
		t.Errorf("a point that is not on its curve: %v", err)
	}
}
