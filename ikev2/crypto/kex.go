// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"errors"
	"fmt"
	"io"

	"dmvpn/ikev2/wire"
)

// ErrPublicValue is wrapped by the error about a peer's public value that is
// too short, too long or not one that its method allows (RFC 6989). The exchange
// fails with INVALID_SYNTAX; no secret is made.
var ErrPublicValue = errors.New("bad public value")

// method is one key exchange method, of a fixed size in each direction.
type method struct {
	initiator, responder int // octets of KE data
	// generate draws a private value; public is its KE data.
	generate func(random io.Reader) (Secret, error)
	public   func(private []byte) ([]byte, error)
	// check refuses bad KE data of a peer, whose length has been checked, at a small part of
	// the cost of public. nil: nothing is cheaper than shared itself.
	check func(peer []byte) error
	// shared is the secret of a private value and the peer's KE data, whose
	// length has been checked. Its error needs no text.
	shared func(private, peer []byte) (Secret, error)
	// both is public and shared in one, where that is cheaper; else nil.
	both func(private, peer []byte) (data []byte, shared Secret, err error)
	// encapsulate is what the responder of a KEM does instead.
	encapsulate func(peer []byte) (data []byte, shared Secret, err error)
}

var methods = map[uint16]*method{
	wire.Curve25519: x25519Method(),
	wire.ECP256:     p256Method(),
	wire.ECP384:     p384Method(),
	wire.ECP521:     p521Method(),
	wire.MODP2048:   modpMethod(modp2048, 40),
	wire.MODP3072:   modpMethod(modp3072, 53),
	wire.MODP4096:   modpMethod(modp4096, 60),
	wire.MLKEM768:   mlkem768Method(),
	wire.MLKEM1024:  mlkem1024Method(),
}

func findMethod(id uint16) (*method, error) {
	if m, ok := methods[id]; ok {
		return m, nil
	}
	return nil, fmt.Errorf("ike: key exchange %s: %w", wire.KeyExchangeName(id), ErrUnsupported)
}

// KeyExchangeSupported says whether a method is one of ours.
func KeyExchangeSupported(id uint16) bool { return methods[id] != nil }

// KeyExchange is the initiator's part of one key exchange, from its KE payload
// to the answer. Its two fields are all of its state, so that it can be stored
// and taken up again.
type KeyExchange struct {
	Method  uint16
	Private Secret
}

// NewKeyExchange draws the private value of an initiator.
func NewKeyExchange(id uint16, random io.Reader) (*KeyExchange, error) {
	m, err := findMethod(id)
	if err != nil {
		return nil, err
	}
	private, err := m.generate(random)
	if err != nil {
		return nil, fmt.Errorf("ike: private value for %s: %w", wire.KeyExchangeName(id), err)
	}
	return &KeyExchange{Method: id, Private: private}, nil
}

// Data is what the initiator's KE payload has.
func (k *KeyExchange) Data() ([]byte, error) {
	m, err := findMethod(k.Method)
	if err != nil {
		return nil, err
	}
	data, err := m.public(k.Private)
	if err != nil {
		return nil, fmt.Errorf("ike: private value for %s: %w", wire.KeyExchangeName(k.Method), err)
	}
	return data, nil
}

// Finish makes the shared secret from the responder's KE data. An error wraps
// ErrPublicValue if the peer is at fault.
func (k *KeyExchange) Finish(data []byte) (Secret, error) {
	m, err := findMethod(k.Method)
	if err != nil {
		return nil, err
	}
	if len(data) != m.responder {
		return nil, badLength(k.Method, len(data), m.responder)
	}
	shared, err := m.shared(k.Private, data)
	if err != nil {
		return nil, badValue(k.Method)
	}
	return shared, nil
}

// Wipe overwrites the private value; the exchange is over.
func (k *KeyExchange) Wipe() { k.Private.Wipe() }

// Respond is the responder's part, all at once: from the initiator's KE data to
// its own and the shared secret. Errors are as Finish's. A bad value is refused before
// anything is computed or drawn, where its method can tell: strangers send them.
func Respond(id uint16, peer []byte, random io.Reader) (data []byte, shared Secret, err error) {
	m, err := findMethod(id)
	if err != nil {
		return nil, nil, err
	}
	if len(peer) != m.initiator {
		return nil, nil, badLength(id, len(peer), m.initiator)
	}
	if m.encapsulate != nil {
		if data, shared, err = m.encapsulate(peer); err != nil {
			return nil, nil, badValue(id)
		}
		return data, shared, nil
	}
	if m.check != nil && m.check(peer) != nil {
		return nil, nil, badValue(id)
	}
	k, err := NewKeyExchange(id, random)
	if err != nil {
		return nil, nil, err
	}
	defer k.Wipe()
	if m.both != nil {
		if data, shared, err = m.both(k.Private, peer); err != nil {
			return nil, nil, badValue(id)
		}
		return data, shared, nil
	}
	if data, err = k.Data(); err != nil {
		return nil, nil, err
	}
	shared, err = k.Finish(peer)
	return data, shared, err
}

func badLength(id uint16, n, want int) error {
	return fmt.Errorf("ike: KE of %s has %d octets, not %d: %w", wire.KeyExchangeName(id), n, want, ErrPublicValue)
}

func badValue(id uint16) error {
	return fmt.Errorf("ike: KE of %s: %w", wire.KeyExchangeName(id), ErrPublicValue)
}
