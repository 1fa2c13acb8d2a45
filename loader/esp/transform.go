// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// Algorithm is the encryption of an SA.
type Algorithm uint8

// The algorithms. AES keys have 128, 192 or 256 bits by their length.
const (
	AESGCM16 Algorithm = iota + 1
	ChaCha20Poly1305
	AESCBC
)

func (a Algorithm) String() string {
	switch a {
	case AESGCM16:
		return "AES_GCM_16"
	case ChaCha20Poly1305:
		return "CHACHA20_POLY1305"
	case AESCBC:
		return "AES_CBC"
	}
	return fmt.Sprintf("algorithm %d", uint8(a))
}

// Integrity is the HMAC of an SA with AESCBC; the others bring their own.
type Integrity uint8

// The HMACs, cut to half their length (RFC 4868).
const (
	IntegrityNone Integrity = iota
	HMACSHA256
	HMACSHA384
	HMACSHA512
)

// Transform is how an SA protects packets, with its keys.
type Transform struct {
	Algorithm    Algorithm
	Integrity    Integrity
	Key          []byte // with the salt of 4 octets behind it but for AESCBC
	IntegrityKey []byte // of AESCBC
}

var errTransform = errors.New("esp: no such transform")

// protection seals and opens what lies between the ESP header and the end, in place.
type protection interface {
	// sizes gives the octets of the initialization vector, the block that text with
	// trailer fills up, and the check value.
	sizes() (vector, block, check int)
	// seal protects b, which is header, vector, text with trailer, and room for the check
	// value. number is used once with this key.
	seal(s *Scratch, b []byte, number uint64, extended bool)
	// open verifies b whole, and then decrypts the text in place.
	open(s *Scratch, b []byte, number uint64, extended bool) error
}

// newProtection copies the keys.
func newProtection(t Transform) (protection, error) {
	switch t.Algorithm {
	case AESGCM16:
		key, salt, err := split(t)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("esp: %s: %w", t.Algorithm, err)
		}
		g, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("esp: %s: %w", t.Algorithm, err)
		}
		return &aead{g, salt}, nil
	case ChaCha20Poly1305:
		key, salt, err := split(t)
		if err != nil {
			return nil, err
		}
		c, err := chacha20poly1305.New(key)
		if err != nil {
			return nil, fmt.Errorf("esp: %s: %w", t.Algorithm, err)
		}
		return &aead{c, salt}, nil
	case AESCBC:
		return newCBC(t)
	}
	return nil, fmt.Errorf("%w: %s", errTransform, t.Algorithm)
}

func split(t Transform) (key []byte, salt [saltSize]byte, err error) {
	n := len(t.Key) - saltSize
	if n <= 0 || t.Integrity != IntegrityNone || len(t.IntegrityKey) != 0 {
		return nil, salt, fmt.Errorf("%w: %s with a key of %d octets and integrity %d", errTransform, t.Algorithm, len(t.Key), t.Integrity)
	}
	copy(salt[:], t.Key[n:])
	return t.Key[:n], salt, nil
}

func (i Integrity) hash() (func() hash.Hash, int, error) {
	switch i {
	case HMACSHA256:
		return sha256.New, sha256.Size, nil
	case HMACSHA384:
		return sha512.New384, sha512.Size384, nil
	case HMACSHA512:
		return sha512.New, sha512.Size, nil
	}
	return nil, 0, fmt.Errorf("%w: %s with integrity %d", errTransform, AESCBC, i)
}
