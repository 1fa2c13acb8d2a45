// SPDX-License-Identifier: Apache-2.0

// Package proposal is what two peers agree on: proposals written as strongSwan
// writes them (aes128gcm16-prfsha256-x25519-ke1_mlkem768), the defaults, the
// responder's selection and the initiator's check of the answer (RFC 7296,
// sections 2.7, 3.3 and 3.3.6; RFC 9370, section 2.2.1).
//
// Nothing weak can be written or selected: what ikev2/crypto does not have is
// refused where the configuration is read. Functions are pure and safe for
// concurrent use.
package proposal
