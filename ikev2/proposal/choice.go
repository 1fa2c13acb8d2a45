// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"errors"
	"fmt"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// ErrNoProposalChosen is wrapped by the error about an offer of which nothing is
// acceptable: NO_PROPOSAL_CHOSEN answers it (section 2.7).
var ErrNoProposalChosen = errors.New("no proposal chosen")

// Context says in which exchange an SA payload stands.
type Context struct {
	Protocol wire.ProtocolID
	// SPISize in octets: 0 in IKE_SA_INIT, 8 for an IKE SA in CREATE_CHILD_SA, 4
	// for ESP.
	SPISize int
	// Exchange is false in IKE_AUTH, whose child has no key exchange of its own:
	// what a peer offers for it there is passed over (section 1.2).
	Exchange bool
	// Further says that additional key exchanges can be done: in IKE_SA_INIT
	// that both announced IKE_INTERMEDIATE (RFC 9370, section 2.2.1).
	Further bool
}

// Choice is what both ends do.
type Choice struct {
	Number      uint8
	Suite       crypto.Suite
	KeyExchange uint16   // wire.KeyExchangeNone for none
	Further     []uint16 // additional ones, in the order in which they are done
	Extended    bool     // sequence numbers of 64 bits
	SPI         []byte   // the peer's
	// Transforms is what the answer lists: one of each type that was offered.
	Transforms []wire.Transform
}

// Answer is the SA payload of the responder, spi what it receives on.
func (c *Choice) Answer(protocol wire.ProtocolID, spi []byte) *wire.SA {
	return &wire.SA{Proposals: []wire.Proposal{{Number: c.Number, Protocol: protocol, SPI: spi, Transforms: c.Transforms}}}
}

// set takes one transform into the choice.
func (c *Choice) set(t wire.Transform) {
	c.Transforms = append(c.Transforms, t)
	switch {
	case t.Type == wire.Encryption:
		c.Suite.Encryption, c.Suite.KeyLength = t.ID, t.KeyLength
	case t.Type == wire.PseudorandomFunction:
		c.Suite.PRF = t.ID
	case t.Type == wire.Integrity:
		c.Suite.Integrity = t.ID
	case t.Type == wire.KeyExchangeMethod:
		c.KeyExchange = t.ID
	case t.Type == wire.SequenceNumbers:
		c.Extended = t.ID == wire.ExtendedSequenceNumbers
	case t.ID != wire.KeyExchangeNone:
		c.Further = append(c.Further, t.ID)
	}
}

// checkOffer refuses an SA payload that no answer could refer to: proposals are
// numbered from 1 up (section 3.3.1).
func checkOffer(sa *wire.SA) error {
	for i, p := range sa.Proposals {
		if int(p.Number) != i+1 {
			return fmt.Errorf("ike: SA: proposal %d has number %d: %w", i+1, p.Number, wire.ErrSyntax)
		}
	}
	return nil
}

// fits says whether protocol and SPI are what the exchange needs.
func (x Context) fits(p wire.Proposal) bool {
	if p.Protocol != x.Protocol || len(p.SPI) != x.SPISize {
		return false
	}
	switch x.SPISize {
	case 4: // 1 to 255 are reserved (RFC 4303, section 2.1)
		return p.SPI[0] != 0 || p.SPI[1] != 0 || p.SPI[2] != 0
	case 8:
		return !wire.SPI(p.SPI).IsZero()
	}
	return true
}

// kinds are the transform types that a proposal of the exchange may have, in the
// order in which an answer lists them.
func (x Context) kinds() []wire.TransformType {
	all := []wire.TransformType{wire.Encryption, wire.Integrity}
	if x.Protocol == wire.ProtocolIKE {
		all = append(all, wire.PseudorandomFunction)
	}
	if x.Exchange {
		all = append(all, wire.KeyExchangeMethod)
		for t := wire.AdditionalKeyExchange1; t <= wire.AdditionalKeyExchange7; t++ {
			all = append(all, t)
		}
	}
	if x.Protocol == wire.ProtocolESP {
		all = append(all, wire.SequenceNumbers)
	}
	return all
}

func exchangeKind(t wire.TransformType) bool {
	return t == wire.KeyExchangeMethod || t >= wire.AdditionalKeyExchange1 && t <= wire.AdditionalKeyExchange7
}
