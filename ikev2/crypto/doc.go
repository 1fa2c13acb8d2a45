// SPDX-License-Identifier: Apache-2.0

// Package crypto is the cryptography of IKEv2: pseudorandom functions, key
// exchanges, the derivation of keys (RFC 7296, sections 2.13 to 2.18; RFC 9370)
// and the protection of messages (section 3.14; RFC 5282, 7383, 7634).
//
// It offers what this project speaks and nothing weaker: AES-CBC with
// HMAC-SHA2, AES-GCM-16, ChaCha20-Poly1305; HMAC-SHA2 as PRF; X25519, the NIST
// curves, MODP from 2048 bits, ML-KEM. SHA-1 occurs in the NAT detection hash
// alone, which protects nothing.
//
// Functions are safe for concurrent use; a value belongs to one goroutine at a
// time. Randomness is handed in, but for what Go's ML-KEM encapsulation draws.
//
// Secrets are slices that Wipe overwrites. They are kept as octets, and ciphers
// are made anew for each message, so that nothing else outlives a message; the
// copies inside of Go's ciphers are out of reach and are left to the garbage
// collector. No value with a secret can be printed.
package crypto
