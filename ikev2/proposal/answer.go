// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"errors"
	"fmt"
	"slices"

	"dmvpn/ikev2/wire"
)

// ErrNotOffered is wrapped by the error about an answer that chooses what was
// not offered. The exchange has failed; in IKE_SA_INIT, where the answer may be
// forged, it is ignored (section 2.7).
var ErrNotOffered = errors.New("the answer is none to what was offered")

// Check is the initiator's part: whether the answer chooses one of the offered
// proposals, one transform of each type in it, and what that means.
func Check(offered []Proposal, answer *wire.SA, x Context) (*Choice, error) {
	fail := func(format string, args ...any) (*Choice, error) {
		return nil, fmt.Errorf("ike: %s: %s: %w", answer, fmt.Sprintf(format, args...), ErrNotOffered)
	}
	if len(answer.Proposals) != 1 {
		return fail("%d proposals, not 1", len(answer.Proposals))
	}
	theirs := answer.Proposals[0]
	if theirs.Number == 0 || int(theirs.Number) > len(offered) {
		return fail("number %d of %d", theirs.Number, len(offered))
	}
	if !x.fits(theirs) {
		return fail("for %s with an SPI of %d octets", theirs.Protocol, len(theirs.SPI))
	}
	mine := offered[theirs.Number-1].transforms(x.Exchange)
	c := &Choice{Number: theirs.Number, SPI: theirs.SPI}
	for _, kind := range x.kinds() {
		var chosen []wire.Transform
		for _, t := range theirs.Transforms {
			if t.Type == kind {
				chosen = append(chosen, t)
			}
		}
		isNone := func(t wire.Transform) bool { return t.ID == 0 }
		hasKind := func(t wire.Transform) bool { return t.Type == kind }
		switch {
		case len(chosen) > 1:
			return fail("%d transforms of type %d", len(chosen), kind)
		case len(chosen) == 1 && (slices.ContainsFunc(mine, chosen[0].Matches) || kind == wire.Integrity && c.Suite.AEAD() && chosen[0].ID == wire.IntegrityNone):
			if exchangeKind(kind) && chosen[0].ID != wire.KeyExchangeNone && c.exchanges(chosen[0].ID) {
				return fail("%s is done twice", chosen[0])
			}
			c.set(chosen[0])
		case len(chosen) == 1:
			return fail("%s was not offered", chosen[0])
		case slices.ContainsFunc(mine, hasKind) && !slices.ContainsFunc(mine, func(t wire.Transform) bool { return hasKind(t) && optional(kind) && isNone(t) }):
			return fail("no transform of type %d", kind)
		}
	}
	if len(c.Transforms) != len(theirs.Transforms) {
		return fail("transforms of a type that was not offered")
	}
	if len(c.Further) > 0 && !x.Further {
		return fail("additional key exchanges, which were not announced")
	}
	if err := c.Suite.Check(x.Protocol != wire.ProtocolIKE); err != nil {
		return fail("%v", err)
	}
	return c, nil
}

// exchanges says whether a key exchange method is in the choice already.
func (c *Choice) exchanges(id uint16) bool {
	return c.KeyExchange == id || slices.Contains(c.Further, id)
}
