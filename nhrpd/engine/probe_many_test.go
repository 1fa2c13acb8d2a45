// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Two hubs and 200 spokes: what probes cost when nobody has anything to say, and when the
// first hub dies under the traffic of all.
func TestProbesOfManySpokes(t *testing.T) {
	const spokes = 200
	w := nhrptest.New(1)
	w.Silent = true
	hub := nhrptest.HubConfig()
	hub.Probe = 200 * time.Millisecond
	h1 := w.Add("H1", "192.0.2.1", hub)
	hub.Address = prefix("10.0.0.2/24")
	w.Add("H2", "192.0.2.2", hub)
	var all []*nhrptest.Node
	for i := range spokes {
		c := nhrptest.SpokeConfig(fmt.Sprintf("10.0.0.%d/24", 20+i), fmt.Sprintf("10.11.%d.0/24", i))
		c.Probe, c.ProbeIdle, c.Shortcut = 200*time.Millisecond, 30*time.Second, false
		c.NHS[0].Routes = []netip.Prefix{prefix("10.10.0.0/16")}
		c.NHS = append(c.NHS, engine.NHS{NBMA: "192.0.2.2", Protocol: addr("10.0.0.2"), Priority: 1, Routes: c.NHS[0].Routes})
		all = append(all, w.Add(fmt.Sprint("S", i), fmt.Sprintf("198.18.%d.1", i), c))
	}
	probes, others := 0, 0
	w.Seen = func(_ *nhrptest.Node, _ engine.Endpoint, p *wire.Packet) {
		if p.Type.Probe() {
			probes++
		} else {
			others++
		}
	}
	w.Run(5 * time.Second)
	probes = 0
	w.Run(time.Minute)
	// Two hubs, twice a minute, and the answers.
	if most := spokes * 2 * 2 * 2; probes > most+most/10 || probes < most/2 {
		t.Errorf("%d probes in a minute without traffic", probes)
	}
	send := func(d time.Duration) (lost int, last time.Duration) {
		begin := w.Now
		for end := w.Now.Add(d); w.Now.Before(end); w.Run(50 * time.Millisecond) {
			for i, n := range all {
				if x := n.Send(fmt.Sprintf("10.11.%d.5", i), "10.10.0.5", 200); x.Dropped != "" {
					lost, last = lost+1, w.Now.Sub(begin)
				}
			}
		}
		return lost, last
	}
	w.Nodes[1].Kernel = append(w.Nodes[1].Kernel, nhrptest.Route{Prefix: prefix("10.10.0.0/24")})
	send(2 * time.Second)
	probes, others = 0, 0
	w.Cut = func(a, b netip.Addr) bool { return a == h1.NBMA || b == h1.NBMA }
	lost, last := send(2 * time.Second)
	if lost == 0 || last > time.Second {
		t.Errorf("%d packets lost, the last one after %v", lost, last)
	}
	// One-way traffic: ten probes and answers a second and spoke; three to H1, and the
	// registrations that are tried there.
	if probes > spokes*(2*10+2*6) || others > spokes*6 {
		t.Errorf("%d probes and %d other packets when a hub died", probes, others)
	}
}
