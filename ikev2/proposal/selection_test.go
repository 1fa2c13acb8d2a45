// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

var (
	init0  = proposal.Context{Protocol: ike, Exchange: true, Further: true}
	noIntm = proposal.Context{Protocol: ike, Exchange: true}
	auth   = proposal.Context{Protocol: esp, SPISize: 4}
	create = proposal.Context{Protocol: esp, SPISize: 4, Exchange: true, Further: true}
	rekey  = proposal.Context{Protocol: ike, SPISize: 8, Exchange: true, Further: true}
)

func parse(t testing.TB, x proposal.Context, s string) []proposal.Proposal {
	t.Helper()
	all, err := proposal.Parse(x.Protocol, s)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// spi is a good one for the context.
func spi(x proposal.Context) []byte { return []byte{0xC1, 2, 3, 4, 5, 6, 7, 8}[:x.SPISize] }

// chosen prints an answer as the log does, without protocol and SPI.
func chosen(c *proposal.Choice) string {
	names := []string{}
	for _, t := range c.Transforms {
		names = append(names, t.String())
	}
	return fmt.Sprintf("#%d %s", c.Number, strings.Join(names, "/"))
}

func TestSelection(t *testing.T) {
	cases := []struct {
		name          string
		x             proposal.Context
		policy, offer string
		sent          uint16
		want          string // "" for NO_PROPOSAL_CHOSEN
	}{
		{"the same", init0, "aes128-sha256-modp2048", "aes128-sha256-modp2048", wire.MODP2048, "#1 AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"},
		{"the responder's order of algorithms decides", init0, "aes256-aes128-sha512-sha256-x25519", "aes128-aes256-sha256-sha512-x25519", wire.Curve25519, "#1 AES_CBC_256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/CURVE_25519"},
		{"the responder's order of proposals decides", init0, "aes256gcm16-prfsha256-x25519,aes128-sha256-x25519", "aes128-sha256-x25519,aes256gcm16-prfsha256-x25519", wire.Curve25519, "#2 AES_GCM_16_256/PRF_HMAC_SHA2_256/CURVE_25519"},
		{"the method that was sent saves a trip", init0, "aes128-sha256-x25519-ecp256", "aes128-sha256-ecp256-x25519", wire.ECP256, "#1 AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256"},
		{"a method that was sent and is not accepted: INVALID_KE_PAYLOAD follows", init0, "aes128-sha256-ecp384", "aes128-sha256-ecp256-ecp384", wire.ECP256, "#1 AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_384"},
		{"no common encryption", init0, "aes256-sha256-x25519", "aes128-sha256-x25519", wire.Curve25519, ""},
		{"no common key exchange", init0, "aes128-sha256-x25519", "aes128-sha256-ecp256", wire.ECP256, ""},
		{"the hybrid, where both can", init0, "default", "default", wire.Curve25519, "#1 AES_GCM_16_256/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768"},
		{"the hybrid falls back without IKE_INTERMEDIATE", noIntm, "default", "default", wire.Curve25519, "#2 AES_GCM_16_256/PRF_HMAC_SHA2_256/CURVE_25519"},
		{"a policy of the hybrid alone does not fall back", noIntm, "aes128gcm16-prfsha256-x25519-ke1_mlkem768", "default", wire.Curve25519, ""},
		{"nor for an offer without it", init0, "aes128gcm16-prfsha256-x25519-ke1_mlkem768", "aes128gcm16-prfsha256-x25519", wire.Curve25519, ""},
		{"an optional round that the peer has", init0, "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke1_none", "aes128gcm16-prfsha256-x25519-ke1_mlkem768", wire.Curve25519, "#1 AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768"},
		{"an optional round that the peer has not", init0, "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke1_none", "aes128gcm16-prfsha256-x25519", wire.Curve25519, "#1 AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519"},
		{"a round that the policy does not know, and none", init0, "aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-x25519-ke3_mlkem768-ke3_none", wire.Curve25519, "#1 AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519/KE3_NONE"},
		{"a round that the policy does not know", init0, "aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-x25519-ke3_mlkem768", wire.Curve25519, ""},
		{"no method twice (RFC 9370, 2.2.1)", init0, "aes128gcm16-prfsha256-x25519-ke1_x25519-ke1_ecp256", "aes128gcm16-prfsha256-x25519-ke1_x25519-ke1_ecp256", wire.Curve25519, "#1 AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ECP_256"},
		{"no method twice, though nothing else is there", init0, "aes128gcm16-prfsha256-x25519-ke1_x25519", "aes128gcm16-prfsha256-x25519-ke1_x25519", wire.Curve25519, ""},
		{"gaps between rounds", init0, "aes128gcm16-prfsha256-x25519-ke2_ecp256-ke4_none-ke4_ecp521-ke6_ecp384", "aes128gcm16-prfsha256-x25519-ke2_ecp256-ke4_none-ke4_mlkem768-ke6_ecp384", wire.Curve25519, "#1 AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519/KE2_ECP_256/KE4_NONE/KE6_ECP_384"},
		{"ESP in IKE_AUTH: key exchanges are passed over", auth, "aes128gcm16-ecp256", "aes128gcm16-modp2048", 0, "#1 AES_GCM_16_128/NO_EXT_SEQ"},
		{"ESP: extended sequence numbers by the policy's order", auth, "aes128gcm16-esn-noesn", "aes128gcm16-noesn-esn", 0, "#1 AES_GCM_16_128/EXT_SEQ"},
		{"ESP: no common sequence numbers", auth, "aes128gcm16-esn", "aes128gcm16-noesn", 0, ""},
		{"CREATE_CHILD_SA with the key exchange that both want", create, "aes128gcm16-ecp256", "aes128gcm16-ecp256", wire.ECP256, "#1 AES_GCM_16_128/ECP_256/NO_EXT_SEQ"},
		{"CREATE_CHILD_SA: the policy wants one, the peer has none", create, "aes128gcm16-ecp256", "aes128gcm16", 0, ""},
		{"CREATE_CHILD_SA: the peer wants one, the policy has none", create, "aes128gcm16", "aes128gcm16-ecp256", wire.ECP256, ""},
		{"CREATE_CHILD_SA: the default takes what was sent", create, "default", "aes128gcm16-ecp384", wire.ECP384, "#1 AES_GCM_16_128/ECP_384/NO_EXT_SEQ"},
		{"CREATE_CHILD_SA: the default goes without", create, "default", "aes128gcm16", 0, "#1 AES_GCM_16_128/NO_EXT_SEQ"},
		{"CREATE_CHILD_SA: none where both have it", create, "default", "aes128gcm16-none-ecp256", 0, "#1 AES_GCM_16_128/NONE/NO_EXT_SEQ"},
		{"an IKE SA rekeyed", rekey, "aes128-sha256-modp2048", "aes128-sha256-modp2048", wire.MODP2048, "#1 AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			mine, theirs := parse(t, c.x, c.policy), parse(t, c.x, c.offer)
			// In IKE_AUTH too a peer may list its key exchanges.
			choice, err := proposal.Select(mine, proposal.Offer(theirs, spi(c.x), true), c.sent, c.x)
			if c.want == "" {
				if !errors.Is(err, proposal.ErrNoProposalChosen) {
					t.Errorf("chose %+v, %v", choice, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if chosen(choice) != c.want {
				t.Errorf("\n got %s\nwant %s", chosen(choice), c.want)
			}
			// What one of us answers, the other takes, and both mean the same.
			x := c.x
			again, err := proposal.Check(theirs, choice.Answer(x.Protocol, spi(x)), x)
			if err != nil {
				t.Fatal(err)
			}
			if again.Suite != choice.Suite || again.KeyExchange != choice.KeyExchange || fmt.Sprint(again.Further) != fmt.Sprint(choice.Further) || again.Extended != choice.Extended {
				t.Errorf("the initiator understood %+v, the responder meant %+v", again, choice)
			}
		})
	}
}

// bend changes the first proposal of an offer.
func bend(f func(p *wire.Proposal)) func(*wire.SA) {
	return func(sa *wire.SA) { f(&sa.Proposals[0]) }
}

// TestOffersThatBreakTheRules: section 3.3.6, and impair-11 to 13 and length-liars
// of the case list, as far as they are well formed.
func TestOffersThatBreakTheRules(t *testing.T) {
	add := func(tr wire.Transform) func(*wire.SA) {
		return bend(func(p *wire.Proposal) { p.Transforms = append(p.Transforms, tr) })
	}
	change := func(at int, f func(*wire.Transform)) func(*wire.SA) {
		return bend(func(p *wire.Proposal) { f(&p.Transforms[at]) })
	}
	const ikeOffer, espOffer = "aes128-sha256-modp2048", "aes128gcm16"
	cases := []struct {
		name  string
		x     proposal.Context
		offer string
		bend  func(*wire.SA)
		want  error // nil: it is still acceptable
	}{
		{"a transform type that nobody knows refuses the proposal", init0, ikeOffer, add(wire.Transform{Type: 241, ID: 1}), proposal.ErrNoProposalChosen},
		{"a transform type of the other protocol as well", auth, espOffer, add(wire.Transform{Type: wire.PseudorandomFunction, ID: wire.PRFHMACSHA256}), proposal.ErrNoProposalChosen},
		{"an unknown transform beside a known one is passed over", init0, ikeOffer, add(wire.Transform{Type: wire.Encryption, ID: 999}), nil},
		{"an unknown attribute refuses the transform", init0, ikeOffer, change(0, func(tr *wire.Transform) { tr.Others = []wire.Attribute{{Type: 18, Short: true, Value: []byte{0, 1}}} }), proposal.ErrNoProposalChosen},
		{"a transform with an unknown attribute beside a good one is passed over", init0, ikeOffer, add(wire.Transform{Type: wire.Encryption, ID: wire.EncryptionAESCBC, KeyLength: 128, Others: []wire.Attribute{{Type: 18}}}), nil},
		{"AES without a key length", init0, ikeOffer, change(0, func(tr *wire.Transform) { tr.KeyLength = 0 }), proposal.ErrNoProposalChosen},
		{"a key length where none belongs", init0, ikeOffer, change(1, func(tr *wire.Transform) { tr.KeyLength = 128 }), proposal.ErrNoProposalChosen},
		{"a key exchange of none for an IKE SA", init0, ikeOffer, change(3, func(tr *wire.Transform) { tr.ID = wire.KeyExchangeNone }), proposal.ErrNoProposalChosen},
		{"integrity of none with AES-CBC", init0, ikeOffer, change(1, func(tr *wire.Transform) { tr.ID = wire.IntegrityNone }), proposal.ErrNoProposalChosen},
		{"integrity of none with an AEAD", auth, espOffer, add(wire.Transform{Type: wire.Integrity, ID: wire.IntegrityNone}), nil},
		{"integrity beside an AEAD", auth, espOffer, add(wire.Transform{Type: wire.Integrity, ID: wire.IntegrityHMACSHA256128}), proposal.ErrNoProposalChosen},
		{"no pseudorandom function", init0, ikeOffer, bend(func(p *wire.Proposal) { p.Transforms = append(p.Transforms[:2], p.Transforms[3]) }), proposal.ErrNoProposalChosen},
		{"no transform at all", init0, ikeOffer, bend(func(p *wire.Proposal) { p.Transforms = nil }), proposal.ErrNoProposalChosen},
		{"no sequence numbers, as some peers send it", auth, espOffer, bend(func(p *wire.Proposal) { p.Transforms = p.Transforms[:1] }), nil},
		{"AH", auth, espOffer, bend(func(p *wire.Proposal) { p.Protocol = wire.ProtocolAH }), proposal.ErrNoProposalChosen},
		{"an SPI of eight octets for ESP", auth, espOffer, bend(func(p *wire.Proposal) { p.SPI = make([]byte, 8) }), proposal.ErrNoProposalChosen},
		{"SPI 0", auth, espOffer, bend(func(p *wire.Proposal) { p.SPI = make([]byte, 4) }), proposal.ErrNoProposalChosen},
		{"SPI 255, which is reserved", auth, espOffer, bend(func(p *wire.Proposal) { p.SPI = []byte{0, 0, 0, 255} }), proposal.ErrNoProposalChosen},
		{"SPI 256", auth, espOffer, bend(func(p *wire.Proposal) { p.SPI = []byte{0, 0, 1, 0} }), nil},
		{"an IKE SPI of zero in a rekeying", rekey, ikeOffer, bend(func(p *wire.Proposal) { p.SPI = make([]byte, 8) }), proposal.ErrNoProposalChosen},
		{"an IKE SPI of four octets in a rekeying", rekey, ikeOffer, bend(func(p *wire.Proposal) { p.SPI = make([]byte, 4) }), proposal.ErrNoProposalChosen},
		{"an SPI in IKE_SA_INIT", init0, ikeOffer, bend(func(p *wire.Proposal) { p.SPI = spi(rekey) }), proposal.ErrNoProposalChosen},
		{"proposals that are not numbered from 1", init0, ikeOffer, bend(func(p *wire.Proposal) { p.Number = 2 }), wire.ErrSyntax},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			policy := parse(t, c.x, c.offer)
			offer := proposal.Offer(policy, spi(c.x), c.x.Exchange)
			c.bend(offer)
			if choice, err := proposal.Select(policy, offer, wire.MODP2048, c.x); !errors.Is(err, c.want) {
				t.Errorf("chose %+v, %v; want %v", choice, err, c.want)
			}
		})
	}
}

// TestALongOfferIsRefusedCheaply: strangers make offers as long as they like.
func TestALongOfferIsRefusedCheaply(t *testing.T) {
	policy := proposal.Default(ike)
	offer := &wire.SA{}
	for n := range wire.MaxProposals {
		p := wire.Proposal{Number: uint8(n + 1), Protocol: ike}
		for k := range wire.MaxTransforms {
			p.Transforms = append(p.Transforms, wire.Transform{Type: wire.Encryption, ID: uint16(1000 + k)})
		}
		offer.Proposals = append(offer.Proposals, p)
	}
	_, err := proposal.Select(policy, offer, 0, init0)
	if !errors.Is(err, proposal.ErrNoProposalChosen) || len(err.Error()) > 2000 {
		t.Fatalf("%d characters: %v", len(err.Error()), err)
	}
	n := testing.AllocsPerRun(10, func() { _, _ = proposal.Select(policy, offer, 0, init0) })
	if most := float64(400 + 20*len(offer.Proposals)); n > most {
		t.Errorf("%.0f allocations, at most %.0f", n, most)
	}
}
