// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"net/netip"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
)

// TestCasesTunnelNAT: tunnel mode around GRE with ends behind NATs: both name the same two
// addresses, whoever knows them, and go on doing so in rekeys of either.
func TestCasesTunnelNAT(t *testing.T) {
	Run(t, Case{Name: "tunnel-behind-nat", Options: Options{Alone: true, Both: func(c *sa.Connection) { c.Mode = sa.Tunnel }}, Ways: []string{"none", "A", "B", "both"}, Run: func(w *World) {
		to := w.B.Endpoint()
		if w.Way == "A" || w.Way == "both" {
			w.NAT("203.0.113.1", w.A)
		}
		if w.Way == "B" || w.Way == "both" {
			nat := w.NAT("203.0.113.2", w.B)
			nat.Forward(w.B)
			to = netip.AddrPortFrom(nat.Outside, 500)
		}
		w.A.ConnectTo(w.B, to)
		w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
		if w.Storm() {
			return
		}
		var last uint32
		agree := func(when string) {
			a, b := w.A.SA(), w.B.SA()
			w.True(a.Inbound != last, "%s: it is another one", when)
			last = a.Inbound
			w.True(a != nil && b != nil, "%s: both have a Child SA", when)
			w.True(a.Mode == sa.Tunnel && b.Mode == sa.Tunnel, "%s: tunnel mode", when)
			w.True(len(a.Here) == 1 && len(a.There) == 1 && len(b.Here) == 1 && len(b.There) == 1 &&
				a.Here[0].String() == b.There[0].String() && a.There[0].String() == b.Here[0].String(),
				"%s: A has %s and %s, B %s and %s", when, a.Here, a.There, b.Here, b.There)
		}
		agree("at first")
		w.A.Rekey(w.A.SA())
		w.Run(20 * time.Second)
		agree("after a rekey of A")
		w.B.Rekey(w.B.SA())
		w.Run(20 * time.Second)
		agree("after a rekey of B")
		w.Flows()
	}})
}
