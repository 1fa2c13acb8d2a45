// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"encoding/hex"
	"errors"
	"io"
	"sync"

	"filippo.io/bigmod"
)

var errRange = errors.New("not between 1 and the prime")

// modpMethod is a group of RFC 3526 with generator 2. KE data and the shared
// secret are as long as the prime, zeros in front (RFC 7296, sections 2.14 and
// 3.4). exponent is the length of a private value in octets, RFC 3526's larger
// estimate. The primes are safe: a public value y needs 1 < y < p−1 and nothing
// more (RFC 6989, section 2.1).
func modpMethod(prime string, exponent int) *method {
	size := len(prime) / 2
	// Made when it is first needed: most daemons never use these groups.
	modulus := sync.OnceValue(func() *bigmod.Modulus {
		p, err := hex.DecodeString(prime)
		if err != nil {
			panic(err)
		}
		m, err := bigmod.NewModulus(p)
		if err != nil {
			panic(err)
		}
		return m
	})
	power := func(base *bigmod.Nat, private []byte) []byte {
		m := modulus()
		return bigmod.NewNat().Exp(base, private, m).Bytes(m)
	}
	value := func(peer []byte) (*bigmod.Nat, error) {
		m := modulus()
		y, err := bigmod.NewNat().SetBytes(peer, m)
		if err != nil {
			return nil, err
		}
		if y.IsZero() == 1 || y.IsOne() == 1 || y.IsMinusOne(m) == 1 {
			return nil, errRange
		}
		return y, nil
	}
	return &method{
		initiator: size,
		responder: size,
		generate: func(random io.Reader) (Secret, error) {
			private := make(Secret, exponent)
			_, err := io.ReadFull(random, private)
			return private, err
		},
		public: func(private []byte) ([]byte, error) {
			two := bigmod.NewNat().SetUint(2).ExpandFor(modulus())
			return power(two, private), nil
		},
		check: func(peer []byte) error {
			_, err := value(peer)
			return err
		},
		shared: func(private, peer []byte) (Secret, error) {
			y, err := value(peer)
			if err != nil {
				return nil, err
			}
			return power(y, private), nil
		},
	}
}
