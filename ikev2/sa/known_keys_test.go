// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/mlkem"
	"encoding/binary"
	"hash"
	"slices"
	"testing"
)

// knownSuite is AES-GCM with a PRF.
type knownSuite struct {
	hash func() hash.Hash
	key  int // octets, with the salt
}

func (s knownSuite) prf(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(s.hash, key)
	mac.Write(bytes.Join(parts, nil))
	return mac.Sum(nil)
}

// plus is prf+ (RFC 7296, section 2.13): T1 = prf(K, S | 1), T2 = prf(K, T1 | S | 2), …
func (s knownSuite) plus(n int, key []byte, parts ...[]byte) (all []byte) {
	seed := bytes.Join(parts, nil)
	var t []byte
	for i := byte(1); len(all) < n; i++ {
		t = s.prf(key, t, seed, []byte{i})
		all = append(all, t...)
	}
	return all[:n]
}

// knownKeys are SK_d, SK_ei, SK_er, SK_pi and SK_pr; AES-GCM has no SK_a.
type knownKeys struct{ d, ei, er, pi, pr []byte }

// keys is {SK_d | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)
// (section 2.14).
func (s knownSuite) keys(skeyseed, ni, nr, spii, spir []byte) *knownKeys {
	n := s.hash().Size()
	b := s.plus(3*n+2*s.key, skeyseed, ni, nr, spii, spir)
	k := &knownKeys{}
	k.d, b = b[:n], b[n:]
	k.ei, b = b[:s.key], b[s.key:]
	k.er, b = b[:s.key], b[s.key:]
	k.pi, k.pr = b[:n], b[n:]
	return k
}

// intAuth is IntAuth_i*A or IntAuth_r*A: prf(SK_p, [the one before |] A | P), A being the
// header and the generic header of the Encrypted payload with the lengths that they have
// when nothing is encrypted, and no fragment (RFC 9242, section 3.3.2).
func (s knownSuite) intAuth(m *knownMessage, sk, before []byte, first byte, text []byte) []byte {
	a := bytes.Clone(m.datagrams[0][:32])
	a[16] = payloadSK
	binary.BigEndian.PutUint32(a[24:], uint32(32+len(text)))
	a[28], a[29] = first, 0
	binary.BigEndian.PutUint16(a[30:], uint16(4+len(text)))
	return s.prf(sk, before, a, text)
}

// auth is AUTH of the method Shared Key Message Integrity Code over message | nonce |
// prf(SK_p, ID) [| IntAuth] (section 2.15; RFC 9242, section 3.3.2).
func (s knownSuite) auth(secret, message, nonce, sk, id, intAuth []byte) []byte {
	return s.prf(s.prf(secret, []byte("Key Pad for IKEv2")), message, nonce, s.prf(sk, id), intAuth)
}

// knownDraws are all octets that the machines drew, draw by draw: among them are their
// private values.
type knownDraws struct {
	from interface{ Read([]byte) (int, error) }
	all  [][]byte
}

func (d *knownDraws) Read(b []byte) (int, error) {
	n, err := d.from.Read(b)
	d.all = append(d.all, slices.Clone(b))
	return n, err
}

// shared is the secret of a key exchange whose public values were seen: that of the draw
// that the initiator's belongs to.
func (d *knownDraws) shared(t *testing.T, method uint16, initiator, responder []byte) []byte {
	t.Helper()
	for _, draw := range d.all {
		if secret := knownShared(method, draw, initiator, responder); secret != nil {
			return secret
		}
	}
	t.Fatalf("key exchange %d: nobody drew a private value to %x", method, initiator)
	return nil
}

// knownShared is nil if the private value is not the initiator's.
func knownShared(method uint16, private, initiator, responder []byte) []byte {
	curve, mark := ecdh.X25519(), []byte(nil)
	switch method {
	case 31:
	case 19:
		curve, mark = ecdh.P256(), []byte{4}
	case 20:
		curve, mark = ecdh.P384(), []byte{4}
	case 36:
		if k, err := mlkem.NewDecapsulationKey768(private); err == nil && bytes.Equal(k.EncapsulationKey().Bytes(), initiator) {
			secret, _ := k.Decapsulate(responder)
			return secret
		}
		return nil
	case 37:
		if k, err := mlkem.NewDecapsulationKey1024(private); err == nil && bytes.Equal(k.EncapsulationKey().Bytes(), initiator) {
			secret, _ := k.Decapsulate(responder)
			return secret
		}
		return nil
	}
	k, err := curve.NewPrivateKey(private)
	if err != nil || !bytes.Equal(k.PublicKey().Bytes(), append(mark, initiator...)) {
		return nil
	}
	peer, err := curve.NewPublicKey(append(slices.Clone(mark), responder...))
	if err != nil {
		return nil
	}
	secret, _ := k.ECDH(peer)
	return secret
}
