// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // to see it refused
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/wire"
)

// TestBentSignaturesAreRefused: cve-2026-50722-truncate-signed-hash-ikev2 of the
// case list.
func TestBentSignaturesAreRefused(t *testing.T) {
	octets := []byte("what both know")
	for _, key := range []stdcrypto.Signer{ecKey(t, elliptic.P256()), edKey(t), rsaKey(t, 2048)} {
		good, err := auth.Sign(key, auth.Hashes, octets, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		with := func(data []byte) *wire.Authentication {
			return &wire.Authentication{Method: good.Method, Data: data}
		}
		bad := map[string]*wire.Authentication{
			"nothing":                     with(nil),
			"a length past the end":       with([]byte{255, 1}),
			"the identifier alone":        with(good.Data[:1+good.Data[0]]),
			"the last octet cut":          with(good.Data[:len(good.Data)-1]),
			"an octet more":               with(append(append([]byte{}, good.Data...), 0)),
			"another method":              {Method: wire.AuthSharedKey, Data: good.Data},
			"the old RSA method":          {Method: wire.AuthRSA, Data: good.Data},
			"an old ECDSA method":         {Method: wire.AuthECDSA256, Data: good.Data},
			"an identifier cut":           with(append([]byte{good.Data[0] - 1}, append(append([]byte{}, good.Data[1:good.Data[0]]...), good.Data[1+good.Data[0]:]...)...)),
			"SHA-1 with ECDSA":            with(append([]byte{9, 0x30, 7, 6, 5, 0x2a, 0x86, 0x48, 0xce, 0x3d}, good.Data[1+good.Data[0]:]...)),
			"the identifier of another":   with(append([]byte{7, 0x30, 5, 6, 3, 0x2b, 0x65, 0x71}, good.Data[1+good.Data[0]:]...)),
			"zeros for the signature":     with(append(append([]byte{}, good.Data[:1+good.Data[0]]...), make([]byte, 64)...)),
			"the signature with bent end": with(append(append([]byte{}, good.Data[:len(good.Data)-1]...), good.Data[len(good.Data)-1]^1)),
		}
		for name, a := range bad {
			if err := auth.VerifySignature(key.Public(), octets, a); !errors.Is(err, auth.ErrFailed) {
				t.Errorf("%T, %s: %v", key, name, err)
			}
		}
	}
}

// unhex drops blanks, so that DER can be written in its parts.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(text), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signature is AUTH by RFC 7427 with an algorithm identifier.
func signature(t testing.TB, identifier string, octets []byte) *wire.Authentication {
	t.Helper()
	b := unhex(t, identifier)
	return &wire.Authentication{Method: wire.AuthDigitalSignature, Data: slices.Concat([]byte{byte(len(b))}, b, octets)}
}

const (
	pkcs1SHA256 = "300d 0609 2a864886f70d01010b 0500"
	ecdsaSHA256 = "300a 0608 2a8648ce3d040302"
	oidSHA256   = "300d 0609 608648016503040201 0500"
	oidSHA384   = "300d 0609 608648016503040202 0500"
	oidPSS      = "0609 2a864886f70d01010a"
	oidMGF1     = "0609 2a864886f70d010108"
	pssSHA256   = "3041 " + oidPSS + " 3034 a00f" + oidSHA256 + "a11c 301a" + oidMGF1 + oidSHA256 + "a203 020120"
)

// TestPaddingOfRSAIsExact: with a key whose owner makes any padding that he
// likes, and with the cube root of Bleichenbacher (2006), which needs no key.
func TestPaddingOfRSAIsExact(t *testing.T) {
	octets := []byte("what both know")
	sum, sum1 := sha256.Sum256(octets), sha1.Sum(octets)
	key := rsaKey(t, 2048)
	size := key.Size()
	info := func(lengths, parameters string, digest []byte) []byte {
		return slices.Concat(unhex(t, lengths+"0609 608648016503040201"+parameters), digest)
	}
	sha2 := info("3031 300d", "0500 0420", sum[:])
	// pad makes the block: kind, padding of n octets, digest, and zeros to the end.
	pad := func(kind byte, n int, digest []byte) []byte {
		block := slices.Concat([]byte{0, kind}, bytes.Repeat([]byte{0xFF}, n), []byte{0}, digest)
		return append(block, make([]byte, size-len(block))...)
	}
	full := func(digest []byte) []byte { return pad(1, size-3-len(digest), digest) }
	cases := []struct {
		name  string
		block []byte
		good  bool
	}{
		{"as RFC 8017 says", full(sha2), true},
		{"garbage behind the digest", pad(1, 8, sha2), false},
		{"one octet of garbage behind the digest", pad(1, size-4-len(sha2), sha2), false},
		{"padding of one octet", pad(1, 1, sha2), false},
		{"padding for encryption", pad(2, size-3-len(sha2), sha2), false},
		{"no padding type", pad(0, size-3-len(sha2), sha2), false},
		{"parameters left out", full(info("302f 300b", "0420", sum[:])), false},
		{"garbage in the parameters", full(info("303b 3017", "040a00000000000000000000 0420", sum[:])), false},
		{"lengths longer than need be", full(info("3081 31 300d", "0500 0420", sum[:])), false},
		{"the digest cut", full(info("3021 300d", "0500 0410", sum[:16])), false},
		{"the digest cut, its length not", full(info("3031 300d", "0500 0420", sum[:31])), false},
		{"an octet more of digest", full(info("3032 300d", "0500 0421", append(sum[:], 0))), false},
		{"the digest without its algorithm", full(sum[:]), false},
		{"SHA-1", full(slices.Concat(unhex(t, "3021 3009 0605 2b0e03021a 0500 0414"), sum1[:])), false},
	}
	for _, c := range cases {
		raw := new(big.Int).Exp(new(big.Int).SetBytes(c.block), key.D, key.N).FillBytes(make([]byte, size))
		for method, a := range map[string]*wire.Authentication{"RFC 7427": signature(t, pkcs1SHA256, raw), "RFC 7296": {Method: wire.AuthRSA, Data: raw}} {
			if err := auth.VerifySignature(&key.PublicKey, octets, a); (err == nil) != c.good || err != nil && !errors.Is(err, auth.ErrFailed) {
				t.Errorf("%s, %s: %v", c.name, method, err)
			}
		}
	}

	// Without the private key, where the exponent is 3: a block with the digest in
	// front, and whatever makes it a cube behind.
	block := pad(1, 8, sha2)
	for i := len(block) - 1; block[i] == 0; i-- {
		block[i] = 0xFF
	}
	root := cubeRoot(new(big.Int).SetBytes(block))
	cube := new(big.Int).Exp(root, big.NewInt(3), nil).FillBytes(make([]byte, size))
	if !bytes.HasPrefix(cube, slices.Concat(block[:11], sha2)) {
		t.Fatalf("the forgery is none: %x", cube)
	}
	forged := signature(t, pkcs1SHA256, root.FillBytes(make([]byte, size)))
	if err := auth.VerifySignature(&rsa.PublicKey{N: key.N, E: 3}, octets, forged); !errors.Is(err, auth.ErrFailed) {
		t.Errorf("the cube root of Bleichenbacher: %v", err)
	}
}

// cubeRoot is the largest number whose cube is not above n.
func cubeRoot(n *big.Int) *big.Int {
	root := new(big.Int)
	for bit := n.BitLen()/3 + 1; bit >= 0; bit-- {
		root.SetBit(root, bit, 1)
		if new(big.Int).Exp(root, big.NewInt(3), nil).Cmp(n) > 0 {
			root.SetBit(root, bit, 0)
		}
	}
	return root
}

// TestPSSParametersAreExact: cve-2026-50722-truncate-signed-hash-ikev2.
func TestPSSParametersAreExact(t *testing.T) {
	octets := []byte("what both know")
	sum, sum384 := sha256.Sum256(octets), sha512.Sum384(octets)
	key := rsaKey(t, 2048)
	sign := func(hash stdcrypto.Hash, salt int, digest []byte) []byte {
		b, err := rsa.SignPSS(rand.Reader, key, hash, digest, &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := sign(stdcrypto.SHA256, 32, sum[:])
	cases := []struct {
		name, identifier string
		signature        []byte
		good             bool
	}{
		{"as strongSwan writes them", pssSHA256, good, true},
		{"with the trailer, as RFC 7427 prints them", "3046 " + oidPSS + "3039 a00f" + oidSHA256 + "a11c 301a" + oidMGF1 + oidSHA256 + "a203 020120 a303 020101", good, true},
		{"another trailer", "3046 " + oidPSS + "3039 a00f" + oidSHA256 + "a11c 301a" + oidMGF1 + oidSHA256 + "a203 020120 a303 020102", good, false},
		{"no parameters", "300b " + oidPSS, good, false},
		{"NULL for parameters", "300d " + oidPSS + "0500", good, false},
		{"all left to their defaults, which are SHA-1", "300d " + oidPSS + "3000", good, false},
		{"no hash, which is SHA-1", "3030 " + oidPSS + "3023 a11c 301a" + oidMGF1 + oidSHA256 + "a203 020120", good, false},
		{"no mask, which is SHA-1", "3023 " + oidPSS + "3016 a00f" + oidSHA256 + "a203 020120", good, false},
		{"another hash in the mask", "3041 " + oidPSS + " 3034 a00f" + oidSHA256 + "a11c 301a" + oidMGF1 + oidSHA384 + "a203 020120", good, false},
		{"no salt length, which is 20", "303c " + oidPSS + "302f a00f" + oidSHA256 + "a11c 301a" + oidMGF1 + oidSHA256, sign(stdcrypto.SHA256, 20, sum[:]), false},
		{"salt length 20", "3041 " + oidPSS + " 3034 a00f" + oidSHA256 + "a11c 301a" + oidMGF1 + oidSHA256 + "a203 020114", sign(stdcrypto.SHA256, 20, sum[:]), false},
		{"salt length 0", "3041 " + oidPSS + " 3034 a00f" + oidSHA256 + "a11c 301a" + oidMGF1 + oidSHA256 + "a203 020100", sign(stdcrypto.SHA256, 0, sum[:]), false},
		{"a salt that is shorter than said", pssSHA256, sign(stdcrypto.SHA256, 20, sum[:]), false},
		{"no salt", pssSHA256, sign(stdcrypto.SHA256, 0, sum[:]), false},
		{"a salt that is longer than said", pssSHA256, sign(stdcrypto.SHA256, 48, sum[:]), false},
		{"a signature with another hash", pssSHA256, sign(stdcrypto.SHA384, 48, sum384[:]), false},
	}
	for _, c := range cases {
		if err := auth.VerifySignature(&key.PublicKey, octets, signature(t, c.identifier, c.signature)); (err == nil) != c.good || err != nil && !errors.Is(err, auth.ErrFailed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestHashesThatAreShortOrOldAreRefused: the rest of
// cve-2026-50722-truncate-signed-hash-ikev2. Each signature is good for what it
// is.
func TestHashesThatAreShortOrOldAreRefused(t *testing.T) {
	octets := []byte("what both know")
	sum, sum1, sum224 := sha256.Sum256(octets), sha1.Sum(octets), sha256.Sum224(octets)
	ec, rsa2048, ed := ecKey(t, elliptic.P256()), rsaKey(t, 2048), edKey(t)
	ecdsaOf := func(digest []byte) []byte {
		b, err := ecdsa.SignASN1(rand.Reader, ec, digest)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pkcs1 := func(hash stdcrypto.Hash, digest []byte) []byte {
		b, err := rsa.SignPKCS1v15(rand.Reader, rsa2048, hash, digest)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pure, err := ed.Sign(nil, sum[:], stdcrypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		key  stdcrypto.Signer
		auth *wire.Authentication
		good bool
	}{
		{"ECDSA with SHA-256", ec, signature(t, ecdsaSHA256, ecdsaOf(sum[:])), true},
		{"ECDSA, the digest cut to an octet", ec, signature(t, ecdsaSHA256, ecdsaOf(sum[:1])), false},
		{"ECDSA, the digest cut to 20 octets", ec, signature(t, ecdsaSHA256, ecdsaOf(sum[:20])), false},
		{"ECDSA, SHA-1 under the name of SHA-256", ec, signature(t, ecdsaSHA256, ecdsaOf(sum1[:])), false},
		{"ECDSA with SHA-1", ec, signature(t, "3009 0607 2a8648ce3d0401", ecdsaOf(sum1[:])), false},
		{"ECDSA with SHA-224", ec, signature(t, "300a 0608 2a8648ce3d040301", ecdsaOf(sum224[:])), false},
		{"ECDSA, an identifier with parameters", ec, signature(t, "300c 0608 2a8648ce3d040302 0500", ecdsaOf(sum[:])), false},
		{"ECDSA-256 of RFC 4754 in DER", ec, &wire.Authentication{Method: wire.AuthECDSA256, Data: ecdsaOf(sum[:])}, false},
		{"RSA with SHA-256", rsa2048, signature(t, pkcs1SHA256, pkcs1(stdcrypto.SHA256, sum[:])), true},
		{"RSA with SHA-256 by the old method", rsa2048, &wire.Authentication{Method: wire.AuthRSA, Data: pkcs1(stdcrypto.SHA256, sum[:])}, true},
		{"RSA with SHA-1", rsa2048, signature(t, "300d 0609 2a864886f70d010105 0500", pkcs1(stdcrypto.SHA1, sum1[:])), false},
		{"RSA with SHA-1 by the old method", rsa2048, &wire.Authentication{Method: wire.AuthRSA, Data: pkcs1(stdcrypto.SHA1, sum1[:])}, false},
		{"RSA with SHA-1 under the name of SHA-256", rsa2048, signature(t, pkcs1SHA256, pkcs1(stdcrypto.SHA1, sum1[:])), false},
		{"RSA with SHA-224", rsa2048, signature(t, "300d 0609 2a864886f70d01010e 0500", pkcs1(stdcrypto.SHA224, sum224[:])), false},
		{"RSA, an identifier without parameters", rsa2048, signature(t, "300b 0609 2a864886f70d01010b", pkcs1(stdcrypto.SHA256, sum[:])), false},
		{"the old RSA method with an ECDSA key", ec, &wire.Authentication{Method: wire.AuthRSA, Data: ecdsaOf(sum[:])}, false},
		{"Ed25519 over a hash", ed, signature(t, "3005 0603 2b6570", pure), false},
	}
	for _, c := range cases {
		if err := auth.VerifySignature(c.key.Public(), octets, c.auth); (err == nil) != c.good || err != nil && !errors.Is(err, auth.ErrFailed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
