// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"fmt"
	"strings"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// Proposal is one alternative of a policy: for each kind the algorithms that are
// as good, in the order of preference. Either all of its encryption is AEAD, and
// Integrity is empty, or none is. Parse makes only such ones.
type Proposal struct {
	Protocol    wire.ProtocolID // IKE or ESP
	Encryption  []Cipher
	Integrity   []uint16
	PRF         []uint16 // IKE
	KeyExchange []uint16 // IKE; ESP: of CREATE_CHILD_SA, none without
	// Additional key exchanges 1 to 7 (RFC 9370). A list with
	// wire.KeyExchangeNone can do without; an empty one is not offered.
	Additional [7][]uint16
	Sequence   []uint16 // ESP: wire.NoExtendedSequenceNumbers and Extended…
}

// Cipher is an encryption algorithm with its key length in bits, 0 for none.
type Cipher struct {
	ID, KeyLength uint16
}

func (c Cipher) aead() bool { return crypto.Suite{Encryption: c.ID}.AEAD() }

// transforms lists everything that the proposal offers, kind by kind. Without
// exchange the key exchanges are left out, as IKE_AUTH wants it (section 1.2).
func (p Proposal) transforms(exchange bool) []wire.Transform {
	var all []wire.Transform
	for _, c := range p.Encryption {
		all = append(all, wire.Transform{Type: wire.Encryption, ID: c.ID, KeyLength: c.KeyLength})
	}
	add := func(kind wire.TransformType, ids []uint16) {
		for _, id := range ids {
			all = append(all, wire.Transform{Type: kind, ID: id})
		}
	}
	add(wire.Integrity, p.Integrity)
	add(wire.PseudorandomFunction, p.PRF)
	if exchange {
		add(wire.KeyExchangeMethod, p.KeyExchange)
		for i, ids := range p.Additional {
			add(wire.AdditionalKeyExchange1+wire.TransformType(i), ids)
		}
	}
	add(wire.SequenceNumbers, p.Sequence)
	return all
}

// Offer makes the SA payload of an initiator. spi is what it receives on: nil in
// IKE_SA_INIT, 8 octets for an IKE SA, 4 for ESP. exchange is false in IKE_AUTH.
func Offer(policy []Proposal, spi []byte, exchange bool) *wire.SA {
	sa := &wire.SA{}
	for i, p := range policy {
		sa.Proposals = append(sa.Proposals, wire.Proposal{
			Number: uint8(i + 1), Protocol: p.Protocol, SPI: spi, Transforms: p.transforms(exchange),
		})
	}
	return sa
}

// String is the proposal in the notation that Parse reads.
func (p Proposal) String() string {
	var all []string
	for _, t := range p.transforms(true) {
		k := keyword{t.Type, t.ID, t.KeyLength}
		prefix := ""
		if t.Type >= wire.AdditionalKeyExchange1 {
			k.kind = wire.KeyExchangeMethod
			prefix = fmt.Sprintf("ke%d_", t.Type-wire.AdditionalKeyExchange1+1)
		}
		word, ok := words[k]
		if !ok {
			word = t.String()
		}
		all = append(all, prefix+word)
	}
	return strings.Join(all, "-")
}
