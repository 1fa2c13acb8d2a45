// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	stdcrypto "crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"
	"testing"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// trick is a certificate with an RSA key that must not be believed, however good the
// signature.
type trick struct {
	name   string
	public *rsa.PublicKey
	sign   func(octets []byte) []byte // what AUTH has; nil: zeros
	want   string
}

// publicOnly lets a certificate be made for a key that nobody need have.
type publicOnly struct {
	stdcrypto.Signer
	public stdcrypto.PublicKey
}

func (p publicOnly) Public() stdcrypto.PublicKey { return p.public }

// Algorithm identifiers of RFC 7427, appendix A, with their lengths in front.
const (
	withPSS   = "\x43\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20"
	withPKCS1 = "\x0f\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"
)

func signPSS(key *rsa.PrivateKey) func(octets []byte) []byte {
	return func(octets []byte) []byte {
		sum := sha256.Sum256(octets)
		return append([]byte(withPSS), must(rsa.SignPSS(rand.Reader, key, stdcrypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: 32}))...)
	}
}

// signCubed signs with the exponent 3, which the library does not: the block of RFC 8017,
// section 9.2, to the power d.
func signCubed(n, d *big.Int) func(octets []byte) []byte {
	return func(octets []byte) []byte {
		block := new(big.Int).SetBytes(pkcs1(octets, (n.BitLen()+7)/8))
		s := new(big.Int).Exp(block, d, n)
		if new(big.Int).Exp(s, big.NewInt(3), n).Cmp(block) != 0 {
			panic("the signature is not good")
		}
		return append([]byte(withPKCS1), s.FillBytes(make([]byte, (n.BitLen()+7)/8))...)
	}
}

// pkcs1 is that block.
func pkcs1(octets []byte, size int) []byte {
	sum := sha256.Sum256(octets)
	info := append([]byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"), sum[:]...)
	block := append([]byte{0, 1}, make([]byte, size-3-len(info))...)
	for i := range block[2:] {
		block[2+i] = 0xff
	}
	return append(append(block, 0), info...)
}

// octetsOf are what an end's AUTH in a message is made over.
func octetsOf(w *World, m *Message) []byte {
	if m.From == w.A {
		return signedOctets(w, m)
	}
	requests, responses := w.All("A INIT→"), w.All("B INIT←")
	var id *wire.Identification
	for _, p := range m.Payloads {
		if x, ok := p.(*wire.Identification); ok && x.Responder {
			id = x
		}
	}
	nonce, _ := wire.Find[wire.Nonce](requests[0].Payloads)
	return auth.SignedOctets(must(crypto.NewPRF(wire.PRFHMACSHA256)), responses[0].Packets[0], nonce, m.Keys().Pr, id, nil)
}

// played lets an end show the certificate and the signature in place of its own.
func (k trick) played(w *World, who string) {
	name := map[string]string{"A": "a.test", "B": "b.test"}[who]
	cert := draw(nil, publicOnly{edKey(7), k.public}, name, nil).cert
	w.On(map[string]string{"A": "A AUTH→ AUTH", "B": "B AUTH← AUTH"}[who], func(m *Message) {
		data := append([]byte(withPSS), make([]byte, k.public.Size())...)
		if k.sign != nil {
			data = k.sign(octetsOf(w, m))
		}
		m.Payloads = with(m.Payloads, &wire.Certificate{Encoding: wire.CertificateX509, Data: cert.Raw})
		m.Payloads = with(m.Payloads, &wire.Authentication{Method: wire.AuthDigitalSignature, Data: data})
	})
	w.A.Connect(w.B)
}

func negativeExponent(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	n, d := cubic()
	size := key.Size()
	for _, k := range []trick{
		{"without a trick", &key.PublicKey, signPSS(key), ""},
		{"exponent 1, where a block is its own signature", &rsa.PublicKey{N: key.N, E: 1}, func(octets []byte) []byte { return append([]byte(withPKCS1), pkcs1(octets, size)...) }, "exponent 1"},
		{"exponent 3, and a good signature", &rsa.PublicKey{N: n, E: 3}, signCubed(n, d), "exponent 3"},
		{"exponent 65536", &rsa.PublicKey{N: key.N, E: 65536}, nil, "exponent 65536"},
		{"an even modulus", &rsa.PublicKey{N: new(big.Int).Lsh(key.N, 1), E: 65537}, nil, "modulus is even"},
		{"a short modulus", &rsa.PublicKey{N: new(big.Int).Rsh(key.N, 1024), E: 65537}, nil, "1024 bits"},
		{"a huge modulus", &rsa.PublicKey{N: new(big.Int).SetBit(key.N, 16383, 1), E: 65537}, nil, "16384 bits"},
	} {
		for _, who := range []string{"A", "B"} {
			t.Run(k.name+", of "+map[string]string{"A": "the initiator", "B": "the responder"}[who], func(t *testing.T) {
				w := New(t, certified())
				k.played(w, who)
				if k.want == "" {
					begunIn(w)
					return
				}
				w.Strangers()
				judge := map[string]*End{"A": w.B, "B": w.A}[who]
				refusedBy(w, judge)
				if !slices.ContainsFunc(judge.Reports, func(r string) bool { return strings.Contains(r, k.want) }) {
					t.Errorf("%s did not say %q: %q", judge.Name, k.want, judge.Reports)
				}
			})
		}
	}
}

// cubic makes a modulus, and the private exponent to 3.
func cubic() (n, d *big.Int) {
	three, one := big.NewInt(3), big.NewInt(1)
	prime := func() *big.Int {
		for {
			p := must(rand.Prime(rand.Reader, 1024))
			if new(big.Int).Mod(new(big.Int).Sub(p, one), three).Sign() != 0 {
				return p
			}
		}
	}
	p, q := prime(), prime()
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	return new(big.Int).Mul(p, q), new(big.Int).ModInverse(three, phi)
}
