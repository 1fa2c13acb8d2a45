// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"fmt"
	"slices"

	"dmvpn/ikev2/wire"
)

// FirstKeyExchange is the method that an initiator sends its KE payload with:
// remembered, what this peer asked for last time, if the policy still has it,
// else the first of the first proposal. wire.KeyExchangeNone means no KE payload.
func FirstKeyExchange(policy []Proposal, remembered uint16) uint16 {
	if remembered != wire.KeyExchangeNone && offers(policy, remembered) {
		return remembered
	}
	if len(policy) == 0 || len(policy[0].KeyExchange) == 0 {
		return wire.KeyExchangeNone
	}
	return policy[0].KeyExchange[0]
}

// FirstOffered is the method that the peer likes best, by its offer: what it sends its KE
// payload with unless it was asked for another one. wire.KeyExchangeNone means none.
func FirstOffered(offer *wire.SA) uint16 {
	for _, p := range offer.Proposals {
		for _, t := range p.Transforms {
			if t.Type == wire.KeyExchangeMethod {
				return t.ID
			}
		}
	}
	return wire.KeyExchangeNone
}

// Retry says whether an initiator that sent one method, and was asked for
// another by INVALID_KE_PAYLOAD, repeats with that one (section 1.2 and 1.3). The whole
// offer is repeated, so that nobody in between can take the better half away
// (section 2.7). An error says why not: the peer, or somebody in between, asks for
// what was not offered or was just refused. The caller repeats once.
func Retry(policy []Proposal, sent, wanted uint16) error {
	switch {
	case wanted == wire.KeyExchangeNone || !offers(policy, wanted):
		return fmt.Errorf("ike: INVALID_KE_PAYLOAD asks for %s: %w", wire.KeyExchangeName(wanted), ErrNotOffered)
	case wanted == sent:
		return fmt.Errorf("ike: INVALID_KE_PAYLOAD asks for %s, which was sent: %w", wire.KeyExchangeName(wanted), ErrNotOffered)
	}
	return nil
}

func offers(policy []Proposal, id uint16) bool {
	return slices.ContainsFunc(policy, func(p Proposal) bool { return slices.Contains(p.KeyExchange, id) })
}
