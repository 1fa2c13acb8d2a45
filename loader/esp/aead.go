// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"crypto/cipher"
	"encoding/binary"
)

// Scratch is the memory of one worker. Its zero value is ready.
type Scratch struct {
	// Newest is set by Open: no packet of the SA with a higher number has come before.
	Newest bool

	nonce      [saltSize + ivSize]byte
	associated [headerSize + 4]byte
	chain      [16]byte
	sum        [64]byte
}

// aead is AES-GCM-16 or ChaCha20-Poly1305. The initialization vector is the sequence
// number in 64 bits, which never repeats under a key.
type aead struct {
	cipher.AEAD
	salt [saltSize]byte
}

func (a *aead) sizes() (vector, block, check int) { return ivSize, alignment, tagSize }

// associate gives what is authenticated and not encrypted: SPI and sequence number, the
// latter whole with ESN (RFC 4106, section 5).
func (s *Scratch) associate(b []byte, number uint64, extended bool) []byte {
	if !extended {
		copy(s.associated[:], b[:headerSize])
		return s.associated[:headerSize]
	}
	copy(s.associated[:4], b)
	binary.BigEndian.PutUint64(s.associated[4:], number)
	return s.associated[:]
}

func (a *aead) nonce(s *Scratch, b []byte) []byte {
	copy(s.nonce[:], a.salt[:])
	copy(s.nonce[saltSize:], b[headerSize:headerSize+ivSize])
	return s.nonce[:]
}

func (a *aead) seal(s *Scratch, b []byte, number uint64, extended bool) {
	binary.BigEndian.PutUint64(b[headerSize:], number)
	text := b[headerSize+ivSize : len(b)-tagSize]
	a.Seal(text[:0], a.nonce(s, b), text, s.associate(b, number, extended))
}

func (a *aead) open(s *Scratch, b []byte, number uint64, extended bool) error {
	text := b[headerSize+ivSize:]
	if _, err := a.Open(text[:0], a.nonce(s, b), text, s.associate(b, number, extended)); err != nil {
		return ErrIntegrity
	}
	return nil
}
