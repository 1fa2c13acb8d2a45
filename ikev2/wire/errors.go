// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
)

// ErrSyntax is wrapped by every error about a message that breaks the format.
// Inside of a verified SK payload it is answered by INVALID_SYNTAX and ends the
// IKE SA; elsewhere the message is dropped (RFC 7296, section 2.21).
var ErrSyntax = errors.New("invalid syntax")

// ErrMajorVersion is wrapped by the error about a header whose major version is
// above 2 (RFC 7296, section 2.5). The header that comes with it is filled in, so
// that INVALID_MAJOR_VERSION can be answered. A lower one is ErrSyntax.
var ErrMajorVersion = errors.New("major version is above 2")

// CriticalError tells of a payload of unknown type with the critical bit. The
// message is refused whole, UNSUPPORTED_CRITICAL_PAYLOAD with Payload as its one
// octet of data answers a request (RFC 7296, section 2.5).
type CriticalError struct {
	Payload PayloadType
}

func (e *CriticalError) Error() string {
	return fmt.Sprintf("ike: unknown payload %d is critical", uint8(e.Payload))
}

// syntax makes an error that names the payload or header field at fault.
func syntax(where, format string, args ...any) error {
	return fmt.Errorf("ike: %s: %s: %w", where, fmt.Sprintf(format, args...), ErrSyntax)
}

// oversize is the error of an encoder that was handed more than a field can say.
func oversize(where string, n, limit int) error {
	return fmt.Errorf("ike: %s of %d, the format has room for %d: send less", where, n, limit)
}
