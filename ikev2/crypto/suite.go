// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"dmvpn/ikev2/wire"
)

// Suite are the algorithms of an IKE SA or, without PRF, of a Child SA, by their
// transform IDs.
type Suite struct {
	Encryption uint16
	KeyLength  uint16 // bits, of AES; 0 for ChaCha20-Poly1305
	Integrity  uint16 // wire.IntegrityNone with an AEAD
	PRF        uint16
}

const saltSize = 4 // of an AEAD: the end of its key (RFC 5282, RFC 7634, RFC 4106)

// AEAD says whether the encryption brings its own integrity.
func (s Suite) AEAD() bool {
	return s.Encryption == wire.EncryptionAESGCM16 || s.Encryption == wire.EncryptionChaCha20Poly1305
}

// encryptionKey is the length of a key with its salt, in octets.
func (s Suite) encryptionKey() (int, error) {
	switch s.Encryption {
	case wire.EncryptionAESCBC, wire.EncryptionAESGCM16:
		n := int(s.KeyLength) / 8
		if s.KeyLength != 128 && s.KeyLength != 192 && s.KeyLength != 256 {
			return 0, fmt.Errorf("ike: AES with a key of %d bits: %w", s.KeyLength, ErrUnsupported)
		}
		if s.AEAD() {
			n += saltSize
		}
		return n, nil
	case wire.EncryptionChaCha20Poly1305:
		if s.KeyLength != 0 && s.KeyLength != 256 {
			return 0, fmt.Errorf("ike: ChaCha20 with a key of %d bits: %w", s.KeyLength, ErrUnsupported)
		}
		return 32 + saltSize, nil
	}
	return 0, unsupported("encryption algorithm", s.Encryption)
}

// integrity gives the hash of an integrity algorithm, whose size is the length
// of its key, and the length of its check value. An AEAD has neither.
func (s Suite) integrity() (h func() hash.Hash, icv int, err error) {
	if s.AEAD() {
		if s.Integrity != wire.IntegrityNone {
			return nil, 0, fmt.Errorf("ike: integrity algorithm %d beside an AEAD: %w", s.Integrity, ErrUnsupported)
		}
		return nil, 0, nil
	}
	switch s.Integrity {
	case wire.IntegrityHMACSHA256128:
		return sha256.New, 16, nil
	case wire.IntegrityHMACSHA384192:
		return sha512.New384, 24, nil
	case wire.IntegrityHMACSHA512256:
		return sha512.New, 32, nil
	}
	return nil, 0, unsupported("integrity algorithm", s.Integrity)
}

// keySizes gives the lengths of an encryption and an integrity key in octets.
func (s Suite) keySizes() (encryption, integrity int, err error) {
	if encryption, err = s.encryptionKey(); err != nil {
		return 0, 0, err
	}
	h, _, err := s.integrity()
	if err != nil {
		return 0, 0, err
	}
	if h != nil {
		integrity = h().Size()
	}
	return encryption, integrity, nil
}

// Check says whether this package has all of the suite's algorithms; a Child
// SA's suite is checked with child.
func (s Suite) Check(child bool) error {
	if _, _, err := s.keySizes(); err != nil {
		return err
	}
	if child {
		return nil
	}
	_, err := NewPRF(s.PRF)
	return err
}
