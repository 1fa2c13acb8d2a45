// SPDX-License-Identifier: Apache-2.0

package esp

import "errors"

// What Open and Seal refuse. They are values, not made anew for each packet.
var (
	// ErrTruncated: shorter than its transform needs, or not a whole number of blocks.
	ErrTruncated = errors.New("esp: packet is too short")
	// ErrReplayed: the sequence number was seen, or is behind the window.
	ErrReplayed = errors.New("esp: packet is a replay, or too late")
	// ErrIntegrity: the check value is wrong. The window has not moved.
	ErrIntegrity = errors.New("esp: check value is wrong")
	// ErrPadding: verified, but the trailer makes no sense.
	ErrPadding = errors.New("esp: padding is wrong")
	// ErrExhausted: no sequence number is left. It never wraps (section 3.3.3).
	ErrExhausted = errors.New("esp: sequence numbers are used up")
	// ErrExpired: a hard limit of octets or packets is reached.
	ErrExpired = errors.New("esp: the lifetime of the SA is over")
	// ErrRoom: the buffer has no room for header or trailer.
	ErrRoom = errors.New("esp: buffer has no room for header or trailer")
)
