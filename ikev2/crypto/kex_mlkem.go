// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"crypto/mlkem"
	"io"
)

// The ML-KEM methods (FIPS 203; draft-ietf-ipsecme-ikev2-mlkem): the initiator
// sends an encapsulation key, the responder the ciphertext. A private value is
// the seed of 64 octets. A key that fails FIPS 203's check is refused; a bent
// ciphertext gives another secret, and AUTH fails.

func mlkem768Method() *method {
	return &method{
		initiator: mlkem.EncapsulationKeySize768,
		responder: mlkem.CiphertextSize768,
		generate:  mlkemSeed,
		public: func(private []byte) ([]byte, error) {
			k, err := mlkem.NewDecapsulationKey768(private)
			if err != nil {
				return nil, err
			}
			return k.EncapsulationKey().Bytes(), nil
		},
		shared: func(private, peer []byte) (Secret, error) {
			k, err := mlkem.NewDecapsulationKey768(private)
			if err != nil {
				return nil, err
			}
			return k.Decapsulate(peer)
		},
		encapsulate: func(peer []byte) ([]byte, Secret, error) {
			k, err := mlkem.NewEncapsulationKey768(peer)
			if err != nil {
				return nil, nil, err
			}
			shared, ciphertext := k.Encapsulate()
			return ciphertext, shared, nil
		},
	}
}

func mlkem1024Method() *method {
	return &method{
		initiator: mlkem.EncapsulationKeySize1024,
		responder: mlkem.CiphertextSize1024,
		generate:  mlkemSeed,
		public: func(private []byte) ([]byte, error) {
			k, err := mlkem.NewDecapsulationKey1024(private)
			if err != nil {
				return nil, err
			}
			return k.EncapsulationKey().Bytes(), nil
		},
		shared: func(private, peer []byte) (Secret, error) {
			k, err := mlkem.NewDecapsulationKey1024(private)
			if err != nil {
				return nil, err
			}
			return k.Decapsulate(peer)
		},
		encapsulate: func(peer []byte) ([]byte, Secret, error) {
			k, err := mlkem.NewEncapsulationKey1024(peer)
			if err != nil {
				return nil, nil, err
			}
			shared, ciphertext := k.Encapsulate()
			return ciphertext, shared, nil
		},
	}
}

func mlkemSeed(random io.Reader) (Secret, error) {
	seed := make(Secret, mlkem.SeedSize)
	_, err := io.ReadFull(random, seed)
	return seed, err
}
