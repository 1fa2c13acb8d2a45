// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"fmt"
	"slices"

	"dmvpn/ikev2/wire"
)

// Select is the responder's part: the best of its policy that the peer offers
// too. The policy's order decides, between proposals and between algorithms; but
// where sent, the method of the KE payload that came with the offer (or
// wire.KeyExchangeNone), is acceptable in the proposal that is chosen, it is
// taken, which saves an INVALID_KE_PAYLOAD.
//
// An error wraps ErrNoProposalChosen, or wire.ErrSyntax for an offer that makes
// no sense. If the choice has another key exchange than was sent, the caller
// answers with INVALID_KE_PAYLOAD.
func Select(policy []Proposal, offer *wire.SA, sent uint16, x Context) (*Choice, error) {
	if err := checkOffer(offer); err != nil {
		return nil, err
	}
	for _, mine := range policy {
		for _, theirs := range offer.Proposals {
			if c := mine.match(theirs, sent, x); c != nil {
				return c, nil
			}
		}
	}
	return nil, fmt.Errorf("ike: offered %s, accepted %s: %w", offer, describe(policy), ErrNoProposalChosen)
}

func describe(policy []Proposal) string {
	text := ""
	for i, p := range policy {
		if i > 0 {
			text += ", "
		}
		text += p.String()
	}
	return text
}

// match gives the choice of one pair of proposals, or nil. Each kind takes the
// best that is left: it does not try whether a worse additional key exchange
// would leave a better one for a later round.
func (p Proposal) match(theirs wire.Proposal, sent uint16, x Context) *Choice {
	if p.Protocol != x.Protocol || !x.fits(theirs) {
		return nil
	}
	offered := x.sort(theirs)
	if offered == nil {
		return nil
	}
	c := &Choice{Number: theirs.Number, SPI: theirs.SPI}
	var used []uint16 // key exchange methods, none of which may occur twice
	for _, kind := range x.kinds() {
		mine := p.list(kind, sent)
		if kind == wire.Integrity && c.Suite.AEAD() {
			mine = []wire.Transform{{Type: kind, ID: wire.IntegrityNone}}
		}
		if kind >= wire.AdditionalKeyExchange1 && exchangeKind(kind) {
			mine = slices.DeleteFunc(mine, func(t wire.Transform) bool {
				return !x.Further && t.ID != wire.KeyExchangeNone || slices.Contains(used, t.ID)
			})
		}
		t, ok := common(mine, offered[kind])
		if !ok {
			return nil
		}
		if exchangeKind(kind) && t.ID != wire.KeyExchangeNone {
			used = append(used, t.ID)
		}
		if len(offered[kind]) > 0 {
			c.set(t)
		}
	}
	if c.Suite.Check(x.Protocol != wire.ProtocolIKE) != nil {
		return nil
	}
	return c
}

// sort groups the transforms of an offer by type, without those that cannot be
// accepted. It gives nil for an offer with a type that the exchange does not
// know, which must be refused whole (section 3.3.6), or with a type of which
// nothing is left.
func (x Context) sort(theirs wire.Proposal) map[wire.TransformType][]wire.Transform {
	kinds := x.kinds()
	offered := map[wire.TransformType][]wire.Transform{}
	for _, t := range theirs.Transforms {
		if !x.Exchange && exchangeKind(t.Type) {
			continue
		}
		if !slices.Contains(kinds, t.Type) {
			return nil
		}
		list := offered[t.Type]
		if list == nil {
			list = []wire.Transform{}
		}
		if t.Supported() {
			list = append(list, t)
		}
		offered[t.Type] = list
	}
	for _, list := range offered {
		if len(list) == 0 {
			return nil
		}
	}
	return offered
}

// list are the policy's transforms of one kind, the preferred one first. What
// the policy does not name is "none", and so is what it may do without.
func (p Proposal) list(kind wire.TransformType, sent uint16) []wire.Transform {
	var all []wire.Transform
	for _, t := range p.transforms(true) {
		if t.Type == kind {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return []wire.Transform{{Type: kind}}
	}
	if kind == wire.KeyExchangeMethod {
		if at := slices.IndexFunc(all, func(t wire.Transform) bool { return t.ID == sent }); at > 0 {
			preferred := all[at]
			all = slices.Insert(slices.Delete(all, at, at+1), 0, preferred)
		}
	}
	return all
}

// common is the first of mine that is offered. A kind that is not offered is
// offered as "none", which has the value 0 in every kind that can be left out.
func common(mine, offered []wire.Transform) (wire.Transform, bool) {
	for _, t := range mine {
		if len(offered) == 0 && t.ID == 0 && optional(t.Type) || slices.ContainsFunc(offered, t.Matches) {
			return t, true
		}
	}
	return wire.Transform{}, false
}

// optional says which kinds a proposal may be without: integrity for an AEAD,
// a child's key exchange, additional ones, and sequence numbers, which some
// peers leave out though section 3.3.3 wants them.
func optional(kind wire.TransformType) bool {
	return kind != wire.Encryption && kind != wire.PseudorandomFunction
}
