// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"crypto/ecdh"
	"errors"
	"io"
)

// uncompressed is the mark in front of a point that IKE leaves out (RFC 5903,
// section 7).
const uncompressed = 4

func p256Method() *method { return nistMethod(ecdh.P256(), 32, 0xFF) }
func p384Method() *method { return nistMethod(ecdh.P384(), 48, 0xFF) }
func p521Method() *method { return nistMethod(ecdh.P521(), 66, 0x01) }

// nistMethod is RFC 5903: the KE data are x and y, size octets each, and the
// shared secret is the common point's x. Points that are not on the curve are
// refused (RFC 6989, section 2.3). top masks a private value's first octet.
func nistMethod(curve ecdh.Curve, size int, top byte) *method {
	point := func(peer []byte) []byte { return append([]byte{uncompressed}, peer...) }
	return &method{
		initiator: 2 * size,
		responder: 2 * size,
		check: func(peer []byte) error {
			_, err := curve.NewPublicKey(point(peer))
			return err
		},
		generate: func(random io.Reader) (Secret, error) {
			private := make(Secret, size)
			// All but about one in 2^32 draws are below the order at once.
			for range 16 {
				if _, err := io.ReadFull(random, private); err != nil {
					return nil, err
				}
				private[0] &= top
				if _, err := curve.NewPrivateKey(private); err == nil {
					return private, nil
				}
			}
			return nil, errors.New("the source of randomness is broken")
		},
		public: func(private []byte) ([]byte, error) {
			k, err := curve.NewPrivateKey(private)
			if err != nil {
				return nil, err
			}
			return k.PublicKey().Bytes()[1:], nil
		},
		shared: func(private, peer []byte) (Secret, error) {
			_, shared, err := diffieHellman(curve, private, point(peer))
			return shared, err
		},
		both: func(private, peer []byte) ([]byte, Secret, error) {
			data, shared, err := diffieHellman(curve, private, point(peer))
			if err != nil {
				return nil, nil, err
			}
			return data[1:], shared, nil
		},
	}
}

// x25519Method is RFC 8031. An all-zero secret, which small-order points make,
// is refused by the standard library.
func x25519Method() *method {
	curve := ecdh.X25519()
	return &method{
		initiator: 32,
		responder: 32,
		generate: func(random io.Reader) (Secret, error) {
			private := make(Secret, 32)
			_, err := io.ReadFull(random, private)
			return private, err
		},
		public: func(private []byte) ([]byte, error) {
			k, err := curve.NewPrivateKey(private)
			if err != nil {
				return nil, err
			}
			return k.PublicKey().Bytes(), nil
		},
		shared: func(private, peer []byte) (Secret, error) {
			_, shared, err := diffieHellman(curve, private, peer)
			return shared, err
		},
		both: func(private, peer []byte) ([]byte, Secret, error) { return diffieHellman(curve, private, peer) },
	}
}

// diffieHellman gives our own public value with the secret: making the private key has
// computed it anyway.
func diffieHellman(curve ecdh.Curve, private, peer []byte) (data []byte, shared Secret, err error) {
	p, err := curve.NewPublicKey(peer)
	if err != nil {
		return nil, nil, err
	}
	k, err := curve.NewPrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	if shared, err = k.ECDH(p); err != nil {
		return nil, nil, err
	}
	return k.PublicKey().Bytes(), shared, nil
}
