// SPDX-License-Identifier: Apache-2.0

// Package esp seals and opens ESP packets (RFC 4303) in place: AES-GCM-16
// (RFC 4106), ChaCha20-Poly1305 (RFC 7634) and AES-CBC with HMAC-SHA2 (RFC 3602,
// 4868), sequence numbers of 32 and 64 bits, a replay window as RFC 6479 has it.
//
// It does no I/O and asks nobody for an address: who hands it packets has found the SA by
// the SPI, takes UDP encapsulation off and on, and in tunnel mode the inner header, which
// Tunnel makes and checks. Nothing is allocated for a packet.
//
// An Outbound or Inbound may be used by several workers at once, each with a Scratch
// of its own. No sequence number, and so no initialization vector, is given out
// twice for one key: they are taken by atomic addition, in blocks where that is
// faster, and a block that is not used up is lost, not given back.
package esp
