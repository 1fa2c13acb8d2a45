// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"slices"
	"testing"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Policies that have something to lose.
const (
	hybridFirst = "aes256gcm16-prfsha256-x25519-ke1_mlkem768,aes256gcm16-prfsha256-x25519"
	strongFirst = "aes256gcm16-aes128gcm16-prfsha256-x25519-ecp256"
)

// offered lets somebody change the proposals in an SA payload.
func offered(change func(all []wire.Proposal) []wire.Proposal) func(m *Message) {
	return func(m *Message) {
		offer, ok := wire.Find[*wire.SA](m.Payloads)
		if !ok {
			return
		}
		c := &wire.SA{}
		for _, p := range offer.Proposals {
			p.Transforms = slices.Clone(p.Transforms)
			c.Proposals = append(c.Proposals, p)
		}
		c.Proposals = change(c.Proposals)
		m.Payloads = with(slices.Clone(m.Payloads), c)
	}
}

// untransformed takes transforms out of all proposals.
func untransformed(which func(t wire.Transform) bool) func(m *Message) {
	return offered(func(all []wire.Proposal) []wire.Proposal {
		for i := range all {
			all[i].Transforms = slices.DeleteFunc(all[i].Transforms, which)
		}
		return all
	})
}

// unnotified takes notifications out.
func unnotified(types ...wire.NotifyType) func(m *Message) {
	return func(m *Message) { m.Without(types...) }
}

// added puts a payload behind the others.
func added(p wire.Payload) func(m *Message) {
	return func(m *Message) { m.Payloads = append(slices.Clone(m.Payloads), p) }
}

// turned turns a bit of a notification.
func turned(which wire.NotifyType) func(m *Message) {
	return func(m *Message) {
		n := *m.Notify(which)
		n.Data = bytes.Clone(n.Data)
		n.Data[0] ^= 1
		m.Payloads = with(slices.Clone(m.Payloads), &n)
	}
}

// negativeDowngrade: somebody between the ends changes IKE_SA_INIT, which nothing protects
// but the AUTH of its sender. The one who got it changed finds out, or the ends never have
// the same keys; the other end is told, or gives up.
func negativeDowngrade(t *testing.T) {
	additional := func(t wire.Transform) bool { return t.Type == wire.AdditionalKeyExchange1 }
	strong := func(t wire.Transform) bool { return t.Type == wire.Encryption && t.KeyLength == 256 }
	weak := offered(func(all []wire.Proposal) []wire.Proposal {
		for i := range all[0].Transforms {
			if strong(all[0].Transforms[i]) {
				all[0].Transforms[i].KeyLength = 128
			}
		}
		return all
	})
	second := offered(func(all []wire.Proposal) []wire.Proposal {
		all[1].Number = 1
		return all[1:]
	})
	instead := offered(func(all []wire.Proposal) []wire.Proposal { // the answer to the second proposal
		all[0].Number = 2
		all[0].Transforms = slices.DeleteFunc(all[0].Transforms, additional)
		return all
	})
	none := func(*Message) {}
	for _, c := range []struct {
		name      string
		ike       string
		request   func(m *Message)
		response  func(m *Message)
		by        string // who finds out; "": nobody can read the other
		withoutKE bool   // fails without additional key exchange, so it must be there otherwise
	}{
		{"the hybrid proposal is taken out of the request", hybridFirst, second, instead, "B", true},
		{"additional key exchanges are taken out of the request", hybridFirst, untransformed(additional), instead, "B", true},
		{"INTERMEDIATE_EXCHANGE_SUPPORTED is taken out of the request", hybridFirst, unnotified(wire.IntermediateSupported), none, "B", true},
		{"INTERMEDIATE_EXCHANGE_SUPPORTED is taken out of the response", hybridFirst, none, unnotified(wire.IntermediateSupported), "", true},
		{"the answer is bent to the proposal without hybrid", hybridFirst, none, instead, "", true},
		{"the answer is bent, and INTERMEDIATE_EXCHANGE_SUPPORTED taken out", hybridFirst, none, func(m *Message) { instead(m); m.Without(wire.IntermediateSupported) }, "", true},
		{"strong encryption is taken out of the request", strongFirst, untransformed(strong), none, "B", false},
		{"strong encryption is taken out of the answer", strongFirst, none, weak, "", false},
		{"another proposal is added to the request", strongFirst, offered(func(all []wire.Proposal) []wire.Proposal {
			extra := all[0]
			extra.Number++
			return append(all, extra)
		}), none, "B", false},
		{"SIGNATURE_HASH_ALGORITHMS is taken out of the request", strongFirst, unnotified(wire.SignatureHashAlgorithms), none, "B", false},
		{"SIGNATURE_HASH_ALGORITHMS is taken out of the response", strongFirst, none, unnotified(wire.SignatureHashAlgorithms), "A", false},
		{"SHA-1 is put into SIGNATURE_HASH_ALGORITHMS", strongFirst, none, func(m *Message) {
			m.Payloads = with(slices.Clone(m.Payloads), wire.NewHashAlgorithms(wire.HashSHA1, wire.HashSHA256))
		}, "A", false},
		{"fragmentation is taken out of the request", strongFirst, unnotified(wire.FragmentationSupported), none, "B", false},
		{"fragmentation is taken out of the response", strongFirst, none, unnotified(wire.FragmentationSupported), "A", false},
		{"a NAT is made up in the request", strongFirst, turned(wire.NATDetectionSourceIP), none, "B", false},
		{"a NAT is made up in the response", strongFirst, none, turned(wire.NATDetectionSourceIP), "A", false},
		{"a vendor ID is added to the request", strongFirst, added(wire.VendorID("somebody")), none, "B", false},
		{"a vendor ID is added to the response", strongFirst, none, added(wire.VendorID("somebody")), "A", false},
		{"the nonce of the request", strongFirst, func(m *Message) { m.Payloads = with(slices.Clone(m.Payloads), wire.Nonce(make([]byte, 32))) }, none, "", false},
		{"the nonce of the response", strongFirst, none, func(m *Message) { m.Payloads = with(slices.Clone(m.Payloads), wire.Nonce(make([]byte, 32))) }, "", false},
	} {
		for _, certificates := range []bool{false, true} {
			name := c.name + map[bool]string{false: ", shared keys", true: ", certificates"}[certificates]
			t.Run(name, func(t *testing.T) {
				o := Options{Alone: true, IKE: c.ike}
				if certificates {
					o = certifiedByECDSA()
					o.IKE = c.ike
				}
				w := New(t, o)
				w.Strangers()
				w.On("A INIT→", c.request)
				w.On("B INIT←", c.response)
				w.A.Connect(w.B)
				switch c.by {
				case "A":
					refusedBy(w, w.A)
				case "B":
					refusedBy(w, w.B)
				default:
					nothingCame(w)
					w.True(w.B.Ups == 0, "B believed it")
				}
				// Left alone, the same ends take the better one.
				w.Calm()
				w.Begin()
				w.A.Connect(w.B)
				w.Drain()
				i := w.A.IKE()
				w.True(i.ID != 0 && i.Suite.KeyLength == 256 && (len(i.Further) == 1) == c.withoutKE, "%+v", i)
			})
		}
	}
	t.Run("a cookie that nobody asked for is taken out again", func(t *testing.T) {
		w := New(t, Options{Alone: true})
		w.Strangers()
		w.A.Connect(w.B)
		forgedReply(w, &wire.Notify{Type: wire.Cookie, Data: []byte("somebody's")})
		w.Flush()
		w.On("A INIT→", unnotified(wire.Cookie))
		w.WaitFor("A INIT→ COOKIE")
		w.Drain()
		w.Count("B AUTH← AUTHENTICATION_FAILED", 1)
		w.Count("A INIT→ !COOKIE", 2) // the first, and at once another attempt
		w.True(w.A.Ups == 1 && w.B.Ups == 1, "which B got as it was sent")
	})
	t.Run("a cookie is turned on its way back", func(t *testing.T) {
		w := New(t, Options{Alone: true, Limits: sa.Limits{CookieThreshold: -1}})
		w.A.Connect(w.B)
		w.On("A INIT→ COOKIE", turned(wire.Cookie))
		nothingCame(w)
		w.True(w.B.Machine.Counters().HalfOpen == 0 && w.B.Ups == 0, "B kept nothing")
		w.Never("B INIT← SA")
	})
	for _, certificates := range []bool{false, true} {
		t.Run(map[bool]string{false: "another group by INVALID_KE_PAYLOAD, shared keys", true: "another group by INVALID_KE_PAYLOAD, certificates"}[certificates], func(t *testing.T) {
			o := Options{Alone: true}
			if certificates {
				o = certifiedByECDSA()
			}
			o.IKE = "aes128gcm16-prfsha256-ecp384-x25519-modp2048"
			w := New(t, o)
			w.A.Connect(w.B)
			w.Flush()
			forgedReply(w, wire.NewInvalidKE(wire.MODP2048))
			w.Drain()
			w.Count("B INIT← INVALID_KE_PAYLOAD", 1) // the responder sees what it would not have asked for
			begun(w)
			w.True(w.A.IKE().KeyExchange == wire.ECP384, "the ends took %s", wire.KeyExchangeName(w.A.IKE().KeyExchange))
		})
	}
}

// certifiedByECDSA is a World whose ends sign with ECDSA on P-256, which could do without
// RFC 7427.
func certifiedByECDSA() Options {
	return Options{Alone: true, A: proves(&signer{ecKey(1), ecCertificate}), B: proves(issue(testCA, ecKey(2), "b.test"))}
}
