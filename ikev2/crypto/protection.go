// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"dmvpn/ikev2/wire"
)

// Protection seals or opens the messages of one sender of an IKE SA
// (RFC 7296, section 3.14; RFC 5282; RFC 7383; RFC 7634).
type Protection struct {
	// Next is the initialization vector of the next message that an AEAD seals.
	// One value must never seal twice under the same keys: who stores a
	// Protection and takes it up again stores this too, or jumps ahead.
	Next uint64

	suite                 Suite
	encryption, integrity Secret
}

// Protection gives what seals the messages of the original initiator, or of its
// responder, and opens them at the other end. It shares the keys' octets.
func (k *Keys) Protection(ofInitiator bool) *Protection {
	if ofInitiator {
		return &Protection{suite: k.Suite, encryption: k.Ei, integrity: k.Ai}
	}
	return &Protection{suite: k.Suite, encryption: k.Er, integrity: k.Ar}
}

// envelope is one algorithm with its keys, for the time of one message. In b,
// [:at] is associated data, then come initialization vector, text and check value.
type envelope interface {
	// sizes gives the lengths of vector, padding unit and check value.
	sizes() (vector, block, check int)
	// seal encrypts the text in place and writes the check value.
	seal(b []byte, at int)
	// open verifies, and only then decrypts into new octets.
	open(b []byte, at int) ([]byte, error)
}

func (p *Protection) envelope() (envelope, error) {
	if p.suite.AEAD() {
		return newAEAD(p.suite, p.encryption)
	}
	return newCBC(p.suite, p.encryption, p.integrity)
}

// Seal makes the whole message, ready to be sent: header, and an SK payload with
// the inner payloads. CBC draws its vector from random.
func (p *Protection) Seal(h wire.Header, inner []wire.Payload, random io.Reader) ([]byte, error) {
	text, err := wire.AppendInner(nil, inner)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	e, err := p.envelope()
	if err != nil {
		return nil, err
	}
	return p.seal(e, h, &wire.Encrypted{Inner: wire.First(inner)}, text, random)
}

// SealFragments is Seal in datagrams of at most limit octets, IP and UDP headers
// and non-ESP marker not counted: one with an SK payload if that is enough, else
// fragments (RFC 7383, section 2.5). Who may send them has negotiated it.
func (p *Protection) SealFragments(h wire.Header, inner []wire.Payload, limit int, random io.Reader) ([][]byte, error) {
	text, err := wire.AppendInner(nil, inner)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	e, err := p.envelope()
	if err != nil {
		return nil, err
	}
	vector, block, check := e.sizes()
	// What fits into n octets of text with padding, without the octet for its length.
	room := func(headers int) int { return (limit-headers-vector-check)/block*block - 1 }
	const whole, piece = wire.HeaderSize + 4, wire.HeaderSize + 8
	if len(text) <= room(whole) {
		b, err := p.seal(e, h, &wire.Encrypted{Inner: wire.First(inner)}, text, random)
		return [][]byte{b}, err
	}
	size := room(piece)
	if size <= 0 {
		return nil, fmt.Errorf("ike: no fragment fits into %d octets: allow more", limit)
	}
	total := (len(text) + size - 1) / size
	if total > wire.MaxFragments {
		return nil, fmt.Errorf("ike: %d octets make %d fragments of %d, at most %d: allow larger ones", len(text), total, limit, wire.MaxFragments)
	}
	var all [][]byte
	for n := 1; n <= total; n++ {
		f := &wire.Fragment{Number: uint16(n), Total: uint16(total)}
		if n == 1 {
			f.Inner = wire.First(inner)
		}
		b, err := p.seal(e, h, f, text[:min(size, len(text))], random)
		if err != nil {
			return nil, err
		}
		text = text[min(size, len(text)):]
		all = append(all, b)
	}
	return all, nil
}

// errSpent: the vectors of an AEAD are counted in 64 bits.
var errSpent = errors.New("ike: no initialization vector is left: rekey the IKE SA")

// seal writes one message whose last payload, outer, holds text.
func (p *Protection) seal(e envelope, h wire.Header, outer wire.Payload, text []byte, random io.Reader) ([]byte, error) {
	iv, block, check := e.sizes()
	vector := make([]byte, iv)
	if p.suite.AEAD() {
		if p.Next == ^uint64(0) {
			return nil, errSpent
		}
		binary.BigEndian.PutUint64(vector, p.Next)
		p.Next++
	} else if _, err := io.ReadFull(random, vector); err != nil {
		return nil, fmt.Errorf("ike: initialization vector: %w", err)
	}
	return assemble(e, h, outer, vector, text, make([]byte, block-1-len(text)%block), check)
}

// assemble puts vector, text, padding and its length, and room for the check
// value into outer, encodes the message and seals it in place.
func assemble(e envelope, h wire.Header, outer wire.Payload, vector, text, padding []byte, check int) ([]byte, error) {
	body := make([]byte, 0, len(vector)+len(text)+len(padding)+1+check)
	body = append(append(append(body, vector...), text...), padding...)
	body = append(body, byte(len(padding)))
	body = body[:len(body)+check]
	defer clear(body)
	switch o := outer.(type) {
	case *wire.Encrypted:
		o.Body = body
	case *wire.Fragment:
		o.Body = body
	}
	b, err := (&wire.Message{Header: h, Payloads: []wire.Payload{outer}}).Append(nil)
	if err != nil {
		return nil, err
	}
	e.seal(b, len(b)-len(body))
	return b, nil
}

// Open verifies and decrypts the SK payload or fragment that m, decoded from b,
// ends with. The text is new memory and has no padding; b is left as it is.
// ErrIntegrity means: drop it in silence. An error that wraps wire.ErrSyntax is
// about what the authentic peer put inside.
func (p *Protection) Open(b []byte, m *wire.Message) ([]byte, error) {
	_, body, ok := m.Protected()
	if !ok || len(body) > len(b) {
		return nil, ErrIntegrity
	}
	e, err := p.envelope()
	if err != nil {
		return nil, err
	}
	vector, block, check := e.sizes()
	// At least the octet for the padding's length is encrypted.
	if n := len(body) - vector - check; n < 1 || n%block != 0 {
		return nil, ErrIntegrity
	}
	text, err := e.open(b, len(b)-len(body))
	if err != nil {
		return nil, err
	}
	// The padding's content is anybody's choice; it was verified with the rest.
	n := len(text) - 1 - int(text[len(text)-1])
	if n < 0 {
		return nil, fmt.Errorf("ike: SK: padding of %d octets in %d: %w", text[len(text)-1], len(text), wire.ErrSyntax)
	}
	return text[:n:n], nil
}

// Format shows no key: fmt does not ask the fields that others cannot name.
func (p *Protection) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "protection by encryption %d, integrity %d", p.suite.Encryption, p.suite.Integrity)
}
