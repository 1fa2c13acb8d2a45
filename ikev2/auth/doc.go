// SPDX-License-Identifier: Apache-2.0

// Package auth proves identities in IKE_AUTH (RFC 7296, section 2.15): by shared
// keys, and by signatures of RFC 7427 with certificates, and of RFC 4754 where a
// peer knows nothing newer. SHA-1 is refused, also where an old method says so.
//
// An identity and what proves it belong together: a key is looked up by the
// peer's identity, a certificate must name it (RFC 4945). Every failure is one
// error, ErrFailed, to be answered with AUTHENTICATION_FAILED and nothing more;
// its text is for our own log.
//
// The package is pure: time and randomness are handed in, files are read by
// others. Functions are safe for concurrent use; Trust and SharedKeys are as long
// as nobody changes them.
package auth
