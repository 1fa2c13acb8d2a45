// SPDX-License-Identifier: Apache-2.0

package auth

import (
	stdcrypto "crypto"
	"crypto/elliptic"
	_ "crypto/sha256" // the hashes that algorithms names
	_ "crypto/sha512"
	"encoding/hex"
	"slices"

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

// pss is RSASSA-PSS with one hash for text and mask and a salt of its length.
// Parameters that differ in anything are a signature by another algorithm.
func pss(hash, salt string) string {
	return der("304106092a864886f70d01010a3034" + pssParameters(hash, salt))
}

// pssWithTrailer is the same as RFC 7427, appendix A.4.3, prints it: with the
// trailer field that DER would leave out, 1 being its default.
func pssWithTrailer(hash, salt string) string {
	return der("304606092a864886f70d01010a3039" + pssParameters(hash, salt) + "a303020101")
}

func pssParameters(hash, salt string) string {
	oid := "300d06096086480165030402" + hash + "0500"
	return "a00f" + oid + "a11c301a06092a864886f70d010108" + oid + "a2030201" + salt
}

func der(text string) string {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// made are the algorithms that we sign with, those of a kind of key from the
// weakest hash to the strongest.
var made = []algorithm{
	{pss("01", "20"), schemePSS, stdcrypto.SHA256, wire.HashSHA256},
	{pss("02", "30"), schemePSS, stdcrypto.SHA384, wire.HashSHA384},
	{pss("03", "40"), schemePSS, stdcrypto.SHA512, wire.HashSHA512},
	{der("300a06082a8648ce3d040302"), schemeECDSA, stdcrypto.SHA256, wire.HashSHA256},
	{der("300a06082a8648ce3d040303"), schemeECDSA, stdcrypto.SHA384, wire.HashSHA384},
	{der("300a06082a8648ce3d040304"), schemeECDSA, stdcrypto.SHA512, wire.HashSHA512},
	{der("300506032b6570"), schemeEd25519, 0, wire.HashIdentity},
}

// taken are those that a peer may sign with: PKCS #1 v1.5 too, which strongSwan
// makes unless told otherwise.
var taken = slices.Concat(made, []algorithm{
	{pssWithTrailer("01", "20"), schemePSS, stdcrypto.SHA256, wire.HashSHA256},
	{pssWithTrailer("02", "30"), schemePSS, stdcrypto.SHA384, wire.HashSHA384},
	{pssWithTrailer("03", "40"), schemePSS, stdcrypto.SHA512, wire.HashSHA512},
	{der("300d06092a864886f70d01010b0500"), schemePKCS1, stdcrypto.SHA256, wire.HashSHA256},
	{der("300d06092a864886f70d01010c0500"), schemePKCS1, stdcrypto.SHA384, wire.HashSHA384},
	{der("300d06092a864886f70d01010d0500"), schemePKCS1, stdcrypto.SHA512, wire.HashSHA512},
})

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
