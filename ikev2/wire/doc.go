// SPDX-License-Identifier: Apache-2.0

// Package wire is the IKEv2 codec: the header and every payload of RFC 7296,
// the fragments of RFC 7383, the notifications and transforms of RFC 4555, 6290,
// 7427, 9242 and 9370. It sees no socket, keeps no state and knows no key: what
// is inside of an Encrypted payload is parsed after ikev2/crypto opened it.
//
// Decoding is strict about lengths and counts (each bound stands in limits.go)
// and liberal, as RFC 7296 asks, about reserved bits, the minor version, unknown
// payloads, notifications, transforms and selectors. Decoded payloads alias the
// bytes they were decoded from: who keeps one longer than its datagram copies it.
//
// Errors wrap ErrSyntax, ErrMajorVersion or are a *CriticalError; each says which
// notification answers it (section 2.21). All functions are safe for concurrent
// use; values are not, while one of their users changes them.
package wire
