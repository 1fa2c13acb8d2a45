// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// longOffer is as much as one IKE_SA_INIT can offer, and nothing of it is acceptable.
func longOffer() *wire.SA {
	offer := &wire.SA{}
	for n := range 30 {
		p := wire.Proposal{Number: uint8(n + 1), Protocol: wire.ProtocolIKE}
		for k := range 30 {
			p.Transforms = append(p.Transforms, wire.Transform{Type: wire.Encryption, ID: uint16(1000 + k)})
		}
		offer.Proposals = append(offer.Proposals, p)
	}
	return offer
}

// TestCasesFailedRequests: requests that leave no half-open SA are met with cookies as those
// are that leave one, and without them again when there were none for a while.
func TestCasesFailedRequests(t *testing.T) {
	bad := map[string]wire.Payload{
		"a public value that is none": &wire.KeyExchange{Method: wire.ECP521, Data: make([]byte, 132)},
		"one of MODP":                 &wire.KeyExchange{Method: wire.MODP4096, Data: append(make([]byte, 511), 1)},
		"nothing acceptable":          longOffer(),
		"another method":              &wire.KeyExchange{Method: wire.Curve25519, Data: make([]byte, 32)},
		"no sense":                    &wire.SA{Proposals: []wire.Proposal{{Number: 2, Protocol: wire.ProtocolIKE}}},
	}
	ike := map[string]string{"one of MODP": "aes256gcm16-prfsha256-modp4096"}
	for _, name := range []string{"a public value that is none", "one of MODP", "nothing acceptable", "another method", "no sense"} {
		o := Options{Alone: true, IKE: "aes256gcm16-prfsha256-ecp521", Limits: sa.Limits{CookieThreshold: 8}}
		if other := ike[name]; other != "" {
			o.IKE = other
		}
		Run(t, Case{Name: "failed requests, " + name, Options: o, Run: func(w *World) {
			flooded(w, func(f *flood) {
				one := func(n int) []wire.Payload {
					f.n++
					answer, _ := f.send(strangerAt(n), altered(w, f.like, func(h *wire.Header, p []wire.Payload) []wire.Payload {
						h.SPIi[1] ^= byte(f.n)
						h.SPIi[2] ^= byte(f.n >> 8)
						return with(p, bad[name])
					}))
					return answer
				}
				for n := range 8 {
					w.True(askedFor(one(n)) == nil, "number %d is below the limit", n)
				}
				for n := range 100 {
					w.True(askedFor(one(8+n)) != nil, "number %d must return a cookie", 8+n)
				}
				w.True(w.B.Machine.Counters().HalfOpen == 0, "nothing is half-open")
				w.Wait(20 * time.Second)
				for n := range 5 { // one of eight every 30/8 s
					w.True(askedFor(one(n)) == nil, "number %d of those that are forgotten", n)
				}
				w.True(askedFor(one(5)) != nil, "the others are not")
			})
			w.Deliver("A INIT→")
		}})
	}
}
