// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"crypto/aes"
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"

	"dmvpn/ikev2/wire"
)

// aead is AES-GCM-16 (RFC 5282) or ChaCha20-Poly1305 (RFC 7634). The nonce is
// salt and vector; associated data reach from the IKE header through the header
// of SK or SKF, the fragment's numbers with it (RFC 7383, section 2.5).
type aead struct {
	cipher.AEAD
	salt []byte
}

func newAEAD(s Suite, key []byte) (envelope, error) {
	n := len(key) - saltSize
	if want, err := s.encryptionKey(); err != nil || want != len(key) {
		return nil, unsupported("key for encryption algorithm", s.Encryption)
	}
	if s.Encryption == wire.EncryptionChaCha20Poly1305 {
		c, err := chacha20poly1305.New(key[:n])
		return aead{c, key[n:]}, err
	}
	block, err := aes.NewCipher(key[:n])
	if err != nil {
		return nil, err
	}
	c, err := cipher.NewGCM(block)
	return aead{c, key[n:]}, err
}

const aeadVector = 8

func (a aead) sizes() (vector, block, check int) { return aeadVector, 1, a.Overhead() }

func (a aead) nonce(b []byte, at int) []byte {
	return append(append(make([]byte, 0, a.NonceSize()), a.salt...), b[at:at+aeadVector]...)
}

func (a aead) seal(b []byte, at int) {
	text := b[at+aeadVector : len(b)-a.Overhead()]
	a.Seal(text[:0], a.nonce(b, at), text, b[:at])
}

func (a aead) open(b []byte, at int) ([]byte, error) {
	text, err := a.Open(nil, a.nonce(b, at), b[at+aeadVector:], b[:at])
	if err != nil {
		return nil, ErrIntegrity
	}
	return text, nil
}
