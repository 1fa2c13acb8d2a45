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
	kinds := x.kinds()
	offered := make([]byKind, len(offer.Proposals)) // nil where nothing of it can be accepted
	for i, theirs := range offer.Proposals {
		if x.fits(theirs) {
			offered[i] = x.sort(theirs, kinds)
		}
	}
	for _, p := range policy {
		if p.Protocol != x.Protocol {
			continue
		}
		mine := p.lists(kinds, sent)
		for i, theirs := range offer.Proposals {
			if offered[i] == nil {
				continue
			}
			if c := x.match(kinds, mine, offered[i]); c != nil {
				c.Number, c.SPI = theirs.Number, theirs.SPI
				return c, nil
			}
		}
	}
	return nil, fmt.Errorf("ike: offered %s, accepted %s: %w", brief(offer), describe(policy), ErrNoProposalChosen)
}

// byKind are transforms by their type.
type byKind map[wire.TransformType][]wire.Transform

// maxDescribed bounds the transforms of an offer that an error lists: strangers make them.
const maxDescribed = 24

// brief is the beginning of an offer as text.
func brief(offer *wire.SA) string {
	var some wire.SA
	left := maxDescribed
	for _, p := range offer.Proposals {
		if left == 0 {
			return some.String() + " and more"
		}
		n := min(len(p.Transforms), left)
		left -= n
		if n < len(p.Transforms) {
			left = 0
		}
		p.Transforms = p.Transforms[:n]
		some.Proposals = append(some.Proposals, p)
	}
	return some.String()
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
func (x Context) match(kinds []wire.TransformType, ours, offered byKind) *Choice {
	c := &Choice{}
	var used []uint16 // key exchange methods, none of which may occur twice
	for _, kind := range kinds {
		mine := ours[kind]
		if kind == wire.Integrity && c.Suite.AEAD() {
			mine = []wire.Transform{{Type: kind, ID: wire.IntegrityNone}}
		}
		if kind >= wire.AdditionalKeyExchange1 && exchangeKind(kind) {
			mine = slices.DeleteFunc(slices.Clone(mine), func(t wire.Transform) bool {
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
func (x Context) sort(theirs wire.Proposal, kinds []wire.TransformType) byKind {
	offered := byKind{}
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

// lists are the policy's transforms of each kind, the preferred one first. What
// the policy does not name is "none", and so is what it may do without.
func (p Proposal) lists(kinds []wire.TransformType, sent uint16) byKind {
	lists := byKind{}
	for _, t := range p.transforms(true) {
		lists[t.Type] = append(lists[t.Type], t)
	}
	for _, kind := range kinds {
		if len(lists[kind]) == 0 {
			lists[kind] = []wire.Transform{{Type: kind}}
		}
	}
	all := lists[wire.KeyExchangeMethod]
	if at := slices.IndexFunc(all, func(t wire.Transform) bool { return t.ID == sent }); at > 0 {
		preferred := all[at]
		lists[wire.KeyExchangeMethod] = slices.Insert(slices.Delete(all, at, at+1), 0, preferred)
	}
	return lists
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
