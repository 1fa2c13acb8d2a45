// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"

	"dmvpn/ikev2/wire"
)

// PRF is a pseudorandom function of transform type 2; all of ours are HMACs, so
// that a key may have any length (RFC 7296, section 2.13). The zero value has no
// function; NewPRF makes one.
type PRF struct {
	id   uint16
	hash func() hash.Hash
}

// NewPRF gives the function with a transform ID, or an error that wraps
// ErrUnsupported.
func NewPRF(id uint16) (PRF, error) {
	switch id {
	case wire.PRFHMACSHA256:
		return PRF{id, sha256.New}, nil
	case wire.PRFHMACSHA384:
		return PRF{id, sha512.New384}, nil
	case wire.PRFHMACSHA512:
		return PRF{id, sha512.New}, nil
	}
	return PRF{}, unsupported("pseudorandom function", id)
}

// Size is the length of the output and the preferred length of a key, in octets.
func (p PRF) Size() int { return p.hash().Size() }

// Sum is prf(key, data), the data parts one behind the other.
func (p PRF) Sum(key []byte, data ...[]byte) Secret {
	mac := hmac.New(p.hash, key)
	for _, d := range data {
		mac.Write(d)
	}
	return mac.Sum(nil)
}

// errTooLong: the counter of prf+ is one octet.
var errTooLong = errors.New("ike: prf+ gives no more than 255 blocks")

// Plus is the first n octets of prf+(key, seed) (section 2.13). It fails if n is
// more than 255 times Size.
func (p PRF) Plus(key []byte, n int, seed ...[]byte) (Secret, error) {
	size := p.Size()
	if n > 255*size {
		return nil, errTooLong
	}
	out := make([]byte, 0, n+size)
	var block []byte
	for counter := 1; len(out) < n; counter++ {
		mac := hmac.New(p.hash, key)
		mac.Write(block)
		for _, s := range seed {
			mac.Write(s)
		}
		mac.Write([]byte{byte(counter)})
		out = mac.Sum(out)
		block = out[len(out)-size:]
	}
	clear(out[n:]) // what nobody will use
	return out[:n:n], nil
}
