// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"crypto/rand"
	"math/big"
	"slices"
	"testing"

	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// badPoint is a public value that must make no secret.
type badPoint struct {
	name   string
	word   string // as a proposal has it
	method uint16
	data   []byte
}

// badPoints are of each kind of group (RFC 6989; RFC 8031, section 3).
func badPoints() []badPoint {
	order8 := []byte("\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00")
	x25519Prime := append(append([]byte{0xed}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f)
	one := append(make([]byte, 255), 1)
	// The prime of RFC 3526, section 3, less one: 2^2048 - 2^1984 + 2^64 ([2^1918 pi] + 124476) - 2.
	minusOne := modp2048(-1)
	return []badPoint{
		{"X25519, zero", "x25519", wire.Curve25519, make([]byte, 32)},
		{"X25519, one", "x25519", wire.Curve25519, append([]byte{1}, make([]byte, 31)...)},
		{"X25519, order 8", "x25519", wire.Curve25519, order8},
		{"X25519, the prime, which is zero", "x25519", wire.Curve25519, x25519Prime},
		{"P-256, off the curve", "ecp256", wire.ECP256, bytes.Repeat([]byte{1}, 64)},
		{"P-256, zero for infinity", "ecp256", wire.ECP256, make([]byte, 64)},
		{"P-384, off the curve", "ecp384", wire.ECP384, bytes.Repeat([]byte{1}, 96)},
		{"P-521, above the prime", "ecp521", wire.ECP521, bytes.Repeat([]byte{0xff}, 132)},
		{"MODP, one", "modp2048", wire.MODP2048, one},
		{"MODP, the prime less one", "modp2048", wire.MODP2048, minusOne},
		{"MODP, the prime", "modp2048", wire.MODP2048, modp2048(0)},
	}
}

// modp2048 is the prime of RFC 3526, section 3, with something added; π by Machin.
func modp2048(add int64) []byte {
	arctan := func(n int64) *big.Int { // of 1/n, times 2^2000
		sum, square := new(big.Int), big.NewInt(n*n)
		term := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 2000), big.NewInt(n))
		for k, sign := int64(1), int64(1); term.Sign() != 0; k, sign = k+2, -sign {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(sign), new(big.Int).Div(term, big.NewInt(k))))
			term.Div(term, square)
		}
		return sum
	}
	pi := new(big.Int).Sub(new(big.Int).Mul(big.NewInt(16), arctan(5)), new(big.Int).Mul(big.NewInt(4), arctan(239)))
	p := new(big.Int).Rsh(pi, 2000-1918)
	p.Add(p, big.NewInt(124476)).Lsh(p, 64)
	p.Add(p, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 2048), new(big.Int).Lsh(big.NewInt(1), 1984)))
	return p.Add(p, big.NewInt(add-1)).Bytes()
}

// inPlace puts a public value into the KE payload of a message.
func inPlace(method uint16, data []byte) func(m *Message) {
	return func(m *Message) {
		if _, ok := wire.Find[*wire.KeyExchange](m.Payloads); ok {
			m.Payloads = with(slices.Clone(m.Payloads), &wire.KeyExchange{Method: method, Data: data})
		}
	}
}

// stayed fails unless both ends still have their one Child SA and nothing else.
func stayed(w *World, child *SA) {
	w.T.Helper()
	w.True(len(w.A.Plane.All(Installed, Retired, Reserved)) == 1 && len(w.B.Plane.All(Installed, Retired, Reserved)) == 1, "there is one Child SA")
	w.Stays(child)
	w.True(w.A.Downs == 0 && w.B.Downs == 0 && w.A.IKE().ID != 0 && w.B.IKE().ID != 0, "the IKE SA stays")
}

func negativePoints(t *testing.T) {
	for _, p := range badPoints() {
		ike, esp := "aes128gcm16-prfsha256-"+p.word, "aes128gcm16-"+p.word
		bad := inPlace(p.method, p.data)
		t.Run(p.name+", IKE_SA_INIT request", func(t *testing.T) {
			w := New(t, Options{Alone: true, IKE: ike})
			w.On("A INIT→", bad)
			w.A.Connect(w.B)
			nothingCame(w)
			w.Never("B INIT← SA")
			w.True(w.B.Machine.Counters().HalfOpen == 0, "B kept nothing")
		})
		t.Run(p.name+", IKE_SA_INIT response", func(t *testing.T) {
			w := New(t, Options{Alone: true, IKE: ike})
			w.Strangers()
			w.On("B INIT←", bad)
			w.A.Connect(w.B)
			nothingCame(w)
			w.Never("A AUTH→")
		})
		additional := "aes128gcm16-prfsha256-ecp521-ke1_" + p.word
		if p.word == "ecp521" {
			additional = "aes128gcm16-prfsha256-x25519-ke1_" + p.word
		}
		t.Run(p.name+", IKE_INTERMEDIATE request", func(t *testing.T) {
			w := New(t, Options{Alone: true, IKE: additional})
			w.Strangers()
			w.On("A X→", bad)
			w.A.Connect(w.B)
			nothingCame(w)
			w.Never("B X← KE", "A AUTH→")
		})
		t.Run(p.name+", IKE_INTERMEDIATE response", func(t *testing.T) {
			w := New(t, Options{Alone: true, IKE: additional})
			w.Strangers()
			w.On("B X←", bad)
			w.A.Connect(w.B)
			nothingCame(w)
			w.Never("A AUTH→")
		})
		t.Run(p.name+", CREATE_CHILD_SA request", func(t *testing.T) {
			w := New(t, Options{ESP: esp})
			child := w.A.SA()
			w.On("A C→", bad)
			w.A.Rekey(child)
			w.Deliver("A C→", "B C←")
			w.Never("B C← SA")
			if w.B.IKE().ID != 0 { // else it was INVALID_SYNTAX, and the IKE SA is gone
				stayed(w, child)
			}
		})
		t.Run(p.name+", CREATE_CHILD_SA response", func(t *testing.T) {
			w := New(t, Options{ESP: esp})
			child := w.A.SA()
			w.On("B C←", bad)
			w.A.Rekey(child)
			w.Deliver("A C→", "B C←")
			w.True(len(w.A.Plane.All(Installed, Retired)) == 1, "A installs nothing with it")
			w.Uses(w.A, child)
		})
	}
	t.Run("ML-KEM, a key that fails its check", func(t *testing.T) {
		w := New(t, Options{Alone: true, IKE: "aes128gcm16-prfsha256-x25519-ke1_mlkem768"})
		w.Strangers()
		w.On("A X→", inPlace(wire.MLKEM768, bytes.Repeat([]byte{0xff}, 1184)))
		w.A.Connect(w.B)
		nothingCame(w)
		w.Never("B X← KE", "A AUTH→")
	})
}

func negativeGroups(t *testing.T) {
	p256 := must(must(crypto.NewKeyExchange(wire.ECP256, rand.Reader)).Data())
	other := inPlace(wire.ECP256, p256)
	inOffer := offered(func(all []wire.Proposal) []wire.Proposal {
		for i, x := range all[0].Transforms {
			if x.Type == wire.KeyExchangeMethod {
				all[0].Transforms[i].ID = wire.ECP256
			}
		}
		return all
	})
	const both = "aes128gcm16-prfsha256-x25519-ecp256"
	t.Run("IKE_SA_INIT request, a group that is not offered", func(t *testing.T) {
		w := New(t, Options{Alone: true})
		w.On("A INIT→", other)
		w.A.Connect(w.B)
		nothingCame(w)
		w.Never("B INIT← SA")
		w.True(len(w.All("B INIT← INVALID_KE_PAYLOAD")) > 0, "B asks for the one that is offered")
	})
	t.Run("IKE_SA_INIT request, octets of another group", func(t *testing.T) {
		w := New(t, Options{Alone: true})
		w.On("A INIT→", inPlace(wire.Curve25519, p256))
		w.A.Connect(w.B)
		nothingCame(w)
		w.Never("B INIT← SA")
	})
	for _, c := range []struct {
		name   string
		change func(m *Message)
	}{
		{"another group in KE than in SA", other},
		{"octets of another group", inPlace(wire.Curve25519, p256)},
		{"another group in SA than in KE", inOffer},
		{"another group in KE than in SA, and the right octets", func(m *Message) {
			if ke, ok := wire.Find[*wire.KeyExchange](m.Payloads); ok {
				inPlace(wire.ECP256, ke.Data)(m)
			}
		}},
		{"no group in SA", untransformed(func(x wire.Transform) bool { return x.Type == wire.KeyExchangeMethod })},
		{"another group in both, which was not asked for", func(m *Message) { other(m); inOffer(m) }},
	} {
		t.Run("IKE_SA_INIT response, "+c.name, func(t *testing.T) {
			w := New(t, Options{Alone: true, IKE: both})
			w.Strangers()
			w.On("B INIT←", c.change)
			w.A.Connect(w.B)
			nothingCame(w)
			w.Never("A AUTH→")
		})
		t.Run("CREATE_CHILD_SA response, "+c.name, func(t *testing.T) {
			w := New(t, Options{ESP: "aes128gcm16-x25519-ecp256"})
			child := w.A.SA()
			w.On("B C←", c.change)
			w.A.Rekey(child)
			w.Deliver("A C→", "B C←")
			w.True(len(w.A.Plane.All(Installed, Retired)) == 1, "A installs nothing with it")
			w.Uses(w.A, child)
		})
	}
	t.Run("IKE_INTERMEDIATE request", func(t *testing.T) {
		w := New(t, Options{Alone: true, IKE: "aes128gcm16-prfsha256-x25519-ke1_ecp384"})
		w.Strangers()
		w.On("A X→", other)
		w.A.Connect(w.B)
		nothingCame(w)
		w.Never("B X← KE", "A AUTH→")
	})
	t.Run("IKE_INTERMEDIATE response", func(t *testing.T) {
		w := New(t, Options{Alone: true, IKE: "aes128gcm16-prfsha256-x25519-ke1_ecp384"})
		w.Strangers()
		w.On("B X←", other)
		w.A.Connect(w.B)
		nothingCame(w)
		w.Never("A AUTH→")
	})
	for _, bent := range []string{"A F→", "B F←"} {
		t.Run("IKE_FOLLOWUP_KE, "+bent, func(t *testing.T) {
			w := New(t, Options{ESP: "aes128gcm16-x25519-ke1_ecp384"})
			child := w.A.SA()
			w.On(bent, other)
			w.A.Rekey(child)
			w.Deliver("A C→", "B C←", "A F→", "B F←")
			w.True(len(w.A.Plane.All(Installed, Retired)) <= 1, "A installs nothing with it")
			if bent == "A F→" {
				w.Never("B F← KE")
				w.True(len(w.B.Plane.All(Installed, Retired)) <= 1, "nor does B")
			}
		})
	}
	t.Run("CREATE_CHILD_SA request", func(t *testing.T) {
		w := New(t, Options{})
		child := w.A.SA()
		w.On("A C→", other)
		w.A.Rekey(child)
		w.Deliver("A C→", "B C← INVALID_KE_PAYLOAD")
		stayed(w, child)
	})
	t.Run("rekey of the IKE SA, request", func(t *testing.T) {
		w := New(t, Options{})
		child := w.A.SA()
		w.On("A C→", other)
		w.A.Input(&sa.Rekey{ID: w.A.IKE().ID})
		w.Deliver("A C→", "B C← INVALID_KE_PAYLOAD")
		stayed(w, child)
		w.True(len(w.B.Infos()) == 1, "B made no other IKE SA")
	})
}
