// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"hash"
)

// cbc is AES-CBC, and an HMAC over everything in front of the check value
// (RFC 7296, section 3.14): encrypt, then authenticate. So the padding is seen
// only after the check value was good, and tells a forger nothing.
type cbc struct {
	block     cipher.Block
	hash      func() hash.Hash
	integrity []byte
	check     int
}

func newCBC(s Suite, encryption, integrity []byte) (envelope, error) {
	n, m, err := s.keySizes()
	if err != nil {
		return nil, err
	}
	if n != len(encryption) || m != len(integrity) {
		return nil, unsupported("keys for integrity algorithm", s.Integrity)
	}
	h, check, err := s.integrity()
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(encryption)
	return cbc{block, h, integrity, check}, err
}

func (c cbc) sizes() (vector, block, check int) { return aes.BlockSize, aes.BlockSize, c.check }

func (c cbc) mac(b []byte) []byte {
	mac := hmac.New(c.hash, c.integrity)
	mac.Write(b)
	return mac.Sum(nil)[:c.check]
}

func (c cbc) seal(b []byte, at int) {
	vector, end := b[at:at+aes.BlockSize], len(b)-c.check
	text := b[at+aes.BlockSize : end]
	cipher.NewCBCEncrypter(c.block, vector).CryptBlocks(text, text)
	copy(b[end:], c.mac(b[:end]))
}

func (c cbc) open(b []byte, at int) ([]byte, error) {
	end := len(b) - c.check
	// hmac.Equal takes the same time wherever the difference is.
	if !hmac.Equal(c.mac(b[:end]), b[end:]) {
		return nil, ErrIntegrity
	}
	text := make([]byte, end-at-aes.BlockSize)
	cipher.NewCBCDecrypter(c.block, b[at:at+aes.BlockSize]).CryptBlocks(text, b[at+aes.BlockSize:end])
	return text, nil
}
