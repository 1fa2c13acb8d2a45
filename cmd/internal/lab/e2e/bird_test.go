// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/routing"
)

// birds starts BIRD on hub and spokes with the examples HUB and SPOKE.
func birds(t *testing.T, c *cloud.Cloud, hub, spoke string) []*routing.BIRD {
	t.Helper()
	nodes := append([]*lab.Node{c.Hub}, c.Spokes...)
	all, errs := make([]*routing.BIRD, len(nodes)), make([]error, len(nodes))
	var starting sync.WaitGroup
	for n, node := range nodes {
		text := example(t, hub, 0)
		if n > 0 {
			text = example(t, spoke, n)
		}
		starting.Go(func() { all[n], errs[n] = routing.StartBIRD(t.Context(), node, text) })
	}
	starting.Wait()
	check(t, errors.Join(errs...))
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for n, b := range all {
			log := b.Daemon().Output()
			t.Logf("bird of node %d ends:\n%s", n, log[max(0, len(log)-3000):])
		}
	})
	return all
}

// birdc is what birdc prints; the test ends if it cannot.
func birdc(t *testing.T, b *routing.BIRD, command ...string) string {
	t.Helper()
	out, err := b.Birdc(t.Context(), command...)
	check(t, err)
	return out
}

// TestBIRDCarriesThePrefixesByBGP: phase 3, iBGP, the hub reflects and names itself.
func TestBIRDCarriesThePrefixesByBGP(t *testing.T) { modes(t, birdCarriesThePrefixesByBGP) }

func birdCarriesThePrefixesByBGP(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	b := birds(t, c, "bird-bgp-hub.conf", "bird-bgp-spoke.conf")
	carriedByBIRD(t, c, b, "BIRD with `bird-bgp-hub.conf`:")
	birdc(t, b[2], "disable", "hub")
	forgets(t, c, "spoke1", cloud.Network(2))
	loses(t, c, "spoke1", cloud.Network(2))
}

// TestBIRDCarriesThePrefixesByOSPF: phase 3, point-to-multipoint by unicast.
func TestBIRDCarriesThePrefixesByOSPF(t *testing.T) { modes(t, birdCarriesThePrefixesByOSPF) }

func birdCarriesThePrefixesByOSPF(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	b := birds(t, c, "bird-ospf-hub.conf", "bird-ospf-spoke.conf")
	carriedByBIRD(t, c, b, "BIRD with `bird-ospf-hub.conf`:")
	birdc(t, b[1], "down") // it takes its routes along
	forgets(t, c, "spoke1", cloud.Network(2))
	loses(t, c, "spoke1", cloud.Network(2))
}

func carriedByBIRD(t *testing.T, c *cloud.Cloud, b []*routing.BIRD, heading string) {
	t.Helper()
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.Network(n), cloud.TunnelAddress(n))
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(0), cloud.HubTunnel())
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
	}
	look(t, c, heading, typing{"birdc": b[1].Client()})
	ping(t, c.Hosts[0], 2)
	short(t, c, 1, 2)
	short(t, c, 2, 1)
	settled(t, c, "spoke1", cloud.Network(2))
	// BIRD leaves its route where it is: ours stands in front of it.
	learns(t, c, "spoke1", cloud.Network(2), cloud.HubTunnel())
	check(t, c.Routed("spoke1", cloud.Network(2)))
	if out := birdc(t, b[1], "show", "route", "10.10.2.0/24", "all"); strings.Contains(out, "10.0.0.12 on") {
		t.Errorf("BIRD took the shortcut for a route:\n%s", out)
	}
}
