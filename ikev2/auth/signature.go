// SPDX-License-Identifier: Apache-2.0

package auth

import (
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that algorithms names
	_ "crypto/sha512"
	"encoding/hex"

	"dmvpn/ikev2/wire"
)

// scheme is how a signature is made.
type scheme int

const (
	schemePSS scheme = iota
	schemePKCS1
	schemeECDSA
	schemeEd25519
)

// algorithm is one AlgorithmIdentifier of RFC 7427, appendix A, or RFC 8420.
type algorithm struct {
	identifier string // DER
	scheme     scheme
	hash       stdcrypto.Hash // 0: the octets themselves are signed
	announced  wire.HashAlgorithm
}

// pss is RSASSA-PSS with one hash for text and mask and a salt of its length, in
// the only encoding that is taken: parameters that differ in anything are a
// signature by another algorithm.
func pss(hash, salt string) string {
	oid := "300d06096086480165030402" + hash + "0500"
	return der("304106092a864886f70d01010a3034a00f" + oid + "a11c301a06092a864886f70d010108" + oid + "a2030201" + salt)
}

func der(text string) string {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// algorithms, the preferred ones of a key first. PKCS #1 v1.5 is verified, for
// strongSwan makes it unless told otherwise, but never made.
var algorithms = []algorithm{
	{pss("01", "20"), schemePSS, stdcrypto.SHA256, wire.HashSHA256},
	{pss("02", "30"), schemePSS, stdcrypto.SHA384, wire.HashSHA384},
	{pss("03", "40"), schemePSS, stdcrypto.SHA512, wire.HashSHA512},
	{der("300a06082a8648ce3d040302"), schemeECDSA, stdcrypto.SHA256, wire.HashSHA256},
	{der("300a06082a8648ce3d040303"), schemeECDSA, stdcrypto.SHA384, wire.HashSHA384},
	{der("300a06082a8648ce3d040304"), schemeECDSA, stdcrypto.SHA512, wire.HashSHA512},
	{der("300506032b6570"), schemeEd25519, 0, wire.HashIdentity},
	{der("300d06092a864886f70d01010b0500"), schemePKCS1, stdcrypto.SHA256, wire.HashSHA256},
	{der("300d06092a864886f70d01010c0500"), schemePKCS1, stdcrypto.SHA384, wire.HashSHA384},
	{der("300d06092a864886f70d01010d0500"), schemePKCS1, stdcrypto.SHA512, wire.HashSHA512},
}

// Hashes is what we announce in SIGNATURE_HASH_ALGORITHMS and verify.
var Hashes = []wire.HashAlgorithm{wire.HashSHA256, wire.HashSHA384, wire.HashSHA512, wire.HashIdentity}

// older are the methods of RFC 4754: a curve, its hash, and r and s of a fixed
// length instead of DER.
var older = map[wire.AuthMethod]struct {
	curve elliptic.Curve
	hash  stdcrypto.Hash
	size  int
}{
	wire.AuthECDSA256: {elliptic.P256(), stdcrypto.SHA256, 32},
	wire.AuthECDSA384: {elliptic.P384(), stdcrypto.SHA384, 48},
	wire.AuthECDSA521: {elliptic.P521(), stdcrypto.SHA512, 66},
}

func digest(h stdcrypto.Hash, octets []byte) []byte {
	if h == 0 {
		return octets
	}
	d := h.New()
	d.Write(octets)
	return d.Sum(nil)
}

// CheckKey says whether a public key is strong enough: RSA of 2048 to 8192 bits
// with an odd exponent above 2^16 (FIPS 186-5), the NIST curves from P-256,
// Ed25519.
func CheckKey(public stdcrypto.PublicKey) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 8192 {
			return failed("RSA key of %d bits, not 2048 to 8192", n)
		}
		if k.E <= 1<<16 || k.E&1 == 0 {
			return failed("RSA exponent %d", k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n != 256 && n != 384 && n != 521 {
			return failed("ECDSA key on %s", k.Curve.Params().Name)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return failed("key of type %T", public)
}
