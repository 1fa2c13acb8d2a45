// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1" // to see it refused
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

func patternOf(text string) auth.Pattern {
	p, err := auth.ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}

// psk gives an end keys by peers' names.
func psk(pairs ...string) func(c *sa.Connection) {
	return func(c *sa.Connection) {
		c.SharedKeys = nil
		for i := 0; i < len(pairs); i += 2 {
			c.SharedKeys = append(c.SharedKeys, auth.SharedKey{Peer: patternOf(pairs[i]), Key: crypto.Secret(pairs[i+1])})
		}
	}
}

// identified gives an end another identity.
func identified(text string) func(c *sa.Connection) {
	return func(c *sa.Connection) { c.Local = identityOf(text) }
}

// all does several things to a connection.
func all(do ...func(c *sa.Connection)) func(c *sa.Connection) {
	return func(c *sa.Connection) {
		for _, f := range do {
			f(c)
		}
	}
}

// anybody lets all in who have a credential.
func anybody(c *sa.Connection) { c.Peers = nil }

// refusedThere fails unless B refused A's IKE_AUTH without a word about the reason, nothing is
// left at either end, A pauses, and the next good peer, C, is served.
func refusedThere(w *World) {
	w.T.Helper()
	w.A.Want(w.B)
	w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH← AUTHENTICATION_FAILED")
	for _, m := range w.All("B AUTH←") {
		n, ok := m.Payloads[0].(*wire.Notify)
		w.True(ok && len(m.Payloads) == 1 && len(n.Data) == 0 && len(n.SPI) == 0 && m.Keys() != nil, "AUTHENTICATION_FAILED alone, inside of SK: %s", m)
	}
	w.True(len(w.A.Infos()) == 0 && len(w.B.Infos()) == 0, "the IKE SA is gone at both ends")
	w.True(len(w.A.Failures) == 1 && w.A.Failures[0].Retry.After(w.Now.Add(time.Second)), "A pauses: %v", w.A.Failures)
	w.A.Unwant(w.B)
	c := w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{goodPeer(w)}})
	c.Connect(w.B)
	w.Settle()
	w.True(c.Ups == 1 || !w.Plain(), "the next good peer is served")
}

// goodPeer is the policy of C, which B lets in.
func goodPeer(w *World) *sa.Connection {
	c := *w.A.Connection()
	c.Local, c.Peers = identityOf("c.test"), nil
	if w.B.Connection().Trust != nil {
		proves(certOfC)(&c)
	} else {
		c.Key, c.Chain = nil, nil
		psk("b.test", "between b and c")(&c)
	}
	return &c
}

// TestCasesAuthFailed are those rows of section 12 that end with AUTHENTICATION_FAILED.
func TestCasesAuthFailed(t *testing.T) {
	keys := psk("a.test", "between a and b", "c.test", "between b and c")
	ofB := all(anybody, keys)
	failed := func(name string, a, b func(c *sa.Connection)) Case {
		return Case{Name: name, Options: Options{Alone: true, A: a, B: b}, Run: refusedThere}
	}
	authBent := func(name string, change func(w *World, m *Message)) Case {
		o := certified()
		o.A, o.B = all(proves(&signer{ecKey(1), ecCertificate}), anybody), all(proves(certOfB), anybody)
		return Case{Name: name, Options: o, Run: func(w *World) {
			w.On("A AUTH→", func(m *Message) { change(w, m) })
			refusedThere(w)
		}}
	}
	digest := func(identifier string, sum func(octets []byte) []byte) func(w *World, m *Message) {
		return func(w *World, m *Message) {
			signature, err := ecdsa.SignASN1(rand.Reader, ecKey(1), sum(signedOctets(w, m)))
			if err != nil {
				panic(err)
			}
			data := append([]byte{byte(len(identifier))}, identifier...)
			m.Payloads = with(m.Payloads, &wire.Authentication{Method: wire.AuthDigitalSignature, Data: append(data, signature...)})
		}
	}
	const sha256ID, sha1ID = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", "\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01"
	full := func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
	Run(t,
		failed("auth-failed-responder, a wrong shared key", psk("b.test", "another key"), ofB),
		failed("auth-failed-responder, an identity without a key", all(identified("d.test"), psk("b.test", "between a and b")), ofB),
		failed("auth-failed-responder, a certificate of another authority", proves(strangersA), all(proves(certOfB), anybody)),
		failed("auth-failed-responder, another's certificate", proves(&signer{certOfA.key, certOfC.cert}), all(proves(certOfB), anybody)),
		failed("auth-failed-responder, ikev2-auth-mismatch-bug", proves(certOfA), ofB),
		failed("auth-failed-responder, ikev2-asymmetric-16-auth-mismatch", psk("b.test", "between a and b"), all(proves(certOfB), anybody)),
		failed("auth-id-not-for-key, another's name in a certificate", all(proves(certOfA), identified("c.test")), all(proves(certOfB), anybody)),
		failed("auth-id-not-for-key, another's name with a shared key", identified("c.test"), ofB),
		failed("auth-id-not-for-key, a group's key and a name that is not let in", all(grouped, identified("d.test")), func(c *sa.Connection) {
			psk("c.test", "between b and c", "*", "everybody's")(c)
			c.Peers = []auth.Pattern{patternOf("a.test"), patternOf("c.test")}
		}),
		Case{Name: "auth-eap-asked", Options: Options{Alone: true, B: ofB}, Run: func(w *World) {
			w.On("A AUTH→", func(m *Message) {
				m.Payloads = slices.DeleteFunc(m.Payloads, func(p wire.Payload) bool { return p.PayloadType() == wire.PayloadAuthentication })
			})
			refusedThere(w)
		}},
		authBent("cve-2026-50722-truncate-signed-hash-ikev2, shorter", digest(sha256ID, func(b []byte) []byte { return full(b)[:16] })),
		authBent("cve-2026-50722-truncate-signed-hash-ikev2, longer", digest(sha256ID, func(b []byte) []byte { return append([]byte{0}, full(b)...) })),
		authBent("cve-2026-50722-truncate-signed-hash-ikev2, SHA-1", digest(sha1ID, func(b []byte) []byte { s := sha1.Sum(b); return s[:] })),
		authBent("cve-2026-50722-truncate-signed-hash-ikev2, a hash that B did not list", digest("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x01", full)),
	)
	// The bent ones would be good if they were not bent.
	o := certified()
	o.A = proves(&signer{ecKey(1), ecCertificate})
	w := New(t, o)
	w.On("A AUTH→", func(m *Message) { digest(sha256ID, full)(w, m) })
	w.A.Connect(w.B)
	w.Settle()
	begun(w)
}

// ecCertificate is A's, with a key on P-256.
var ecCertificate = issue(testCA, ecKey(1), "a.test").cert

// TestCasesAuth are the other rows of section 12 about IKE_AUTH.
func TestCasesAuth(t *testing.T) {
	alone := Options{Alone: true}
	// childFails lets the first Child SA fail with a notification, again and again.
	childFails := func(notify wire.NotifyType) func(w *World) {
		return func(w *World) {
			if notify != wire.NoProposalChosen {
				w.On("A AUTH→", breakTS)
				w.On("A C→", breakTS)
			}
			if notify == wire.FailedCPRequired {
				for _, p := range []string{"B AUTH← TS_UNACCEPTABLE", "B C← TS_UNACCEPTABLE"} {
					w.On(p, func(m *Message) {
						m.Without(wire.TSUnacceptable)
						m.Payloads = append(m.Payloads, &wire.Notify{Type: notify})
					})
				}
			}
			w.A.Want(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			w.True(w.A.IKE().ID != 0 && w.B.IKE().ID != 0, "the IKE SA stays")
			w.Run(10 * time.Minute)
			w.True(w.A.IKE().ID != 0 && w.B.IKE().ID != 0, "the IKE SA stays for long")
			tries := len(w.All("A C→"))
			w.True(tries > 2 && tries < 20, "%d tries in ten minutes", tries)
			w.True(len(w.A.Failures) == tries+1 || !w.Plain(), "each is told: %d of %d", len(w.A.Failures), tries)
			w.Calm()
			w.A.Unwant(w.B)
			w.EndIKE(0)
		}
	}
	Run(t,
		Case{Name: "auth-failed-initiator", Options: alone, Run: func(w *World) {
			w.Strangers()
			w.On("B AUTH←", func(m *Message) {
				a, _ := wire.Find[*wire.Authentication](m.Payloads)
				bent := *a
				bent.Data = slices.Clone(a.Data)
				bent.Data[0] ^= 1
				m.Payloads = with(m.Payloads, &bent)
			})
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			w.True(len(w.A.Plane.All(Installed, Retired, Reserved)) == 0 && len(w.A.Infos()) == 0, "A discards all")
			w.Deliver("A I→ AUTHENTICATION_FAILED")
			w.True(len(w.A.Failures) == 1, "and says so")
			if w.Plain() { // it says so once
				w.EndIKE(0)
			}
			w.True(w.A.Ups == 0, "nothing was up")
		}},
		Case{Name: "auth-child-fails, NO_PROPOSAL_CHOSEN", Options: Options{Alone: true, A: ESP("aes128gcm16-x25519"), B: ESP("aes256gcm16-x25519")}, Loss: true, Run: childFails(wire.NoProposalChosen)},
		Case{Name: "auth-child-fails, TS_UNACCEPTABLE", Options: alone, Loss: true, Run: childFails(wire.TSUnacceptable)},
		Case{Name: "auth-child-fails, FAILED_CP_REQUIRED", Options: alone, Loss: true, Run: childFails(wire.FailedCPRequired)},
		Case{Name: "impair-09-ikev2-omit-ike-auth-child-initiator", Options: alone, Ways: []string{"SA", "the selectors", "one selector", "all"}, Run: func(w *World) {
			drop := map[string][]wire.PayloadType{
				"SA": {wire.PayloadSA}, "the selectors": {wire.PayloadSelectorsOfInitiator, wire.PayloadSelectorsOfResponder},
				"one selector": {wire.PayloadSelectorsOfResponder},
				"all":          {wire.PayloadSA, wire.PayloadSelectorsOfInitiator, wire.PayloadSelectorsOfResponder},
			}[w.Way]
			w.On("A AUTH→", func(m *Message) {
				m.Payloads = slices.DeleteFunc(m.Payloads, func(p wire.Payload) bool { return slices.Contains(drop, p.PayloadType()) })
			})
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→")
			if w.Way != "all" {
				w.Deliver("B AUTH← INVALID_SYNTAX")
				w.EndIKE(0)
				return
			}
			// We announce that we do without (RFC 6023).
			w.True(w.All("B INIT← CHILDLESS_IKEV2_SUPPORTED") != nil, "B announced it")
			w.Deliver("B AUTH←")
			w.True(w.A.IKE().ID != 0 && w.A.SA() == nil && w.B.SA() == nil, "an IKE SA without a Child SA")
			w.Calm()
			w.EndIKE(1)
			w.Flows() // a Child SA by CREATE_CHILD_SA
		}},
		Case{Name: "impair-09-ikev2-omit-ike-auth-child-responder", Options: alone, Run: func(w *World) {
			w.On("A AUTH→", breakTS)
			w.On("B AUTH←", func(m *Message) { m.Without(wire.TSUnacceptable) })
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH← AUTH")
			w.True(w.A.IKE().ID != 0 && w.B.IKE().ID != 0 && len(w.A.Failures) == 1, "the Child SA failed, the IKE SA stays")
			w.Calm()
			w.EndIKE(1)
			w.Flows()
		}},
		Case{Name: "auth-id-reserved-bits", Options: alone, Run: func(w *World) {
			w.On("A AUTH→", func(m *Message) {
				id, _ := wire.Find[*wire.Identification](m.Payloads)
				bits := *id
				bits.Reserved = [3]byte{1, 2, 0xff}
				m.Payloads = with(m.Payloads, &bits)
				reproved(w, m)
			})
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "auth-id-private-address", Options: Options{Alone: true, A: identified("192.168.1.10"), B: all(psk("192.168.1.10", "between a and b"), func(c *sa.Connection) {
			c.Peers = []auth.Pattern{patternOf("192.168.1.10")}
		})}, Run: func(w *World) {
			w.NAT("203.0.113.1", w.A)
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			begun(w)
			w.True(w.B.IKE().Peer.Identity.String() == "192.168.1.10" && w.B.IKE().Peer.Remote.Addr() == netip.MustParseAddr("203.0.113.1"), "%v", w.B.IKE().Peer)
		}},
	)
}

// TestCasesAuthOrders is the row auth-order-of-payloads: IKE_AUTH, request and response, with
// its payloads in other orders.
func TestCasesAuthOrders(t *testing.T) {
	for n := range 40 {
		t.Run(fmt.Sprintf("auth-order-of-payloads/%d", n), func(t *testing.T) {
			o := certified()
			if n%2 == 0 {
				o = Options{Alone: true}
			}
			w := New(t, o)
			shuffle := func(m *Message) {
				p := slices.Clone(m.Payloads)
				switch k := n / 2; {
				case k == 0:
					slices.Reverse(p)
				case k <= len(p):
					p = append(p[k-1:], p[:k-1]...)
				default:
					for i := range p {
						j := (i*7 + k*5) % len(p)
						p[i], p[j] = p[j], p[i]
					}
				}
				m.Payloads = p
			}
			w.On("A AUTH→", shuffle)
			w.On("B AUTH←", shuffle)
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			begun(w)
		})
	}
}
