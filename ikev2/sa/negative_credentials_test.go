// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// bad is an end's credentials that must not be believed.
type bad struct {
	name  string
	of    func(name string) (s *signer, more []*x509.Certificate) // of an end of that name
	crls  []*x509.RevocationList                                  // which the other one has
	claim string                                                  // the identity, if another
	want  string                                                  // part of the reason
}

// believed lets both ends use certificates, the one as it should, the other as c says, and
// fails unless the first refuses it. Each of them is initiator and responder once.
func (c bad) believed(t *testing.T) {
	for _, who := range []string{"A", "B"} {
		t.Run(c.name+", of "+map[string]string{"A": "the initiator", "B": "the responder"}[who], func(t *testing.T) {
			cheat := func(name string) func(x *sa.Connection) {
				s, more := c.of(name)
				return all(proves(s), anybody, func(x *sa.Connection) {
					x.Chain = append(x.Chain, more...)
					if c.claim != "" {
						x.Local = identityOf(c.claim)
					}
				})
			}
			honest := func(s *signer) func(x *sa.Connection) {
				return all(proves(s), anybody, func(x *sa.Connection) { x.Trust.CRLs = c.crls })
			}
			o := Options{Alone: true, A: cheat("a.test"), B: honest(certOfB)}
			if who == "B" {
				o.A, o.B = honest(certOfA), cheat("b.test")
			}
			w := New(t, o)
			w.Strangers()
			w.A.Connect(w.B)
			judge := map[string]*End{"A": w.B, "B": w.A}[who]
			refusedBy(w, judge)
			if !slices.ContainsFunc(judge.Reports, func(r string) bool { return strings.Contains(r, c.want) }) {
				t.Errorf("%s did not say %q: %q", judge.Name, c.want, judge.Reports)
			}
		})
	}
}

// good fails unless an end is believed who is as the bad ones are but for their fault.
func good(t *testing.T, of func(name string) (*signer, []*x509.Certificate), crls ...*x509.RevocationList) {
	t.Run("without the fault", func(t *testing.T) {
		a, ofA := of("a.test")
		b, ofB := of("b.test")
		with := func(s *signer, more []*x509.Certificate) func(x *sa.Connection) {
			return all(proves(s), func(x *sa.Connection) { x.Chain, x.Trust.CRLs = append(x.Chain, more...), crls })
		}
		w := New(t, Options{Alone: true, A: with(a, ofA), B: with(b, ofB)})
		w.A.Connect(w.B)
		begunIn(w)
	})
}

// draw makes a certificate with some change, of testCA where by is nil.
func draw(by *signer, key crypto.Signer, name string, change func(c *x509.Certificate)) *signer {
	if by == nil {
		by = testCA
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(name)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(template)
	}
	der := must(x509.CreateCertificate(bytes.NewReader(make([]byte, 1024)), template, by.cert, key.Public(), by.key))
	return &signer{key, must(x509.ParseCertificate(der))}
}

// authority makes it one that signs others.
func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.DNSNames = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
}

// drawn is draw for the table.
func drawn(change func(c *x509.Certificate)) func(name string) (*signer, []*x509.Certificate) {
	return func(name string) (*signer, []*x509.Certificate) { return draw(nil, edKey(7), name, change), nil }
}

func negativeIdentity(t *testing.T) {
	good(t, drawn(nil))
	for _, c := range []bad{
		{name: "another's name", of: drawn(nil), claim: "c.test", want: "does not name c.test"},
		{name: "an address", of: drawn(nil), claim: "198.51.100.9", want: "does not name 198.51.100.9"},
		{name: "an address of mail", of: drawn(nil), claim: "root@a.test", want: "does not name root@a.test"},
		{name: "another subject", of: drawn(nil), claim: "CN=c.test", want: "does not name CN=c.test"},
		{name: "a name below", of: drawn(nil), claim: "x.a.test", want: "does not name x.a.test"},
		{name: "a name that ends in a dot and more", of: drawn(func(c *x509.Certificate) { c.DNSNames = []string{"c.test.example"} }), claim: "c.test", want: "does not name c.test"},
		{name: "a wildcard", of: drawn(func(c *x509.Certificate) { c.DNSNames = []string{"*.test"} }), claim: "c.test", want: "does not name c.test"},
		{name: "the common name alone", of: drawn(func(c *x509.Certificate) { c.DNSNames = nil }), claim: "c.test", want: "does not name c.test"},
	} {
		c.believed(t)
	}
	t.Run("a good name that is not among the peers", func(t *testing.T) {
		w := New(t, Options{Alone: true, A: all(proves(certOfC), identified("c.test")), B: proves(certOfB)})
		w.Strangers()
		w.A.Connect(w.B)
		refusedBy(w, w.B)
	})
	t.Run("a good name, not the one who was called", func(t *testing.T) {
		w := New(t, Options{Alone: true, A: all(proves(certOfA), anybody), B: all(proves(certOfC), identified("c.test"))})
		w.Strangers()
		w.A.Input(&sa.Connect{Connection: "t", Local: w.A.Endpoint(), Remote: w.B.Endpoint(), Identity: identityOf("b.test"), Once: true})
		w.Deliver("A INIT→", "B INIT←")
		w.Bend("A AUTH→", func(m *Message) { // B would refuse already that it is asked for b.test
			m.Payloads = slices.DeleteFunc(m.Payloads, func(p wire.Payload) bool {
				id, ok := p.(*wire.Identification)
				return ok && id.Responder
			})
		})
		refusedBy(w, w.A)
		w.True(slices.ContainsFunc(w.A.Reports, func(r string) bool { return strings.Contains(r, "the peer is c.test, not b.test") }), "%q", w.A.Reports)
	})
}

func negativeExpired(t *testing.T) {
	at := func(from, to time.Time) func(c *x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // when a World begins
	below := func(change func(c *x509.Certificate)) func(name string) (*signer, []*x509.Certificate) {
		return func(name string) (*signer, []*x509.Certificate) {
			middle := draw(nil, edKey(8), "middle", func(c *x509.Certificate) { authority(c); change(c) })
			return draw(middle, edKey(7), name, nil), []*x509.Certificate{middle.cert}
		}
	}
	good(t, drawn(at(begin.Add(-time.Hour), begin.Add(time.Hour))))
	good(t, below(at(begin.Add(-time.Hour), begin.Add(time.Hour))))
	for _, c := range []bad{
		{name: "a second ago", of: drawn(at(begin.Add(-time.Hour), begin.Add(-time.Second))), want: "expired"},
		{name: "not yet valid", of: drawn(at(begin.Add(time.Second), begin.Add(time.Hour))), want: "not yet valid"},
		{name: "the one in the middle", of: below(at(begin.Add(-time.Hour), begin.Add(-time.Second))), want: "expired"},
	} {
		c.believed(t)
	}
}

// revocations is a list of an authority's.
func revocations(by *signer, until time.Time, all ...*signer) *x509.RevocationList {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Date(2025, 12, 1, 0, 0, 0, 0, time.UTC), NextUpdate: until}
	for _, s := range all {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s.cert.SerialNumber, RevocationTime: list.ThisUpdate})
	}
	der := must(x509.CreateRevocationList(rand.Reader, list, by.cert, by.key))
	return must(x509.ParseRevocationList(der))
}

func negativeRevoked(t *testing.T) {
	later := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b := draw(nil, edKey(7), "a.test", nil), draw(nil, edKey(7), "b.test", nil)
	middle := draw(nil, edKey(8), "middle", authority)
	below := func(name string) (*signer, []*x509.Certificate) {
		return draw(middle, edKey(7), name, nil), []*x509.Certificate{middle.cert}
	}
	good(t, drawn(nil), revocations(testCA, later, middle), revocations(middle, later, a, b))
	for _, c := range []bad{
		{name: "its own", of: drawn(nil), crls: []*x509.RevocationList{revocations(testCA, later, a, b)}, want: "was revoked"},
		{name: "the one in the middle", of: below, crls: []*x509.RevocationList{revocations(testCA, later, middle)}, want: "was revoked"},
		{name: "its own, by the one in the middle", of: below, crls: []*x509.RevocationList{revocations(middle, later, a, b)}, want: "was revoked"},
		{name: "nobody knows: the list has run out", of: drawn(nil), crls: []*x509.RevocationList{revocations(testCA, time.Date(2025, 12, 2, 0, 0, 0, 0, time.UTC))}, want: "not valid now"},
	} {
		c.believed(t)
	}
}

func negativeUsage(t *testing.T) {
	extended := func(u ...x509.ExtKeyUsage) func(c *x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	good(t, drawn(extended(x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageServerAuth)))
	for _, c := range []bad{
		{name: "for code", of: drawn(extended(x509.ExtKeyUsageCodeSigning)), want: "for something else"},
		{name: "for mail and time stamps", of: drawn(extended(x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageTimeStamping)), want: "for something else"},
		{name: "the key is not for signatures", of: drawn(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), want: "not for signatures"},
		{name: "an authority's own", of: drawn(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageDigitalSignature }), want: "an authority's own"},
		{name: "signed by one that is no authority", of: func(name string) (*signer, []*x509.Certificate) {
			return draw(certOfC, edKey(7), name, nil), []*x509.Certificate{certOfC.cert}
		}, want: "authority"},
	} {
		c.believed(t)
	}
}

func negativeChain(t *testing.T) {
	below := func(depth int) func(name string) (*signer, []*x509.Certificate) {
		return func(name string) (*signer, []*x509.Certificate) {
			by, more := testCA, []*x509.Certificate(nil)
			for n := range depth {
				by = draw(by, edKey(byte(20+n)), strings.Repeat("deep", n+1), authority)
				more = append([]*x509.Certificate{by.cert}, more...)
			}
			return draw(by, edKey(7), name, nil), more
		}
	}
	good(t, below(auth.MaxChain-2))
	for _, c := range []bad{
		{name: "one too many", of: below(auth.MaxChain - 1), want: "at most 5"},
		{name: "as many as a message may have", of: below(auth.MaxCertificates - 1), want: "at most 5"},
		{name: "more than a message may have", of: below(auth.MaxCertificates), want: "more than 8 certificates"},
		{name: "below one that may have none below", of: func(name string) (*signer, []*x509.Certificate) {
			last := draw(nil, edKey(20), "last", func(c *x509.Certificate) { authority(c); c.MaxPathLenZero = true })
			deeper := draw(last, edKey(21), "deeper", authority)
			return draw(deeper, edKey(7), name, nil), []*x509.Certificate{deeper.cert, last.cert}
		}, want: "too many intermediates"},
	} {
		c.believed(t)
	}
}
