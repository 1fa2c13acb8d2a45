// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"dmvpn/ikev2/wire"
)

func TestNoVerbShowsASecret(t *testing.T) {
	const hidden = "hunter2!"
	secret := Secret(hidden)
	keys := &Keys{D: secret, Ai: secret, Ar: secret, Ei: secret, Er: secret, Pi: secret, Pr: secret}
	for _, v := range []any{secret, keys, *keys, &ChildKeys{}, &KeyExchange{Private: secret}, keys.Protection(true), DirectionKeys{Encryption: secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x"} {
			out := strings.ToLower(fmt.Sprintf(verb, v))
			for _, trace := range []string{hidden, "68756e", "68 75", "104 117", "0x68"} {
				if strings.Contains(out, trace) {
					t.Errorf("%s of %T shows %s", verb, v, out)
				}
			}
		}
	}
	if b, err := json.Marshal(keys); err == nil {
		t.Errorf("as JSON: %s", b)
	}
}

func TestWipeLeavesZeros(t *testing.T) {
	suite := everySuite()[0]
	keys := keysOf(t, suite)
	prf, err := NewPRF(suite.PRF)
	if err != nil {
		t.Fatal(err)
	}
	child, err := suite.DeriveChild(prf, keys.D, nil, []byte("Ni"), []byte("Nr"))
	if err != nil {
		t.Fatal(err)
	}
	all := []Secret{keys.D, keys.Ai, keys.Ar, keys.Ei, keys.Er, keys.Pi, keys.Pr,
		child.Initiator.Encryption, child.Initiator.Integrity, child.Responder.Encryption, child.Responder.Integrity}
	keys.Wipe()
	child.Wipe()
	for i, s := range all {
		if len(s) == 0 || strings.Trim(string(s), "\x00") != "" {
			t.Errorf("secret %d has %d octets, not all zero", i, len(s))
		}
	}
}

func TestPRFPlusIsBounded(t *testing.T) {
	prf, err := NewPRF(wire.PRFHMACSHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prf.Plus([]byte("key"), 255*32, nil); err != nil {
		t.Error(err)
	}
	if _, err := prf.Plus([]byte("key"), 255*32+1, nil); err == nil {
		t.Error("a 256th block")
	}
	for _, n := range []int{0, 1, 31, 32, 33, 64} {
		long, err := prf.Plus([]byte("key"), 64, []byte("seed"))
		short, err2 := prf.Plus([]byte("key"), n, []byte("se"), []byte("ed"))
		if err != nil || err2 != nil || string(short) != string(long[:n]) {
			t.Errorf("the first %d octets", n)
		}
	}
}

// TestWeakSuitesAreRefused: what the default of nobody should be is not there.
func TestWeakSuitesAreRefused(t *testing.T) {
	good := Suite{wire.EncryptionAESCBC, 128, wire.IntegrityHMACSHA256128, wire.PRFHMACSHA256}
	if err := good.Check(false); err != nil {
		t.Fatal(err)
	}
	cases := map[string]Suite{
		"3DES":                                 {3, 0, wire.IntegrityHMACSHA256128, wire.PRFHMACSHA256},
		"NULL":                                 {11, 0, wire.IntegrityHMACSHA256128, wire.PRFHMACSHA256},
		"AES-GCM-8":                            {18, 128, wire.IntegrityNone, wire.PRFHMACSHA256},
		"AES without a key length":             {wire.EncryptionAESCBC, 0, wire.IntegrityHMACSHA256128, wire.PRFHMACSHA256},
		"AES of 129 bits":                      {wire.EncryptionAESGCM16, 129, wire.IntegrityNone, wire.PRFHMACSHA256},
		"ChaCha20 of 128 bits":                 {wire.EncryptionChaCha20Poly1305, 128, wire.IntegrityNone, wire.PRFHMACSHA256},
		"HMAC-SHA1":                            {wire.EncryptionAESCBC, 128, 2, wire.PRFHMACSHA256},
		"CBC without integrity":                {wire.EncryptionAESCBC, 128, wire.IntegrityNone, wire.PRFHMACSHA256},
		"an AEAD with an integrity of its own": {wire.EncryptionAESGCM16, 128, wire.IntegrityHMACSHA256128, wire.PRFHMACSHA256},
		"PRF-HMAC-SHA1":                        {wire.EncryptionAESCBC, 128, wire.IntegrityHMACSHA256128, 2},
		"no PRF":                               {wire.EncryptionAESCBC, 128, wire.IntegrityHMACSHA256128, 0},
	}
	for name, s := range cases {
		if err := s.Check(false); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Derive(nil, nil, nil, wire.SPI{}, wire.SPI{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: keys were made, %v", name, err)
		}
	}
}

// TestIntermediateDoesNotKnowTheCipher: AUTH covers the same octets however they
// were protected (RFC 9242, section 3.3.2).
func TestIntermediateDoesNotKnowTheCipher(t *testing.T) {
	prf, err := NewPRF(wire.PRFHMACSHA256)
	if err != nil {
		t.Fatal(err)
	}
	h := wire.Header{SPIi: wire.SPI{1}, SPIr: wire.SPI{2}, Exchange: wire.IKEIntermediate, Initiator: true, MessageID: 1}
	inner := vendor(5)
	text, err := wire.AppendInner(nil, inner)
	if err != nil {
		t.Fatal(err)
	}
	// Header with length 28+4+9, SK header with length 4+9, then the payload: by hand.
	want := prf.Sum([]byte("SK_pi"), []byte("previous"), append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
		46, 0x20, 43, 0x08, 0, 0, 0, 1, 0, 0, 0, 41, 43, 0, 0, 13, 0, 0, 0, 9}, []byte{0xAB, 0xAB, 0xAB, 0xAB, 0xAB}...))
	got, err := Intermediate(prf, []byte("SK_pi"), []byte("previous"), h, wire.First(inner), text)
	if err != nil || string(got) != string(want) {
		t.Errorf("got %x, %v", []byte(got), err)
	}
}
