// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// shortened is nil when packets from one spoke's host to another's go directly.
func shortened(c *cloud.Cloud, t *testing.T, from, to int) error {
	t.Helper()
	path, err := c.Hosts[from-1].Trace(t.Context(), cloud.Host(to))
	if err == nil && len(path) != 3 {
		err = fmt.Errorf("host%d to host%d: %d hops", from, to, len(path))
	}
	return err
}

// TestDirectWaysThroughNATs: each pair of spokes finds the direct way that there is.
func TestDirectWaysThroughNATs(t *testing.T) {
	for _, x := range []struct {
		name string
		nats []cloud.NAT // spoke 1 has a public address
		pair [2]int
	}{
		{"one behind a NAT, the other public", []cloud.NAT{{Spokes: []int{2}}}, [2]int{1, 2}},
		{"the NAT asks for it, the public one answers", []cloud.NAT{{Spokes: []int{2}}}, [2]int{2, 1}},
		{"a NAT with a port for each destination, asked from outside", []cloud.NAT{{Spokes: []int{2}, Ports: lab.PortPerDestination}}, [2]int{1, 2}},
		{"and asking", []cloud.NAT{{Spokes: []int{2}, Ports: lab.PortPerDestination}}, [2]int{2, 1}},
		{"behind two NATs", []cloud.NAT{{Spokes: []int{2}}, {Spokes: []int{3}}}, [2]int{2, 3}},
		{"behind one NAT, by their private addresses", []cloud.NAT{{Spokes: []int{2, 3}}}, [2]int{2, 3}},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := guarded(t, cloud.Options{Spokes: 3, NATs: x.nats})
			from, to := x.pair[0], x.pair[1]
			stream, err := c.Hosts[from-1].Stream(c.Hosts[to-1], netip.AddrPortFrom(cloud.Host(to), 4000), 200, 200)
			check(t, err)
			until(t, c, patience, func() error { return shortened(c, t, from, to) })
			spotless(t, "while the way changed", stream.Stop())
		})
	}
}
