// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"fmt"
	"slices"
	"strings"

	"dmvpn/ikev2/wire"
)

// MaxPolicy bounds the alternatives of one policy.
const MaxPolicy = 16

// Parse reads proposals separated by commas, the best one first. The word
// "default" stands for the defaults of the protocol, wire.ProtocolIKE or
// wire.ProtocolESP. An error names the word at fault and the remedy.
func Parse(protocol wire.ProtocolID, text string) ([]Proposal, error) {
	var all []Proposal
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "default" {
			all = append(all, Default(protocol)...)
			continue
		}
		p, err := parseOne(protocol, part)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if len(all) > MaxPolicy {
		return nil, fmt.Errorf("ike: %d proposals, at most %d: put what is as good into one", len(all), MaxPolicy)
	}
	return all, nil
}

func parseOne(protocol wire.ProtocolID, text string) (Proposal, error) {
	p := Proposal{Protocol: protocol}
	fail := func(format string, args ...any) (Proposal, error) {
		return Proposal{}, fmt.Errorf("ike: proposal %q: %s", text, fmt.Sprintf(format, args...))
	}
	if text == "" {
		return fail("empty: write default or, for instance, %s", Default(protocol)[0])
	}
	for word := range strings.SplitSeq(text, "-") {
		list, k, why := p.place(word)
		if why != "" {
			return fail("%s", why)
		}
		if list == nil {
			p.Encryption = append(p.Encryption, Cipher{k.id, k.bits})
			continue
		}
		if slices.Contains(*list, k.id) {
			return fail("%q is there twice", word)
		}
		*list = append(*list, k.id)
	}
	if why := p.complete(); why != "" {
		return fail("%s", why)
	}
	return p, nil
}

// place says to which list of the proposal a word belongs, nil for encryption,
// or why to none.
func (p *Proposal) place(word string) (list *[]uint16, k keyword, why string) {
	bare, round := word, 0
	if len(word) > 4 && strings.HasPrefix(word, "ke") && word[3] == '_' && word[2] >= '1' && word[2] <= '7' {
		bare, round = word[4:], int(word[2]-'0')
	}
	if slices.Contains(weak, bare) {
		return nil, k, fmt.Sprintf("%q is too weak and is refused always", word)
	}
	k, ok := lookUp(bare)
	if !ok || round > 0 && k.kind != wire.KeyExchangeMethod {
		return nil, k, fmt.Sprintf("%q is unknown; there are: %s; and ke1_ to ke7_ before a key exchange", word, Keywords())
	}
	switch {
	case round > 0:
		return &p.Additional[round-1], k, ""
	case k.kind == wire.Encryption:
		if slices.Contains(p.Encryption, Cipher{k.id, k.bits}) {
			return nil, k, fmt.Sprintf("%q is there twice", word)
		}
		return nil, k, ""
	case k.kind == wire.Integrity:
		return &p.Integrity, k, ""
	case k.kind == wire.KeyExchangeMethod:
		return &p.KeyExchange, k, ""
	case k.kind == wire.PseudorandomFunction && p.Protocol == wire.ProtocolIKE:
		return &p.PRF, k, ""
	case k.kind == wire.SequenceNumbers && p.Protocol == wire.ProtocolESP:
		return &p.Sequence, k, ""
	}
	return nil, k, fmt.Sprintf("%q has no place in a proposal for %s: leave it out", word, p.Protocol)
}

// prfOf is the function that goes with an integrity algorithm where none is
// named, as in strongSwan.
var prfOf = map[uint16]uint16{
	wire.IntegrityHMACSHA256128: wire.PRFHMACSHA256,
	wire.IntegrityHMACSHA384192: wire.PRFHMACSHA384,
	wire.IntegrityHMACSHA512256: wire.PRFHMACSHA512,
}

// complete fills in what the notation leaves out, and says what is missing.
func (p *Proposal) complete() string {
	if len(p.Encryption) == 0 {
		return "no encryption: add aes256gcm16, for instance"
	}
	aead := p.Encryption[0].aead()
	for _, c := range p.Encryption {
		if c.aead() != aead {
			return "AES-GCM or ChaCha20-Poly1305 beside AES-CBC: make two proposals of it (RFC 7296, section 3.3)"
		}
	}
	if p.Protocol == wire.ProtocolIKE {
		if len(p.PRF) == 0 {
			for _, id := range p.Integrity {
				p.PRF = append(p.PRF, prfOf[id])
			}
		}
		if len(p.PRF) == 0 {
			return "no pseudorandom function: add prfsha256, for instance"
		}
		if len(p.KeyExchange) == 0 || slices.Contains(p.KeyExchange, wire.KeyExchangeNone) {
			return "an IKE SA needs a key exchange: add x25519, for instance"
		}
	} else if len(p.Sequence) == 0 {
		p.Sequence = []uint16{wire.NoExtendedSequenceNumbers}
	}
	if aead {
		// Named only for the pseudorandom function that comes with it.
		p.Integrity = nil
	} else if len(p.Integrity) == 0 {
		return "AES-CBC without integrity: add sha256, for instance"
	}
	for i, ids := range p.Additional {
		if len(ids) == 0 {
			continue
		}
		if len(p.KeyExchange) == 0 || slices.Contains(p.KeyExchange, wire.KeyExchangeNone) {
			return fmt.Sprintf("ke%d_ without a first key exchange: add x25519, for instance", i+1)
		}
		if len(ids) == 1 && ids[0] == wire.KeyExchangeNone {
			return fmt.Sprintf("ke%d_none alone offers nothing: leave it out", i+1)
		}
	}
	return ""
}
