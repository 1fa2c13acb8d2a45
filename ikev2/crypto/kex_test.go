// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"

	"dmvpn/ikev2/wire"
)

var everyMethod = []struct {
	id                           uint16
	initiator, responder, shared int // octets
}{
	{wire.MODP2048, 256, 256, 256},
	{wire.MODP3072, 384, 384, 384},
	{wire.MODP4096, 512, 512, 512},
	{wire.ECP256, 64, 64, 32},
	{wire.ECP384, 96, 96, 48},
	{wire.ECP521, 132, 132, 66},
	{wire.Curve25519, 32, 32, 32},
	{wire.MLKEM768, 1184, 1088, 32},
	{wire.MLKEM1024, 1568, 1568, 32},
}

func TestBothEndsHaveTheSameSecret(t *testing.T) {
	for _, c := range everyMethod {
		t.Run(wire.KeyExchangeName(c.id), func(t *testing.T) {
			k, err := NewKeyExchange(c.id, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			mine, err := k.Data()
			if err != nil {
				t.Fatal(err)
			}
			theirs, shared, err := Respond(c.id, mine, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			again, err := (&KeyExchange{c.id, bytes.Clone(k.Private)}).Finish(theirs)
			if err != nil || !bytes.Equal(again, shared) {
				t.Errorf("secrets differ, %v", err)
			}
			if len(mine) != c.initiator || len(theirs) != c.responder || len(shared) != c.shared {
				t.Errorf("%d, %d and %d octets", len(mine), len(theirs), len(shared))
			}
			if k.Wipe(); bytes.ContainsFunc(k.Private, func(r rune) bool { return r != 0 }) {
				t.Error("the private value is still there")
			}
		})
	}
	if len(methods) != len(everyMethod) {
		t.Errorf("%d methods, %d of them tested", len(methods), len(everyMethod))
	}
}

// TestTheSameRandomnessGivesTheSameExchange, which replay of a bug report needs.
func TestTheSameRandomnessGivesTheSameExchange(t *testing.T) {
	random := bytes.Repeat([]byte{0x42}, 512)
	for _, c := range everyMethod {
		a, err := NewKeyExchange(c.id, bytes.NewReader(random))
		b, err2 := NewKeyExchange(c.id, bytes.NewReader(random))
		if err != nil || err2 != nil || !bytes.Equal(a.Private, b.Private) {
			t.Errorf("%s: %v, %v", wire.KeyExchangeName(c.id), err, err2)
		}
		if _, err := NewKeyExchange(c.id, bytes.NewReader(nil)); err == nil {
			t.Errorf("%s without randomness", wire.KeyExchangeName(c.id))
		}
	}
	if _, err := NewKeyExchange(wire.ECP256, bytes.NewReader(make([]byte, 1<<16))); err == nil {
		t.Error("a source of zeros made a private value for P-256")
	}
}

// TestBadPublicValuesMakeNoSecret: RFC 6989, and ike-cases' ikev2-impair-05 to 07.
func TestBadPublicValuesMakeNoSecret(t *testing.T) {
	prime := func(s string, add int64) []byte {
		p, ok := new(big.Int).SetString(s, 16)
		if !ok {
			t.Fatal(s)
		}
		return p.Add(p, big.NewInt(add)).FillBytes(make([]byte, len(s)/2))
	}
	one := make([]byte, 256)
	one[255] = 1
	offCurve := bytes.Repeat([]byte{1}, 64)
	order8, err := hex.DecodeString("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		id   uint16
		data []byte
	}{
		{"MODP: zero", wire.MODP2048, make([]byte, 256)},
		{"MODP: one", wire.MODP2048, one},
		{"MODP: the prime less one", wire.MODP2048, prime(modp2048, -1)},
		{"MODP: the prime", wire.MODP2048, prime(modp2048, 0)},
		{"MODP: above the prime", wire.MODP3072, prime(modp3072, 1)},
		{"MODP: all ones", wire.MODP4096, bytes.Repeat([]byte{0xFF}, 512)},
		{"MODP: without its zeros in front", wire.MODP2048, make([]byte, 255)},
		{"ECP: not on the curve", wire.ECP256, offCurve},
		{"ECP: zero, which would be infinity", wire.ECP384, make([]byte, 96)},
		{"ECP: with the mark in front", wire.ECP521, make([]byte, 133)},
		{"X25519: zero", wire.Curve25519, make([]byte, 32)},
		{"X25519: a point of order 8", wire.Curve25519, order8},
		{"X25519: too short", wire.Curve25519, make([]byte, 31)},
		{"ML-KEM: coefficients above the modulus", wire.MLKEM768, bytes.Repeat([]byte{0xFF}, 1184)},
		{"ML-KEM: a ciphertext for a key", wire.MLKEM768, make([]byte, 1088)},
		{"ML-KEM: too long", wire.MLKEM1024, make([]byte, 1569)},
		{"nothing", wire.ECP256, nil},
	}
	for _, c := range cases {
		data, shared, err := Respond(c.id, c.data, rand.Reader)
		if !errors.Is(err, ErrPublicValue) || len(shared) > 0 {
			t.Errorf("%s: responder has %d octets, %v", c.name, len(data), err)
		}
		if c.id == wire.MLKEM768 || c.id == wire.MLKEM1024 {
			continue
		}
		// X25519 sees a point of small order by its secret alone. Else nothing is drawn, and
		// so nothing of ours computed.
		if _, _, err := Respond(c.id, c.data, bytes.NewReader(nil)); c.id != wire.Curve25519 && !errors.Is(err, ErrPublicValue) {
			t.Errorf("%s: the responder has begun its own part: %v", c.name, err)
		}
		k, err := NewKeyExchange(c.id, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if shared, err := k.Finish(c.data); !errors.Is(err, ErrPublicValue) || len(shared) > 0 {
			t.Errorf("%s: initiator: %v", c.name, err)
		}
	}
	k, err := NewKeyExchange(wire.MLKEM768, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Finish(make([]byte, 1087)); !errors.Is(err, ErrPublicValue) {
		t.Errorf("a ciphertext of 1087 octets: %v", err)
	}
}

func TestWeakMethodsAreRefused(t *testing.T) {
	for _, id := range []uint16{wire.KeyExchangeNone, 1, 2, 5, 22, 35, 1000} {
		if _, err := NewKeyExchange(id, rand.Reader); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", wire.KeyExchangeName(id), err)
		}
		if _, _, err := Respond(id, nil, rand.Reader); !errors.Is(err, ErrUnsupported) || KeyExchangeSupported(id) {
			t.Errorf("%s as responder: %v", wire.KeyExchangeName(id), err)
		}
	}
}

// TestPrimesAreThoseOfTheirFormula computes RFC 3526's primes from π.
func TestPrimesAreThoseOfTheirFormula(t *testing.T) {
	for _, c := range []struct {
		prime string
		bits  uint
		k     int64
	}{{modp2048, 2048, 124476}, {modp3072, 3072, 1690314}, {modp4096, 4096, 240904}} {
		power := func(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }
		p := pi(c.bits - 130)
		p.Add(p, big.NewInt(c.k)).Lsh(p, 64)
		p.Add(p, power(c.bits)).Sub(p, power(c.bits-64)).Sub(p, big.NewInt(1))
		if p.Text(16) != c.prime {
			t.Errorf("the prime of %d bits", c.bits)
		}
		if half := new(big.Int).Rsh(p, 1); c.bits == 2048 && !(p.ProbablyPrime(2) && half.ProbablyPrime(2)) {
			t.Errorf("the prime of %d bits is not safe", c.bits)
		}
	}
}

// pi is π · 2^bits without its fraction, by Machin's formula.
func pi(bits uint) *big.Int {
	const guard = 64
	one := new(big.Int).Lsh(big.NewInt(1), bits+guard)
	arctan := func(x int64) *big.Int { // of 1/x
		term := new(big.Int).Quo(one, big.NewInt(x))
		sum := new(big.Int).Set(term)
		for n := int64(3); term.Sign() > 0; n += 2 {
			term.Quo(term, big.NewInt(-x*x))
			sum.Add(sum, new(big.Int).Quo(term, big.NewInt(n)))
			if term.Sign() < 0 {
				term.Quo(term, big.NewInt(-x*x))
				n += 2
				sum.Add(sum, new(big.Int).Quo(term, big.NewInt(n)))
			}
		}
		return sum
	}
	p := arctan(5)
	p.Mul(p, big.NewInt(4)).Sub(p, arctan(239)).Mul(p, big.NewInt(4))
	return p.Rsh(p, guard)
}

// RFC 5903, section 8, and RFC 7748, section 6.1: private values and what comes
// of them.
func TestVectorsOfTheRFCs(t *testing.T) {
	cases := []struct {
		name                      string
		id                        uint16
		private, data, peer, want string
	}{
		{"RFC 5903, 8.1", wire.ECP256, "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
			"dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
			"d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
			"d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"},
		{"RFC 7748, 6.1", wire.Curve25519, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
			"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
			"de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
			"4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
	}
	for _, c := range cases {
		private, err := hex.DecodeString(c.private)
		if err != nil {
			t.Fatal(err)
		}
		k := &KeyExchange{c.id, private}
		data, err := k.Data()
		if err != nil || hex.EncodeToString(data) != c.data {
			t.Errorf("%s: data %x, %v", c.name, data, err)
		}
		peer, err := hex.DecodeString(c.peer)
		if err != nil {
			t.Fatal(err)
		}
		if shared, err := k.Finish(peer); err != nil || hex.EncodeToString(shared) != c.want {
			t.Errorf("%s: secret %x, %v", c.name, []byte(shared), err)
		}
	}
}

func BenchmarkRespond(b *testing.B) {
	for _, c := range everyMethod {
		k, err := NewKeyExchange(c.id, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		data, err := k.Data()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(wire.KeyExchangeName(c.id), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Respond(c.id, data, rand.Reader); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
