// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"errors"
	"testing"

	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// TestAnswersThatWereNotOffered: initiator-answer-not-offered, rekey-pfs-stripped
// and ikev2-intermediate-05-addke-duplicate of the case list.
func TestAnswersThatWereNotOffered(t *testing.T) {
	add := func(tr wire.Transform) func(*wire.SA) {
		return bend(func(p *wire.Proposal) { p.Transforms = append(p.Transforms, tr) })
	}
	change := func(at int, f func(*wire.Transform)) func(*wire.SA) {
		return bend(func(p *wire.Proposal) { f(&p.Transforms[at]) })
	}
	drop := func(at int) func(*wire.SA) {
		return bend(func(p *wire.Proposal) { p.Transforms = append(p.Transforms[:at:at], p.Transforms[at+1:]...) })
	}
	const classical, hybrid = "aes128-sha256-modp2048", "aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_x25519-ke2_ecp256"
	cases := []struct {
		name    string
		x       proposal.Context
		offered string
		bend    func(*wire.SA)
		good    bool
	}{
		{"as it should be", init0, classical, func(*wire.SA) {}, true},
		{"another transform", init0, classical, change(3, func(tr *wire.Transform) { tr.ID = wire.ECP256 }), false},
		{"a longer key", init0, classical, change(0, func(tr *wire.Transform) { tr.KeyLength = 256 }), false},
		{"an unknown attribute", init0, classical, change(0, func(tr *wire.Transform) { tr.Others = []wire.Attribute{{Type: 1}} }), false},
		{"two transforms of one type", init0, classical, add(wire.Transform{Type: wire.KeyExchangeMethod, ID: wire.MODP2048}), false},
		{"a type that was not offered", init0, classical, add(wire.Transform{Type: wire.SequenceNumbers}), false},
		{"a type left out", init0, classical, drop(2), false},
		{"number 0", init0, classical, bend(func(p *wire.Proposal) { p.Number = 0 }), false},
		{"number 2 of 1", init0, classical, bend(func(p *wire.Proposal) { p.Number = 2 }), false},
		{"another protocol", init0, classical, bend(func(p *wire.Proposal) { p.Protocol = wire.ProtocolESP }), false},
		{"two proposals", init0, classical, func(sa *wire.SA) { sa.Proposals = append(sa.Proposals, sa.Proposals[0]) }, false},
		{"no proposal", init0, classical, func(sa *wire.SA) { sa.Proposals = nil }, false},
		{"an IKE SPI of zero", rekey, classical, bend(func(p *wire.Proposal) { p.SPI = make([]byte, 8) }), false},
		{"ESP: the key exchange stripped", create, "aes128gcm16-ecp256", drop(1), false},
		{"ESP: the key exchange turned to none", create, "aes128gcm16-ecp256", change(1, func(tr *wire.Transform) { tr.ID = wire.KeyExchangeNone }), false},
		{"ESP: none left out where it was offered", create, "aes128gcm16-none", drop(1), true},
		{"ESP: the sequence numbers stripped", auth, "aes128gcm16-esn", drop(1), false},
		{"ESP: integrity of none spelt out for an AEAD", auth, "aes128gcm16", add(wire.Transform{Type: wire.Integrity}), true},
		{"the hybrid", init0, hybrid, func(*wire.SA) {}, true},
		{"the hybrid's round stripped", init0, hybrid, drop(3), false},
		{"a method done twice", init0, hybrid, change(4, func(tr *wire.Transform) { tr.ID = wire.Curve25519 }), false},
		{"rounds that nobody announced", noIntm, hybrid, func(*wire.SA) {}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			offered := parse(t, c.x, c.offered)
			x := c.x
			x.Further = true
			choice, err := proposal.Select(offered, proposal.Offer(offered, spi(x), x.Exchange), 0, x)
			if err != nil {
				t.Fatal(err)
			}
			answer := choice.Answer(x.Protocol, spi(x))
			c.bend(answer)
			if got, err := proposal.Check(offered, answer, c.x); (err == nil) != c.good || err != nil && !errors.Is(err, proposal.ErrNotOffered) {
				t.Errorf("took %+v, %v", got, err)
			}
		})
	}
}

func TestRetryAfterInvalidKE(t *testing.T) {
	policy := parse(t, init0, "aes128gcm16-prfsha256-x25519-ecp256,aes128-sha256-modp2048")
	cases := []struct {
		name         string
		sent, wanted uint16
		good         bool
	}{
		{"another method of the same proposal", wire.Curve25519, wire.ECP256, true},
		{"a method of another proposal", wire.Curve25519, wire.MODP2048, true},
		{"the method that was sent", wire.Curve25519, wire.Curve25519, false},
		{"a method that was not offered", wire.Curve25519, wire.ECP384, false},
		{"a weak one", wire.Curve25519, 2, false},
		{"none", wire.Curve25519, wire.KeyExchangeNone, false},
	}
	for _, c := range cases {
		if err := proposal.Retry(policy, c.sent, c.wanted); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for remembered, want := range map[uint16]uint16{0: wire.Curve25519, wire.MODP2048: wire.MODP2048, wire.ECP521: wire.Curve25519} {
		if got := proposal.FirstKeyExchange(policy, remembered); got != want {
			t.Errorf("remembered %d: first %d, want %d", remembered, got, want)
		}
	}
	if got := proposal.FirstKeyExchange(parse(t, create, "aes128gcm16"), 0); got != wire.KeyExchangeNone {
		t.Errorf("a child without a key exchange sends %d", got)
	}
}

// FuzzSelect: whatever is offered, what is chosen was offered, and the offerer
// takes it.
func FuzzSelect(f *testing.F) {
	policy := proposal.Default(ike)
	b, err := wire.AppendInner(nil, []wire.Payload{proposal.Offer(policy, nil, true)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint16(wire.Curve25519), true)
	f.Fuzz(func(t *testing.T, b []byte, sent uint16, further bool) {
		payloads, err := wire.ParseInner(wire.PayloadSA, b)
		if err != nil {
			return
		}
		sa, ok := payloads[0].(*wire.SA)
		if !ok {
			return
		}
		x := proposal.Context{Protocol: ike, Exchange: true, Further: further}
		choice, err := proposal.Select(policy, sa, sent, x)
		if err != nil {
			return
		}
		for _, tr := range choice.Transforms {
			found := false
			for _, o := range sa.Proposals[choice.Number-1].Transforms {
				found = found || o.Matches(tr)
			}
			if !found {
				t.Errorf("%s was not offered in %s", tr, sa)
			}
		}
		if err := choice.Suite.Check(false); err != nil || choice.KeyExchange == wire.KeyExchangeNone {
			t.Errorf("chose %+v, %v", choice, err)
		}
	})
}
