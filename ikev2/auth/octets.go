// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"errors"
	"fmt"
	"slices"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// ErrFailed is wrapped by every error that says that a peer did not prove its
// identity. The answer is AUTHENTICATION_FAILED, which tells nothing of why
// (section 2.21.2).
var ErrFailed = errors.New("authentication failed")

func failed(format string, args ...any) error {
	return fmt.Errorf("ike: %s: %w", fmt.Sprintf(format, args...), ErrFailed)
}

// SignedOctets is what AUTH is made over (section 2.15): the sender's own
// IKE_SA_INIT message as it was on the wire without the non-ESP marker, the
// other's nonce, prf(SK_pi or SK_pr, the ID payload's body), and behind it what
// IKE_INTERMEDIATE adds: both sides' last values and the message id of IKE_AUTH
// (RFC 9242, section 3.3.2), nil without.
func SignedOctets(prf crypto.PRF, message, nonce, p []byte, id *wire.Identification, intermediate []byte) []byte {
	return slices.Concat(message, nonce, prf.Sum(p, id.Body()), intermediate)
}
