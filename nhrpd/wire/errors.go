// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
)

// Faults of a received packet; DecodeError wraps one of them.
var (
	ErrTruncated    = errors.New("packet is cut")
	ErrSize         = errors.New("wrong packet size")
	ErrChecksum     = errors.New("wrong checksum")
	ErrVersion      = errors.New("unknown version")
	ErrType         = errors.New("unknown packet type")
	ErrFamily       = errors.New("unsupported address family")
	ErrProtocol     = errors.New("unsupported protocol type")
	ErrOffset       = errors.New("wrong extension offset")
	ErrLength       = errors.New("wrong address length")
	ErrPrefixLength = errors.New("wrong prefix length")
	ErrEntries      = errors.New("wrong number of client information entries")
	ErrTooMany      = errors.New("too many elements")
	ErrExtension    = errors.New("malformed extension")
	ErrDuplicate    = errors.New("extension given twice")
	ErrForeign      = errors.New("another vendor's extension")
)

// DecodeError is the one error type of Decode and of the typed views. A packet
// with a fault is to be refused whole.
type DecodeError struct {
	Fault  error     // one of the Err values
	Code   ErrorCode // what an Error Indication about it says
	Offset int       // octets from the fixed header; in a typed view from the extension's value
	Detail string

	// Packet is what could be read of the packet, for the addressee of an
	// Error Indication and to see that its type is not itself an error: fixed
	// header and source addresses. CIEs, contents and extensions are nil, and
	// addresses are invalid if they could not be read. Nil if not even the
	// fixed header is there; always nil in a typed view.
	Packet *Packet
}

// Error says what is wrong and where.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("nhrp: octet %d: %v: %s", e.Offset, e.Fault, e.Detail)
}

// Unwrap gives the fault.
func (e *DecodeError) Unwrap() error { return e.Fault }

func fault(what error, offset int, format string, args ...any) *DecodeError {
	return &DecodeError{Fault: what, Code: ErrorProtocolError, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}
