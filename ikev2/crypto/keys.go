// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"slices"

	"dmvpn/ikev2/wire"
)

// Keys are the seven secrets of one IKE SA (RFC 7296, section 2.14). D makes
// further keys, A* protect, E* encrypt (an AEAD's end with the salt), P* go into
// AUTH; i is the direction of the original initiator.
type Keys struct {
	Suite          Suite
	D, Ai, Ar      Secret
	Ei, Er, Pi, Pr Secret
}

// InitialSeed is SKEYSEED of an IKE_SA_INIT exchange: prf(Ni | Nr, g^ir), by the
// function that it negotiated (section 2.14).
func InitialSeed(prf PRF, ni, nr, shared []byte) Secret {
	return prf.Sum(slices.Concat(ni, nr), shared)
}

// FurtherSeed is SKEYSEED of an IKE SA made or strengthened under another:
// rekeyed by CREATE_CHILD_SA (section 2.18), there with the secrets of
// IKE_FOLLOWUP_KE as the further ones, or after an IKE_INTERMEDIATE round with
// its one secret (RFC 9370, sections 2.2.2 and 2.2.4). prf and d are of the SA
// whose exchange it was.
func FurtherSeed(prf PRF, d, ni, nr, shared []byte, further ...[]byte) Secret {
	data := append([][]byte{shared, ni, nr}, further...)
	return prf.Sum(d, data...)
}

// Derive makes the keys of an IKE SA out of SKEYSEED: prf+(SKEYSEED, Ni | Nr |
// SPIi | SPIr), taken in the order d, ai, ar, ei, er, pi, pr (section 2.14).
func (s Suite) Derive(seed, ni, nr []byte, spii, spir wire.SPI) (*Keys, error) {
	prf, err := NewPRF(s.PRF)
	if err != nil {
		return nil, err
	}
	encryption, integrity, err := s.keySizes()
	if err != nil {
		return nil, err
	}
	size := prf.Size()
	all, err := prf.Plus(seed, 3*size+2*encryption+2*integrity, ni, nr, spii[:], spir[:])
	if err != nil {
		return nil, err
	}
	take := func(n int) Secret {
		k := all[:n:n]
		all = all[n:]
		return k
	}
	return &Keys{
		Suite: s,
		D:     take(size),
		Ai:    take(integrity), Ar: take(integrity),
		Ei: take(encryption), Er: take(encryption),
		Pi: take(size), Pr: take(size),
	}, nil
}

// Wipe overwrites all secrets.
func (k *Keys) Wipe() {
	for _, s := range []Secret{k.D, k.Ai, k.Ar, k.Ei, k.Er, k.Pi, k.Pr} {
		s.Wipe()
	}
}

// ChildKeys are the keys of a Child SA: what the initiator of the exchange that
// made it sends with, and what its responder sends with.
type ChildKeys struct {
	Initiator, Responder DirectionKeys
}

// DirectionKeys protect one direction. Encryption of an AEAD ends with its salt;
// Integrity is empty there.
type DirectionKeys struct {
	Encryption, Integrity Secret
}

// Wipe overwrites all secrets.
func (k *ChildKeys) Wipe() {
	for _, s := range []Secret{k.Initiator.Encryption, k.Initiator.Integrity, k.Responder.Encryption, k.Responder.Integrity} {
		s.Wipe()
	}
}

// DeriveChild makes the keys of a Child SA: KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr
// [| further secrets]) (section 2.17; RFC 9370, section 2.2.4), with the nonces
// of the exchange that made it. shared is nil without a key exchange; prf and d
// are the IKE SA's.
func (s Suite) DeriveChild(prf PRF, d, shared, ni, nr []byte, further ...[]byte) (*ChildKeys, error) {
	encryption, integrity, err := s.keySizes()
	if err != nil {
		return nil, err
	}
	seed := append([][]byte{shared, ni, nr}, further...)
	all, err := prf.Plus(d, 2*(encryption+integrity), seed...)
	if err != nil {
		return nil, err
	}
	direction := func() DirectionKeys {
		k := DirectionKeys{Encryption: all[:encryption:encryption], Integrity: all[encryption : encryption+integrity : encryption+integrity]}
		all = all[encryption+integrity:]
		return k
	}
	return &ChildKeys{Initiator: direction(), Responder: direction()}, nil
}
