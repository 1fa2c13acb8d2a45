// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
)

// cbc is AES-CBC with an HMAC over header, vector and text (RFC 3602, 4868), for
// peers that have nothing better.
type cbc struct {
	block cipher.Block
	check int
	macs  sync.Pool // of hash.Hash: a worker takes one for a packet
}

func newCBC(t Transform) (*cbc, error) {
	block, err := aes.NewCipher(t.Key)
	if err != nil {
		return nil, fmt.Errorf("esp: %s: %w", t.Algorithm, err)
	}
	h, size, err := t.Integrity.hash()
	if err != nil {
		return nil, err
	}
	if len(t.IntegrityKey) != size {
		return nil, fmt.Errorf("%w: HMAC with a key of %d octets, not %d", errTransform, len(t.IntegrityKey), size)
	}
	key := append([]byte(nil), t.IntegrityKey...)
	return &cbc{block: block, check: size / 2, macs: sync.Pool{New: func() any { return hmac.New(h, key) }}}, nil
}

func (c *cbc) sizes() (vector, block, check int) { return aes.BlockSize, aes.BlockSize, c.check }

// sum gives the check value of b without its own place.
func (c *cbc) sum(s *Scratch, b []byte, number uint64, extended bool) []byte {
	m := c.macs.Get().(hash.Hash)
	m.Reset()
	m.Write(b)
	if extended { // the high half stands behind everything (RFC 4303, section 3.3.2.1)
		binary.BigEndian.PutUint32(s.associated[:], uint32(number>>32))
		m.Write(s.associated[:4])
	}
	sum := m.Sum(s.sum[:0])
	c.macs.Put(m)
	return sum[:c.check]
}

// seal makes the vector by encrypting the number, which nobody can foresee (NIST SP
// 800-38A, appendix C).
func (c *cbc) seal(s *Scratch, b []byte, number uint64, extended bool) {
	end := len(b) - c.check
	vector := b[headerSize : headerSize+aes.BlockSize]
	clear(vector)
	binary.BigEndian.PutUint64(vector[8:], number)
	c.block.Encrypt(vector, vector)
	for at := headerSize + aes.BlockSize; at < end; at += aes.BlockSize {
		block := b[at : at+aes.BlockSize]
		subtle.XORBytes(block, block, vector)
		c.block.Encrypt(block, block)
		vector = block
	}
	copy(b[end:], c.sum(s, b[:end], number, extended))
}

func (c *cbc) open(s *Scratch, b []byte, number uint64, extended bool) error {
	end := len(b) - c.check
	if !hmac.Equal(c.sum(s, b[:end], number, extended), b[end:]) {
		return ErrIntegrity
	}
	// From the end to the front: each block needs the one before it as it came.
	for at := end - aes.BlockSize; at >= headerSize+aes.BlockSize; at -= aes.BlockSize {
		block := b[at : at+aes.BlockSize]
		c.block.Decrypt(s.chain[:], block)
		subtle.XORBytes(block, s.chain[:], b[at-aes.BlockSize:at])
	}
	return nil
}
