// SPDX-License-Identifier: Apache-2.0

package auth

import (
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"slices"
)

// CheckKey says whether a public key is strong enough, a peer's or our own: RSA of
// 2048 to 8192 bits with an odd exponent above 2^16 (FIPS 186-5), a point on one
// of the NIST curves from P-256, Ed25519 with a point of full order. The error
// names what is wrong; it does not wrap ErrFailed.
func CheckKey(public stdcrypto.PublicKey) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 8192 {
			return fmt.Errorf("RSA key of %d bits, not 2048 to 8192", n)
		}
		if k.N.Bit(0) == 0 {
			return fmt.Errorf("RSA modulus is even")
		}
		if k.E <= 1<<16 || k.E&1 == 0 {
			return fmt.Errorf("RSA exponent %d, not odd and above 65536", k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n != 256 && n != 384 && n != 521 {
			return fmt.Errorf("ECDSA key on %s, not P-256, P-384 or P-521", k.Curve.Params().Name)
		}
		if _, err := k.ECDH(); err != nil {
			return fmt.Errorf("ECDSA key: %w", err)
		}
		return nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("Ed25519 key of %d octets", len(k))
		}
		if smallOrder(k) {
			return fmt.Errorf("Ed25519 key is a point of small order, under which anybody can sign")
		}
		return nil
	}
	return fmt.Errorf("key of type %T: use ECDSA, Ed25519 or RSA", public)
}

// lowPoints are the second coordinates of the eight points of Ed25519 whose order
// divides 8, and the two encodings above the prime that decode to one of them.
// The verification of RFC 8032 takes such a key, and a signature of zeros under
// it for some messages or for all.
var lowPoints = []string{
	der("0000000000000000000000000000000000000000000000000000000000000000"), // order 4
	der("0100000000000000000000000000000000000000000000000000000000000000"), // 1
	der("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), // 2
	der("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), // 8
	der("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), // 8
	der("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), // the prime: 4
	der("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), // the prime and 1: 1
}

// smallOrder compares without the sign of the first coordinate.
func smallOrder(k ed25519.PublicKey) bool {
	y := slices.Clone(k)
	y[31] &= 0x7F
	return slices.Contains(lowPoints, string(y))
}
