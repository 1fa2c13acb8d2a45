// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/hmac"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// keyPad keeps a shared key out of reach of what the protocol computes
// (section 2.15).
var keyPad = []byte("Key Pad for IKEv2")

// SignShared makes AUTH with a shared key.
func SignShared(prf crypto.PRF, key crypto.Secret, octets []byte) *wire.Authentication {
	padded := prf.Sum(key, keyPad)
	defer padded.Wipe()
	return &wire.Authentication{Method: wire.AuthSharedKey, Data: prf.Sum(padded, octets)}
}

// VerifyShared checks AUTH made with a shared key, in constant time.
func VerifyShared(prf crypto.PRF, key crypto.Secret, octets []byte, a *wire.Authentication) error {
	if a.Method != wire.AuthSharedKey {
		return failed("%s where a shared key was expected", a.Method)
	}
	if want := SignShared(prf, key, octets); !hmac.Equal(want.Data, a.Data) {
		return failed("the shared keys differ")
	}
	return nil
}

// SharedKey is one key and who may use it.
type SharedKey struct {
	// Peer is the identity that must use it, or a pattern of several that share
	// it (see Pattern), each of which then proves no more than membership.
	Peer Pattern
	Key  crypto.Secret
}

// SharedKeys are looked up by the peer's identity.
type SharedKeys []SharedKey

// Find gives the key of a peer: that of its own identity, else that of the first
// pattern that fits. group says that others may have the key too. The error for
// an unknown identity is ErrFailed like any other; to hide which identities there
// are, the caller still verifies AUTH, with a key that nobody has.
func (s SharedKeys) Find(peer Identity) (key crypto.Secret, group bool, err error) {
	for _, exact := range []bool{true, false} {
		for _, k := range s {
			if k.Peer.Group() != exact && k.Peer.Matches(peer) {
				return k.Key, !exact, nil
			}
		}
	}
	return nil, false, failed("no shared key for %s", peer)
}
