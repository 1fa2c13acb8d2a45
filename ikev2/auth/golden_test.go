// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/wire"
)

// handshake is what IKE_AUTH of one capture needs.
type handshake struct {
	name                string
	prf                 crypto.PRF
	sa                  iketest.IKESA
	request, response   []byte // of IKE_SA_INIT, as on the wire
	ni, nr              []byte
	requests, responses []wire.Payload // of the first IKE_AUTH, decrypted
}

var suites = map[string]crypto.Suite{
	"AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256": {Encryption: wire.EncryptionAESCBC, KeyLength: 128, Integrity: wire.IntegrityHMACSHA256128, PRF: wire.PRFHMACSHA256},
	"AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256": {Encryption: wire.EncryptionAESCBC, KeyLength: 256, Integrity: wire.IntegrityHMACSHA256128, PRF: wire.PRFHMACSHA256},
	"AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384": {Encryption: wire.EncryptionAESCBC, KeyLength: 256, Integrity: wire.IntegrityHMACSHA384192, PRF: wire.PRFHMACSHA384},
	"AES_GCM_16_128/PRF_HMAC_SHA2_256":                {Encryption: wire.EncryptionAESGCM16, KeyLength: 128, PRF: wire.PRFHMACSHA256},
	"CHACHA20_POLY1305/PRF_HMAC_SHA2_512":             {Encryption: wire.EncryptionChaCha20Poly1305, PRF: wire.PRFHMACSHA512},
}

// handshakes reads the first IKE_AUTH of every capture.
func handshakes(t *testing.T) []handshake {
	t.Helper()
	captures, err := iketest.Captures()
	if err != nil {
		t.Fatal(err)
	}
	var all []handshake
	for _, c := range captures {
		h := handshake{name: c.Name, sa: c.IKESAs[0]}
		suite := suites[h.sa.Proposal[:strings.LastIndex(h.sa.Proposal, "/")]]
		if h.prf, err = crypto.NewPRF(suite.PRF); err != nil {
			t.Fatal(err)
		}
		keys := &crypto.Keys{Suite: suite, Ai: crypto.Secret(h.sa.SKai), Ar: crypto.Secret(h.sa.SKar), Ei: crypto.Secret(h.sa.SKei), Er: crypto.Secret(h.sa.SKer)}
		var fragments wire.Reassembly
		for _, d := range c.Datagrams {
			b := d.Payload
			if d.Source.Port() != 500 && d.Destination.Port() != 500 {
				_, b = wire.Classify(b)
			}
			m, err := wire.Parse(b)
			if err != nil || m.SPIi != wire.SPI(h.sa.SPIi) {
				continue
			}
			nonce, _ := wire.Find[wire.Nonce](m.Payloads)
			switch {
			case m.Exchange == wire.IKESAInit && !m.Response:
				h.request, h.ni = b, nonce
			case m.Exchange == wire.IKESAInit && nonce != nil:
				h.response, h.nr = b, nonce
			case m.Exchange == wire.IKEAuth:
				text, err := keys.Protection(m.Initiator).Open(b, m)
				if err != nil {
					t.Fatalf("%s: %v", c.Name, err)
				}
				first, _, _ := m.Protected()
				if f, ok := wire.Find[*wire.Fragment](m.Payloads); ok {
					if complete, err := fragments.Add(f, text); err != nil || !complete {
						continue
					}
					first, text = fragments.Message()
					fragments.Reset()
				}
				inner, err := wire.ParseInner(first, text)
				if err != nil {
					t.Fatal(err)
				}
				if m.Response {
					h.responses = inner
				} else {
					h.requests = inner
				}
			}
		}
		all = append(all, h)
	}
	return all
}

// side gives AUTH, identity and signed octets of one side.
func (h handshake) side(responder bool) (*wire.Authentication, auth.Identity, []byte) {
	payloads, message, nonce, p := h.requests, h.request, h.nr, h.sa.SKpi
	if responder {
		payloads, message, nonce, p = h.responses, h.response, h.ni, h.sa.SKpr
	}
	a, ok := wire.Find[*wire.Authentication](payloads)
	if !ok {
		return nil, auth.Identity{}, nil
	}
	var id *wire.Identification
	for _, payload := range payloads {
		if i, ok := payload.(*wire.Identification); ok && i.Responder == responder {
			id = i
		}
	}
	return a, auth.IdentityOf(id), auth.SignedOctets(h.prf, message, nonce, p, id, nil)
}

// TestStrongSwanProvesItsIdentityToUs: AUTH of both sides of every capture, by
// shared key or by certificate.
func TestStrongSwanProvesItsIdentityToUs(t *testing.T) {
	trust := &auth.Trust{Roots: []*x509.Certificate{certificate(t, "ca")}}
	shared, signed := 0, 0
	for _, h := range handshakes(t) {
		for _, responder := range []bool{false, true} {
			a, id, octets := h.side(responder)
			if a == nil {
				continue // AUTHENTICATION_FAILED
			}
			if a.Method == wire.AuthSharedKey {
				shared++
				key := crypto.Secret("lab-preshared-key-0123456789")
				if h.name == "badpsk" {
					if err := auth.VerifyShared(h.prf, key, octets, a); err == nil {
						t.Errorf("%s: the wrong key was taken", h.name)
					}
					key = crypto.Secret("not-the-right-one")
				}
				if err := auth.VerifyShared(h.prf, key, octets, a); err != nil {
					t.Errorf("%s: %s: %v", h.name, id, err)
				}
				if again := auth.SignShared(h.prf, key, octets); !bytes.Equal(again.Data, a.Data) {
					t.Errorf("%s: ours differs from strongSwan's", h.name)
				}
				continue
			}
			signed++
			payloads := h.requests
			if responder {
				payloads = h.responses
			}
			certificates, err := auth.Certificates(payloads)
			if err != nil {
				t.Fatal(err)
			}
			if err := trust.Verify(certificates, id, certificates[0].NotBefore.Add(time.Hour)); err != nil {
				t.Errorf("%s: %v", h.name, err)
			}
			if err := auth.VerifySignature(certificates[0].PublicKey, octets, a); err != nil {
				t.Errorf("%s: %s: %v", h.name, id, err)
			}
			octets[len(octets)-1] ^= 1
			if err := auth.VerifySignature(certificates[0].PublicKey, octets, a); err == nil {
				t.Errorf("%s: bent octets were taken", h.name)
			}
		}
	}
	if shared < 20 || signed < 8 {
		t.Errorf("%d shared keys and %d signatures", shared, signed)
	}
}

func certificate(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	b, err := iketest.Certificate(name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAuthoritiesAreNamedAsStrongSwanNamesThem compares with its CERTREQ.
func TestAuthoritiesAreNamedAsStrongSwanNamesThem(t *testing.T) {
	trust := &auth.Trust{Roots: []*x509.Certificate{certificate(t, "ca")}}
	seen := 0
	for _, h := range handshakes(t) {
		if h.name != "cert" {
			continue
		}
		m, err := wire.Parse(h.response)
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := wire.Find[*wire.CertificateRequest](m.Payloads); ok {
			seen++
			if !bytes.Equal(r.Authorities, trust.Authorities()) {
				t.Errorf("CERTREQ %x, ours %x", r.Authorities, trust.Authorities())
			}
		}
	}
	if seen == 0 {
		t.Error("no CERTREQ")
	}
}
