// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"bytes"
	"crypto/hmac"
	"encoding/json"
	"slices"
	"testing"

	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/iketest/wycheproof"
	"dmvpn/ikev2/wire"
)

type vector struct {
	ID      int `json:"tcId"`
	Comment string
	Flags   []string
	Result  string

	Key, IV, AAD, Msg, CT, Tag iketest.Hex
	Public, Private, Shared    iketest.Hex
	Seed, EK, C, K             iketest.Hex
}

type group struct {
	KeySize, IVSize, TagSize int
	Tests                    []vector
}

// vectors runs f for each test of a set, at least the given number of times.
func vectors(t *testing.T, name string, least int, f func(t *testing.T, g group, v vector)) {
	t.Helper()
	var file struct {
		TestGroups []struct {
			group
			Tests []json.RawMessage
		}
	}
	if err := wycheproof.Read(name, &file); err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, g := range file.TestGroups {
		for _, raw := range g.Tests {
			var v vector
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			f(t, g.group, v)
			run++
		}
	}
	if run < least {
		t.Errorf("%s has %d tests, not %d", name, run, least)
	}
}

func TestWycheproofAEAD(t *testing.T) {
	files := map[string]uint16{"aes_gcm": wire.EncryptionAESGCM16, "chacha20_poly1305": wire.EncryptionChaCha20Poly1305}
	for name, id := range files {
		usable := 0
		vectors(t, name, 300, func(t *testing.T, g group, v vector) {
			if g.IVSize != 96 || g.TagSize != 128 {
				return // IKE has no others
			}
			usable++
			s := Suite{Encryption: id}
			if id == wire.EncryptionAESGCM16 {
				s.KeyLength = uint16(g.KeySize)
			}
			// The nonce is salt and vector.
			e, err := newAEAD(s, slices.Concat(v.Key, v.IV[:saltSize]))
			if err != nil {
				t.Fatal(err)
			}
			sealed := slices.Concat(v.AAD, v.IV[saltSize:], v.CT, v.Tag)
			text, err := e.open(sealed, len(v.AAD))
			if valid := v.Result == "valid"; (err == nil) != valid || valid && !bytes.Equal(text, v.Msg) {
				t.Errorf("%s %d (%s): open gave %v", name, v.ID, v.Comment, err)
			}
			if v.Result == "valid" {
				b := slices.Concat(v.AAD, v.IV[saltSize:], v.Msg, make([]byte, len(v.Tag)))
				if e.seal(b, len(v.AAD)); !bytes.Equal(b, sealed) {
					t.Errorf("%s %d: sealed %x, want %x", name, v.ID, b, sealed)
				}
			}
		})
		if usable < 100 {
			t.Errorf("%s: only %d tests fit IKE", name, usable)
		}
	}
}

// TestWycheproofCBC: the padding of these is PKCS#5's, which IKE does not use;
// decrypted, it is there as octets.
func TestWycheproofCBC(t *testing.T) {
	s := Suite{Encryption: wire.EncryptionAESCBC, Integrity: wire.IntegrityHMACSHA256128}
	integrity := make([]byte, 32)
	vectors(t, "aes_cbc_pkcs5", 200, func(t *testing.T, g group, v vector) {
		if v.Result != "valid" {
			return
		}
		s.KeyLength = uint16(g.KeySize)
		e, err := newCBC(s, v.Key, integrity)
		if err != nil {
			t.Fatal(err)
		}
		n := 16 - len(v.Msg)%16
		text := slices.Concat(v.Msg, bytes.Repeat([]byte{byte(n)}, n))
		b := slices.Concat(v.IV, text, make([]byte, 16))
		e.seal(b, 0)
		if !bytes.Equal(b[16:len(b)-16], v.CT) {
			t.Errorf("%d: sealed %x, want %x", v.ID, b, v.CT)
		}
		if got, err := e.open(b, 0); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d: opened %x, %v", v.ID, got, err)
		}
	})
}

func TestWycheproofHMAC(t *testing.T) {
	for name, id := range map[string]uint16{
		"hmac_sha256": wire.PRFHMACSHA256, "hmac_sha384": wire.PRFHMACSHA384, "hmac_sha512": wire.PRFHMACSHA512,
	} {
		prf, err := NewPRF(id)
		if err != nil {
			t.Fatal(err)
		}
		vectors(t, name, 170, func(t *testing.T, g group, v vector) {
			got := prf.Sum(v.Key, v.Msg)[:g.TagSize/8]
			if hmac.Equal(got, v.Tag) != (v.Result == "valid") {
				t.Errorf("%s %d (%s): %x", name, v.ID, v.Comment, []byte(got))
			}
		})
	}
}

func TestWycheproofCurves(t *testing.T) {
	for name, curve := range map[string]struct {
		id   uint16
		size int
	}{
		"ecdh_secp256r1_ecpoint": {wire.ECP256, 32},
		"ecdh_secp384r1_ecpoint": {wire.ECP384, 48},
		"ecdh_secp521r1_ecpoint": {wire.ECP521, 66},
	} {
		vectors(t, name, 350, func(t *testing.T, _ group, v vector) {
			if len(v.Public) == 0 || v.Public[0] != uncompressed {
				return // IKE's KE data have no mark and no compression
			}
			// Private values are integers there, of any length.
			private := bytes.TrimLeft(v.Private, "\x00")
			private = append(make([]byte, curve.size-len(private)), private...)
			shared, err := (&KeyExchange{curve.id, private}).Finish(v.Public[1:])
			if valid := v.Result == "valid"; (err == nil) != valid || valid && !bytes.Equal(shared, v.Shared) {
				t.Errorf("%s %d (%s): %v", name, v.ID, v.Comment, err)
			}
		})
	}
}

// TestWycheproofX25519: what they call acceptable, points of small order and
// their twins, we take only if the secret is not zero.
func TestWycheproofX25519(t *testing.T) {
	zero := 0
	vectors(t, "x25519", 500, func(t *testing.T, _ group, v vector) {
		shared, err := (&KeyExchange{wire.Curve25519, Secret(v.Private)}).Finish(v.Public)
		if bytes.Equal(v.Shared, make([]byte, 32)) {
			if zero++; err == nil {
				t.Errorf("%d (%s): a secret of zeros was taken", v.ID, v.Comment)
			}
		} else if err != nil || !bytes.Equal(shared, v.Shared) {
			t.Errorf("%d (%s): %v", v.ID, v.Comment, err)
		}
	})
	if zero == 0 {
		t.Error("no point of small order among the vectors")
	}
}

func TestWycheproofMLKEM(t *testing.T) {
	for name, id := range map[string]uint16{"mlkem_768": wire.MLKEM768, "mlkem_1024": wire.MLKEM1024} {
		vectors(t, name, 190, func(t *testing.T, _ group, v vector) {
			k := &KeyExchange{id, Secret(v.Seed)}
			data, err := k.Data()
			if err == nil && len(v.EK) > 0 && !bytes.Equal(data, v.EK) {
				t.Errorf("%s %d: another encapsulation key", name, v.ID)
			}
			shared, finish := k.Finish(v.C)
			if err == nil {
				err = finish
			}
			if valid := v.Result == "valid"; (err == nil) != valid || valid && !bytes.Equal(shared, v.K) {
				t.Errorf("%s %d (%s, %v): %v", name, v.ID, v.Comment, v.Flags, err)
			}
		})
	}
}
