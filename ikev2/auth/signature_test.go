// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/iketest/wycheproof"
	"dmvpn/ikev2/wire"
)

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignaturesOfEveryKind(t *testing.T) {
	all := auth.Hashes
	sha2 := func(h wire.HashAlgorithm) []wire.HashAlgorithm { return []wire.HashAlgorithm{wire.HashSHA1, h} }
	p256, p384, p521, ed, rsa2048 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521()), edKey(t), rsaKey(t, 2048)
	cases := []struct {
		name   string
		key    stdcrypto.Signer
		hashes []wire.HashAlgorithm
		want   string // method and algorithm identifier, "" if none can be made
	}{
		{"P-256", p256, all, "digital signature 300a06082a8648ce3d040302"},
		{"P-384", p384, all, "digital signature 300a06082a8648ce3d040303"},
		{"P-521", p521, all, "digital signature 300a06082a8648ce3d040304"},
		{"P-384, and the peer knows SHA-256 alone", p384, sha2(wire.HashSHA256), "digital signature 300a06082a8648ce3d040302"},
		{"Ed25519", ed, all, "digital signature 300506032b6570"},
		{"RSA is PSS with SHA-256", rsa2048, all, "digital signature 304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"},
		{"RSA with SHA-512 if the peer knows nothing else", rsa2048, sha2(wire.HashSHA512), "digital signature 304106092a864886f70d01010a3034a00f300d06096086480165030402030500a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140"},
		{"P-256 without RFC 7427", p256, nil, "ECDSA-256 "},
		{"P-384 without RFC 7427", p384, nil, "ECDSA-384 "},
		{"P-521 without RFC 7427", p521, nil, "ECDSA-521 "},
		{"SHA-1 alone", p256, []wire.HashAlgorithm{wire.HashSHA1}, ""},
		{"Ed25519 where the peer does not know it", ed, sha2(wire.HashSHA256), ""},
		{"Ed25519 without RFC 7427", ed, nil, ""},
		{"RSA without RFC 7427, which would be SHA-1", rsa2048, nil, ""},
	}
	octets := []byte("what both know")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, err := auth.Sign(c.key, c.hashes, octets, rand.Reader)
			if c.want == "" {
				if err == nil {
					t.Errorf("signed as %s", a)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			identifier := []byte{}
			if a.Method == wire.AuthDigitalSignature {
				identifier = a.Data[1 : 1+a.Data[0]]
			}
			if got := fmt.Sprintf("%s %x", a.Method, identifier); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			if err := auth.VerifySignature(c.key.Public(), octets, a); err != nil {
				t.Error(err)
			}
			if err := auth.VerifySignature(c.key.Public(), []byte("something else"), a); !errors.Is(err, auth.ErrFailed) {
				t.Errorf("other octets: %v", err)
			}
			for _, other := range []stdcrypto.Signer{ecKey(t, elliptic.P256()), ed, rsa2048, p384} {
				if fmt.Sprint(other.Public()) == fmt.Sprint(c.key.Public()) {
					continue
				}
				if err := auth.VerifySignature(other.Public(), octets, a); !errors.Is(err, auth.ErrFailed) {
					t.Errorf("key %T: %v", other, err)
				}
			}
		})
	}
}

func TestWycheproofSignatures(t *testing.T) {
	pss := "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
	for name, identifier := range map[string]string{
		"ecdsa_secp256r1_sha256":      "300a06082a8648ce3d040302",
		"ecdsa_secp384r1_sha384":      "300a06082a8648ce3d040303",
		"ed25519":                     "300506032b6570",
		"rsa_pss_2048_sha256_mgf1_32": pss,
	} {
		var file struct {
			TestGroups []struct {
				PublicKeyDer iketest.Hex
				Tests        []struct {
					ID       int `json:"tcId"`
					Comment  string
					Msg, Sig iketest.Hex
					Result   string
				}
			}
		}
		if err := wycheproof.Read(name, &file); err != nil {
			t.Fatal(err)
		}
		var prefix iketest.Hex
		if err := prefix.UnmarshalText([]byte(identifier)); err != nil {
			t.Fatal(err)
		}
		prefix = append(iketest.Hex{byte(len(prefix))}, prefix...)
		run := 0
		for _, g := range file.TestGroups {
			key, err := x509.ParsePKIXPublicKey(g.PublicKeyDer)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, v := range g.Tests {
				run++
				a := &wire.Authentication{Method: wire.AuthDigitalSignature, Data: append(append([]byte{}, prefix...), v.Sig...)}
				if err := auth.VerifySignature(key, v.Msg, a); (err == nil) != (v.Result == "valid") {
					t.Errorf("%s %d (%s): %v, should be %s", name, v.ID, v.Comment, err, v.Result)
				}
			}
		}
		if run < 100 {
			t.Errorf("%s: only %d tests", name, run)
		}
	}
}
