// SPDX-License-Identifier: Apache-2.0

package wire

// Bounds of this implementation, not of the RFC. They are far above what peers
// send (strongSwan's default proposals have 40 transforms in two proposals) and
// keep the work for one datagram small.
const (
	MaxMessage    = 65535 // octets of one message, reassembled or not
	MaxPayloads   = 64    // in one message, and again inside of its SK payload
	MaxProposals  = 32    // in one SA payload
	MaxTransforms = 128   // in one proposal
	MaxAttributes = 8     // in one transform
	MaxSelectors  = 64    // in one TS payload
	MaxSPIs       = 256   // in one Delete payload
	MaxFragments  = 32    // of one message (RFC 7383)
)

// Bounds of the RFC.
const (
	HeaderSize     = 28  // section 3.1
	MinNonce       = 16  // section 3.9
	MaxNonce       = 256 // section 3.9
	payloadHeader  = 4   // section 3.2
	fragmentHeader = 4   // RFC 7383, section 2.5: number and total
)
