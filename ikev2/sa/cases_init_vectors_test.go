// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"slices"
	"testing"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// TestCasesBentCopies: a bent copy of the response to IKE_SA_INIT comes first, in which nothing
// is changed that the keys depend on. The true one would lead to the same keys once more, and
// the World looks that no vector seals twice under them.
func TestCasesBentCopies(t *testing.T) {
	small := func(c *sa.Connection) { c.FragmentSize = 300 }
	bends := map[string]func(p []wire.Payload) []wire.Payload{
		"a further payload": func(p []wire.Payload) []wire.Payload { return append(p, wire.VendorID("somebody")) },
		"other hashes": func(p []wire.Payload) []wire.Payload {
			return with(p, &wire.Notify{Type: wire.SignatureHashAlgorithms, Data: []byte{0, 2}})
		},
		"no fragments": func(p []wire.Payload) []wire.Payload {
			return slices.DeleteFunc(p, func(p wire.Payload) bool {
				n, ok := p.(*wire.Notify)
				return ok && n.Type == wire.FragmentationSupported
			})
		},
	}
	for _, ike := range []string{"", ikeSingle + "-ke1_mlkem768", "chacha20poly1305-prfsha256-x25519"} {
		Run(t, Case{Name: "one key, one vector " + ike, Options: Options{Alone: true, Both: small, IKE: ike}, Loss: true, Ways: []string{"a further payload", "other hashes", "no fragments"}, Run: func(w *World) {
			w.MayBreak() // B believes A before A finds that it was deceived
			w.A.Connect(w.B)
			w.Deliver("A INIT→")
			for _, m := range w.All("B INIT← SA") {
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), altered(w, m, func(_ *wire.Header, p []wire.Payload) []wire.Payload { return bends[w.Way](p) }))
			}
			w.Deliver("B INIT← SA")
			w.EndIKE(1)
			w.EndDowns(1, -1)
			w.Flows()
			w.True(len(w.A.Failures) == 0, "A begins anew by itself: %v", w.A.Failures)
		}})
	}
}
