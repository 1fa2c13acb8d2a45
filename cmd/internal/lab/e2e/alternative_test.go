// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/nhrpd/wire"
)

// TestTheNextEntryOfAnAnswer: spoke3, which runs no daemon of ours, answers that its site is reached by
// spoke2, and else by itself (RFC 2332, section 5.2.0.1). The way to spoke2 is cut. In clear: of an
// authenticated client the hub passes no other's next hop on.
//
//	host1 ── spoke1 ══ ✂ ══ spoke2
//	             ╚═════════ spoke3
func TestTheNextEntryOfAnAnswer(t *testing.T) {
	t.Parallel()
	site := cloud.Network(3)
	asked := make(chan *wire.Packet, 16)
	var cut, straight atomic.Bool
	c := build(t, cloud.Options{Spokes: 3, Wire: func(node string, w *lab.Wire) {
		switch node {
		case "spoke1":
			w.Lose = cutTo(&cut, cloud.NBMA(2))
		case "spoke3":
			w.Inspect = func(frame []byte) {
				if nhrp := nhrpFrom(frame, cloud.HubNBMA()); nhrp != nil {
					if p, err := wire.Decode(nhrp); err == nil && p.Type == wire.ResolutionRequest {
						select {
						case asked <- p.Clone():
						default:
						}
					}
				}
				if from, _, ok := lab.GRE(frame); ok && from.Equal(cloud.NBMA(1).AsSlice()) {
					straight.Store(true)
				}
			}
		}
	}})
	ctx := t.Context()
	for _, node := range []string{"hub", "spoke1", "spoke2"} {
		check(t, c.Start(node))
		check(t, c.Ready(ctx, node))
	}
	for n := 1; n <= 2; n++ {
		until(t, c, patience, func() error { return c.Registered(ctx, c.Spokes[n-1].Name) })
		until(t, c, patience, func() error { return c.Routed("hub", cloud.Network(n)) })
	}
	shortcut(t, c, 1, 2) // spoke2 answers probes of those alone whom it has answered
	say := func(p *wire.Packet) {
		t.Helper()
		check(t, c.Spokes[2].Forge(forged{from: cloud.NBMA(3), to: cloud.HubNBMA(), protocol: 0x2001, key: true, inner: octets(t, p)}.packets(0, 0)...))
	}
	n := 0
	until(t, c, patience, func() error {
		n++
		say(registering(2*n, 3))
		network := registering(2*n+1, 3)
		network.CIEs = []wire.CIE{{PrefixLength: uint8(site.Bits()), HoldingTime: 7200, Protocol: site.Addr()}}
		say(network)
		return c.Routed("hub", site)
	})
	by := func(spoke int) error { // spoke1's route to the site
		routes, err := c.Routes("spoke1")
		for _, r := range routes {
			if r.Prefix == site && r.NextHop == cloud.TunnelAddress(spoke) {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("no route to %v by spoke%d among %v", site, spoke, routes))
	}
	knock := func() { _, _ = c.Hosts[0].Ping(cloud.Host(3), 0, 20*time.Millisecond) } // nobody is there
	until(t, c, patience, func() error {
		knock()
		select {
		case p := <-asked:
			answer := p
			answer.Type = wire.ResolutionReply
			answer.CIEs = []wire.CIE{
				{PrefixLength: 24, HoldingTime: 600, Protocol: cloud.TunnelAddress(3), NBMA: cloud.NBMA(3), Preference: 10},
				{PrefixLength: 24, HoldingTime: 600, Protocol: cloud.TunnelAddress(2), NBMA: cloud.NBMA(2), Preference: 200},
			}
			private, _ := answer.Private()
			private.Probe = wire.ProbeReplier
			check(t, answer.SetPrivate(private))
			say(answer)
		default:
		}
		return by(2)
	})
	cut.Store(true)
	until(t, c, patience, func() error { knock(); return by(3) })
	straight.Store(false)
	until(t, c, patience, func() error {
		if knock(); !straight.Load() {
			return errNotYet
		}
		return nil
	})
}
