// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"dmvpn/nhrpd/engine"
)

// Which end NHRP waits for when a peer comes from behind a NAT by another port than the
// hub saw: only one can be meant, or none is taken.
func TestExpectedEnd(t *testing.T) {
	nat, other := netip.MustParseAddr("203.0.113.22"), netip.MustParseAddr("203.0.113.23")
	hop := map[netip.Addr]engine.Bind{netip.MustParseAddr("10.0.0.12"): {}}
	wanted := func(a netip.Addr, port uint16) *end { return &end{at: engine.Endpoint{NBMA: a, Port: port}, hops: hop} }
	came := func(port uint16) *end { return &end{at: engine.Endpoint{NBMA: nat, Port: port}} }
	served := wanted(nat, 0)
	served.peer = 7
	for _, c := range []struct {
		name string
		came *end
		ends []*end
		want int // index; -1: none
	}{
		{"the only one at the address", came(29015), []*end{wanted(nat, 0)}, 0},
		{"one that the hub saw with a port of its own", came(29015), []*end{wanted(nat, 4501)}, 0},
		{"two are behind that NAT", came(29015), []*end{wanted(nat, 0), wanted(nat, 4501)}, -1},
		{"the one there has an SA", came(29015), []*end{served}, -1},
		{"the other there has an SA", came(29015), []*end{served, wanted(nat, 4501)}, 1},
		{"another address", came(29015), []*end{wanted(other, 0)}, -1},
		{"no NAT is on the way", came(0), []*end{wanted(nat, 4501)}, -1},
		{"NHRP wants the one that came", wanted(nat, 29015), []*end{wanted(nat, 0)}, -1},
		{"nobody wants the one there", came(29015), []*end{{at: engine.Endpoint{NBMA: nat}}}, -1},
	} {
		s := &secure{ends: map[engine.Endpoint]*end{c.came.at: c.came}}
		for _, e := range c.ends {
			s.ends[e.at] = e
		}
		var want *end
		if c.want >= 0 {
			want = c.ends[c.want]
		}
		if got := s.expected(c.came); got != want {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
}
