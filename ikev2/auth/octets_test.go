// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"errors"
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// TestAuthenticationCoversAllThatItShould: AUTH is over the ID payload as it was
// on the wire, reserved octets and all (auth-id-reserved-bits of the case list),
// over the message, the other's nonce, the identity, SK_p and IKE_INTERMEDIATE.
func TestAuthenticationCoversAllThatItShould(t *testing.T) {
	prf, err := crypto.NewPRF(wire.PRFHMACSHA256)
	if err != nil {
		t.Fatal(err)
	}
	type side struct{ message, nonce, p, id, intermediate, key string }
	good := side{"IKE_SA_INIT", "nonce", "SK_p", "\x02\x01\x02\x03hub.example.net", "IntAuth", "lab"}
	octets := func(s side) []byte {
		id := &wire.Identification{Type: wire.IDType(s.id[0]), Reserved: [3]byte([]byte(s.id[1:4])), Data: []byte(s.id[4:])}
		return auth.SignedOctets(prf, []byte(s.message), []byte(s.nonce), []byte(s.p), id, []byte(s.intermediate))
	}
	a := auth.SignShared(prf, crypto.Secret(good.key), octets(good))
	if err := auth.VerifyShared(prf, crypto.Secret(good.key), octets(good), a); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*side){
		"another message":           func(s *side) { s.message = "IKE_SA_INIT with more proposals" },
		"another nonce":             func(s *side) { s.nonce = "nonces" },
		"another SK_p":              func(s *side) { s.p = "SK_x" },
		"another identity":          func(s *side) { s.id = "\x02\x01\x02\x03hub.example.com" },
		"another kind of identity":  func(s *side) { s.id = "\x0b\x01\x02\x03hub.example.net" },
		"reserved octets set to 0":  func(s *side) { s.id = "\x02\x00\x00\x00hub.example.net" },
		"another IKE_INTERMEDIATE":  func(s *side) { s.intermediate = "IntAuti" },
		"IKE_INTERMEDIATE left out": func(s *side) { s.intermediate = "" },
		"another key":               func(s *side) { s.key = "Lab" },
		"no key":                    func(s *side) { s.key = "" },
	} {
		s := good
		change(&s)
		if err := auth.VerifyShared(prf, crypto.Secret(s.key), octets(s), a); !errors.Is(err, auth.ErrFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cut := &wire.Authentication{Method: a.Method, Data: a.Data[:16]}
	if err := auth.VerifyShared(prf, crypto.Secret(good.key), octets(good), cut); !errors.Is(err, auth.ErrFailed) {
		t.Errorf("AUTH cut to half: %v", err)
	}
	other := &wire.Authentication{Method: wire.AuthDigitalSignature, Data: a.Data}
	if err := auth.VerifyShared(prf, crypto.Secret(good.key), octets(good), other); !errors.Is(err, auth.ErrFailed) {
		t.Errorf("another method: %v", err)
	}
}
