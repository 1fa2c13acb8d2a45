// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// lists gives an SA payload of proposals for an IKE SA, each a list of transforms.
func lists(all ...[]wire.Transform) *wire.SA {
	offer := &wire.SA{}
	for i, l := range all {
		offer.Proposals = append(offer.Proposals, wire.Proposal{Number: uint8(i + 1), Protocol: wire.ProtocolIKE, Transforms: l})
	}
	return offer
}

// TestCasesOddOffers is impair-11-ikev2-transform of section 16: what B makes of offers that
// nobody should make, alone and with a good proposal behind.
func TestCasesOddOffers(t *testing.T) {
	gcm := wire.Transform{Type: wire.Encryption, ID: wire.EncryptionAESGCM16, KeyLength: 128}
	cbc := wire.Transform{Type: wire.Encryption, ID: wire.EncryptionAESCBC, KeyLength: 128}
	chacha := wire.Transform{Type: wire.Encryption, ID: wire.EncryptionChaCha20Poly1305}
	prf := wire.Transform{Type: wire.PseudorandomFunction, ID: wire.PRFHMACSHA256}
	sha := wire.Transform{Type: wire.Integrity, ID: wire.IntegrityHMACSHA256128}
	none := wire.Transform{Type: wire.Integrity}
	group := wire.Transform{Type: wire.KeyExchangeMethod, ID: wire.Curve25519}
	long := func(x wire.Transform, bits uint16) wire.Transform { x.KeyLength = bits; return x }
	id := func(x wire.Transform, id uint16) wire.Transform { x.ID = id; return x }
	other := func(x wire.Transform, a wire.Attribute) wire.Transform {
		x.Others = []wire.Attribute{a}
		return x
	}
	bad := map[string][]wire.Transform{
		"an unknown transform type":         {gcm, prf, group, {Type: 99, ID: 1}},
		"an unknown encryption":             {id(gcm, 999), prf, group},
		"an unknown PRF":                    {gcm, id(prf, 999), group},
		"an unknown integrity":              {cbc, prf, id(sha, 999), group},
		"an unknown group":                  {gcm, prf, id(group, 999)},
		"a key length where there is none":  {long(chacha, 256), prf, group},
		"a PRF's key length":                {gcm, long(prf, 256), group},
		"no key length":                     {long(gcm, 0), prf, group},
		"no key length, CBC":                {long(cbc, 0), prf, sha, group},
		"another key length":                {long(gcm, 64), prf, group},
		"an unknown attribute":              {other(gcm, wire.Attribute{Type: 77, Short: true, Value: []byte{0, 1}}), prf, group},
		"group NONE":                        {gcm, prf, id(group, wire.KeyExchangeNone)},
		"no group":                          {gcm, prf},
		"no PRF":                            {gcm, group},
		"integrity NONE where it is needed": {cbc, prf, none, group},
		"no integrity where it is needed":   {cbc, prf, group},
		"no encryption":                     {prf, sha, group},
		"integrity beside AEAD":             {gcm, prf, sha, group},
	}
	var ways []string
	for way := range bad {
		ways = append(ways, way)
	}
	slices.Sort(ways)
	o := Options{Alone: true, IKE: "aes128gcm16-chacha20poly1305-prfsha256-x25519,aes128-sha256-prfsha256-x25519"}
	answerTo := func(w *World, offer *wire.SA) *Message {
		var answer *Message
		for _, m := range w.All("A INIT→") {
			before := len(w.All("B INIT←"))
			w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), altered(w, m, func(h *wire.Header, p []wire.Payload) []wire.Payload {
				h.SPIi[1] ^= byte(before + 1)
				return with(p, offer)
			}))
			if all := w.All("B INIT←"); len(all) == before+1 {
				answer = all[before]
			}
		}
		return answer
	}
	chosen := func(m *Message) uint8 {
		offer, ok := wire.Find[*wire.SA](m.Payloads)
		if !ok {
			return 0
		}
		return offer.Proposals[0].Number
	}
	Run(t,
		Case{Name: "impair-11-ikev2-transform", Options: o, Ways: ways, Run: func(w *World) {
			w.A.Connect(w.B)
			m := answerTo(w, lists(bad[w.Way]))
			w.True(m != nil && m.Notify(wire.NoProposalChosen) != nil && w.B.Machine.Counters().HalfOpen == 0, "alone it is refused: %v", m)
			m = answerTo(w, lists(bad[w.Way], []wire.Transform{gcm, prf, group}))
			w.True(m != nil && chosen(m) == 2, "another one behind it matches: %v", m)
			w.Lose("B INIT← NO_PROPOSAL_CHOSEN")
			w.Lose("B INIT← SA")
			begun(w)
		}},
		// RFC 5282, section 8: what an AEAD's integrity is said to be.
		Case{Name: "impair-13-ikev2-integrity-none, AEAD", Options: o, Run: func(w *World) {
			w.A.Connect(w.B)
			m := answerTo(w, lists([]wire.Transform{gcm, prf, none, group}))
			w.True(m != nil && chosen(m) == 1, "it is the same as without: %v", m)
			w.Lose("B INIT← SA")
			begun(w)
		}},
	)
}

// TestCasesNotOffered is initiator-answer-not-offered of section 16.
func TestCasesNotOffered(t *testing.T) {
	to := func(kind wire.TransformType, change func(x *wire.Transform)) func(offer *wire.SA) {
		return func(offer *wire.SA) {
			for i := range offer.Proposals[0].Transforms {
				if x := &offer.Proposals[0].Transforms[i]; x.Type == kind {
					change(x)
				}
			}
		}
	}
	bent := map[string]func(offer *wire.SA){
		"transform":     to(wire.Encryption, func(x *wire.Transform) { x.ID, x.KeyLength = wire.EncryptionChaCha20Poly1305, 0 }),
		"key length":    to(wire.Encryption, func(x *wire.Transform) { x.KeyLength = 256 }),
		"no key length": to(wire.Encryption, func(x *wire.Transform) { x.KeyLength = 0 }),
		"number":        func(offer *wire.SA) { offer.Proposals[0].Number = 7 },
		"two proposals": func(offer *wire.SA) {
			second := offer.Proposals[0]
			second.Number++
			offer.Proposals = append(offer.Proposals, second)
		},
		"two transforms of a type": func(offer *wire.SA) {
			p := &offer.Proposals[0]
			p.Transforms = append(slices.Clone(p.Transforms), p.Transforms[0])
		},
		"a further transform": func(offer *wire.SA) {
			p := &offer.Proposals[0]
			p.Transforms = append(slices.Clone(p.Transforms), wire.Transform{Type: wire.Integrity, ID: wire.IntegrityHMACSHA256128})
		},
		"protocol":     func(offer *wire.SA) { offer.Proposals[0].Protocol = wire.ProtocolAH },
		"no transform": func(offer *wire.SA) { offer.Proposals[0].Transforms = offer.Proposals[0].Transforms[:1] },
	}
	var ways []string
	for way := range bent {
		ways = append(ways, way)
	}
	slices.Sort(ways)
	esn := map[string]func(offer *wire.SA){"ESN": to(wire.SequenceNumbers, func(x *wire.Transform) { x.ID ^= 1 })}
	for way, change := range bent {
		esn[way] = change
	}
	Run(t,
		Case{Name: "initiator-answer-not-offered", Options: Options{Alone: true}, Ways: ways, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→")
			for _, m := range w.All("B INIT←") {
				b := altered(w, m, func(_ *wire.Header, p []wire.Payload) []wire.Payload {
					offer, _ := wire.Find[*wire.SA](p)
					answer := &wire.SA{Proposals: slices.Clone(offer.Proposals)}
					answer.Proposals[0].Transforms = slices.Clone(offer.Proposals[0].Transforms)
					bent[w.Way](answer)
					return with(p, answer)
				})
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), b)
				w.Never("A AUTH→")
			}
			w.Deliver("B INIT←", "A AUTH→", "B AUTH←")
			begun(w)
		}},
		Case{Name: "initiator-answer-not-offered, Child SA", Ways: append(slices.Clone(ways), "ESN"), Run: func(w *World) {
			old := w.A.SA()
			w.On("B C← SA", func(m *Message) {
				if offer, ok := wire.Find[*wire.SA](m.Payloads); ok {
					esn[w.Way](offer)
				}
			})
			w.A.Rekey(old)
			w.Deliver("A C→", "B C←")
			w.Stays(old)
			w.Deliver("A D→ D", "B D←")
			w.Run(time.Minute)
			w.Stays(old)
			w.True(len(w.A.Plane.All(Installed)) == 1, "A has installed nothing")
			w.Calm()
			w.End(1)
			w.Flows()
		}},
	)
}
