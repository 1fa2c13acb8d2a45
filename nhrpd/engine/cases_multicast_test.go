// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// getters are the next hops that get a node's multicast.
func getters(n *nhrptest.Node) string {
	var list []netip.Addr
	for hop := range n.Multicast {
		list = append(list, hop)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return strings.Trim(fmt.Sprint(list), "[]")
}

// Who gets copies of multicast.
func TestCasesOfMulticast(t *testing.T) {
	dynamic := func(list ...*engine.Config) {
		for _, c := range list {
			c.Multicast.Dynamic = true
		}
	}
	rows(t, []row{
		{"MC-01: a hub's goes to its clients, a client's to its server, none to a shortcut", func(t *testing.T) {
			c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) { dynamic(hub, s1, s2) })
			c.Run(2 * time.Second)
			c.Stream(3*time.Second, 100*time.Millisecond, 1400)
			want(t, "the hub's", getters(c.H), "10.0.0.11 10.0.0.12")
			want(t, "S1 has a shortcut", c.S1.Bound[addr(s2Protocol)].NBMA, addr(s2NBMA))
			want(t, "S1's", getters(c.S1), "10.0.0.1")
			c.S2.Input(engine.Stop{})
			c.Run(time.Second)
			want(t, "the hub's without S2", getters(c.H), "10.0.0.11")
		}},
		{"MC-02: a client that wants none gets none, and one that changes its mind some", func(t *testing.T) {
			c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) {
				dynamic(hub, s1, s2)
				s2.Multicast = engine.Multicast{Unwanted: true}
			})
			c.Run(2 * time.Second)
			want(t, "the hub's", getters(c.H), "10.0.0.11")
			want(t, "S2's", getters(c.S2), "")
			c.S2.Config.Multicast = engine.Multicast{Dynamic: true}
			c.S2.Start(nil)
			c.Run(2 * time.Second)
			want(t, "the hub's then", getters(c.H), "10.0.0.11 10.0.0.12")
			c.S2.Config.Multicast = engine.Multicast{Unwanted: true}
			c.S2.Start(nil)
			c.Run(2 * time.Second)
			want(t, "the hub's in the end", getters(c.H), "10.0.0.11")
		}},
		{"MC-03: who is listed gets it, by either address, and nobody else", func(t *testing.T) {
			for _, a := range []string{s2Protocol, s2NBMA} {
				c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) {
					hub.Multicast.Addresses = []netip.Addr{addr(a), addr("10.0.0.77")}
					s1.Multicast.Addresses = []netip.Addr{addr(a)}
					s2.Multicast.Unwanted = true // the operator of the hub knows better
				})
				c.Run(2 * time.Second)
				want(t, "the hub's", getters(c.H), s2Protocol)
				want(t, "S1's", getters(c.S1), "")
				c.Stream(3*time.Second, 100*time.Millisecond, 1400)
				want(t, "S1's with a shortcut", getters(c.S1), s2Protocol)
			}
		}},
		{"MC-04: a server that is down gets none, and a mapped peer only where it is listed", func(t *testing.T) {
			c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) {
				dynamic(hub, s1, s2)
				hub.HoldingTime, s1.HoldingTime = 30*time.Second, 30*time.Second
				s1.Maps = []engine.Map{{Protocol: addr(s2Protocol), NBMA: addr(s2NBMA)}}
				s2.Maps = []engine.Map{{Protocol: addr(s1Protocol), NBMA: addr(s1NBMA)}}
				s2.Multicast.Addresses = []netip.Addr{addr(s1Protocol)}
			})
			c.Run(2 * time.Second)
			want(t, "S1's", getters(c.S1), "10.0.0.1")
			want(t, "S2's", getters(c.S2), "10.0.0.1 10.0.0.11")
			c.H.Kill()
			c.Run(2 * time.Minute)
			want(t, "S1's without its server", getters(c.S1), "")
		}},
		{"MC-05: a configuration that changed counts after a restart", func(t *testing.T) {
			c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) { dynamic(hub, s1, s2) })
			c.Run(2 * time.Second)
			want(t, "at first", getters(c.H), "10.0.0.11 10.0.0.12")
			c.H.Config.Multicast = engine.Multicast{Addresses: []netip.Addr{addr(s1Protocol)}}
			c.H.Start(c.H.Kill())
			want(t, "then", getters(c.H), "10.0.0.11")
		}},
		{"MC-06: the word of a client whose registration is refused counts for nothing", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Multicast.Dynamic = true })
			want(t, "S1", b.n.Multicast[addr(s1Protocol)], true)
			p := claiming(registration(s1Protocol, s1NBMA, wire.CIE{PrefixLength: wire.HostPrefix}), wire.Private{NoMulticast: true})
			p.RequestID = 99
			want(t, "for no time", b.ask(s1NBMA, p).p.CIEs[0].Code.NAK(), true)
			want(t, "S1 still", b.n.Multicast[addr(s1Protocol)], true)
		}},
	})
}
