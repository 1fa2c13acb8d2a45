// SPDX-License-Identifier: Apache-2.0

package esp

// Specification.
const (
	headerSize  = 8 // SPI and sequence number (RFC 4303, section 2)
	trailerSize = 2 // pad length and next header
	alignment   = 4 // of the trailer's end (section 2.4)
	ivSize      = 8 // of AES-GCM-16 and ChaCha20-Poly1305
	saltSize    = 4 // behind their keys (RFC 4106, section 8.1; RFC 7634, section 2)
	tagSize     = 16

	// NextNone is the next header of a dummy packet, which the receiver drops (RFC
	// 4303, section 2.6).
	NextNone = 59

	lastShort = 1<<32 - 1 // sequence number without ESN
)

// Implementation: the window sizes that a replay window may have.
const (
	MinWindow     = 64
	MaxWindow     = 131072
	DefaultWindow = 1024
)

// Front and Back are the octets that the largest transform adds before and behind a
// payload: a buffer with that much room suits every SA.
const (
	Front = headerSize + 16
	Back  = 16 + trailerSize + 32
)
