// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"errors"
	"fmt"
)

// ErrIntegrity says that a message's check value is wrong, or that it is too
// short to have one. The message is dropped without an answer (RFC 7296,
// section 2.21.3).
var ErrIntegrity = errors.New("ike: check value is wrong")

// ErrUnsupported is wrapped by errors about an algorithm that this package does
// not have.
var ErrUnsupported = errors.New("unsupported algorithm")

func unsupported(what string, id uint16) error {
	return fmt.Errorf("ike: %s %d: %w", what, id, ErrUnsupported)
}

// Secret is octets that must not be seen. It prints as nothing but its length,
// whatever the verb.
type Secret []byte

// Format hides the octets from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[%d octets]", len(s)) }

// MarshalText refuses: a secret leaves the process only where code asks for its
// octets by name.
func (s Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("ike: a secret cannot be written as text")
}

// Wipe overwrites the octets.
func (s Secret) Wipe() { clear(s) }
