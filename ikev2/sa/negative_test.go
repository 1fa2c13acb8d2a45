// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"

	. "dmvpn/ikev2/iketest/world"
)

// TestNegativeCases are what must not succeed, each against whole machines. The parts have
// further ones of their own: forged signatures, keys and lists in ikev2/auth, public values
// in ikev2/crypto, offers in ikev2/proposal.
func TestNegativeCases(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"downgrade", negativeDowngrade},
		{"wrong identity with a valid certificate", negativeIdentity},
		{"expired", negativeExpired},
		{"revoked", negativeRevoked},
		{"wrong EKU", negativeUsage},
		{"chain too long", negativeChain},
		{"RSA exponent tricks", negativeExponent},
		{"small-order and off-curve points", negativePoints},
		{"KE group mismatch", negativeGroups},
		{"oversized and overlapping fragments", negativeFragments},
		{"replayed and reflected messages", negativeReplays},
		{"rekey before authentication", negativeEarly},
		{"SPI guessing", negativeGuesses},
		{"delete by a stranger", negativeDeletes},
	} {
		t.Run(c.name, c.run)
	}
}

// nothingCame fails unless both ends give up, and nothing is left of it.
func nothingCame(w *World) {
	w.T.Helper()
	w.Drain()
	for _, e := range []*End{w.A, w.B} {
		w.True(len(e.Infos()) == 0, "%s has IKE SAs: %+v", e.Name, e.Infos())
		all := e.Plane.All(Reserved, Installed, Retired)
		w.True(len(all) == 0, "%s has Child SAs: %v", e.Name, all)
	}
	w.True(w.A.Ups == 0, "A believed it")
	w.True(len(w.A.Failures) == 1, "A was told %d times that it failed", len(w.A.Failures))
}

// refusedBy fails unless an end found out, and the other one was told by it.
func refusedBy(w *World, e *End) {
	w.T.Helper()
	nothingCame(w)
	if e == w.B {
		w.Count("B AUTH← AUTHENTICATION_FAILED", 1)
		w.True(w.B.Ups == 0, "B believed it")
		return
	}
	w.Count("A I→ AUTHENTICATION_FAILED", 1)
	w.True(w.A.Machine.Counters().AuthFailed == 1, "A counted it")
}
