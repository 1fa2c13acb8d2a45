// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/routing"
)

// birds starts BIRD on hub and spokes with the examples HUB and SPOKE.
func birds(t *testing.T, c *cloud.Cloud, hub, spoke string) []*routing.BIRD {
	t.Helper()
	return birdsAs(t, c, examples(t, hub, spoke))
}

// neighboursToo lets BIRD log its neighbours.
const neighboursToo = "debug protocols { states, events };\n"

// birdsAs starts BIRD on hub and spokes with each node's bird.conf; it logs its neighbours.
func birdsAs(t *testing.T, c *cloud.Cloud, text func(n int) string) []*routing.BIRD {
	t.Helper()
	nodes := append([]*lab.Node{c.Hub}, c.Spokes...)
	all, errs := make([]*routing.BIRD, len(nodes)), make([]error, len(nodes))
	var starting sync.WaitGroup
	for n, node := range nodes {
		config := neighboursToo + text(n)
		starting.Go(func() { all[n], errs[n] = routing.StartBIRD(t.Context(), node, config) })
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

// withdraws takes a part of BIRD's configuration away.
func withdraws(t *testing.T, b *routing.BIRD, config, part string) {
	t.Helper()
	if !strings.Contains(config, part) {
		t.Fatalf("no %q in\n%s", part, config)
	}
	check(t, b.Load(t.Context(), neighboursToo+strings.Replace(config, part, "", 1)))
}

// TestBIRDCarriesThePrefixesByBGP: phase 3, iBGP, the hub reflects and names itself.
func TestBIRDCarriesThePrefixesByBGP(t *testing.T) { modes(t, birdCarriesThePrefixesByBGP) }

func birdCarriesThePrefixesByBGP(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	b := birds(t, c, "bird-bgp-hub.conf", "bird-bgp-spoke.conf")
	carriedByBIRD(t, c, b, "BIRD with `bird-bgp-hub.conf`:")
	all := birdWitnesses(b)
	restarts(t, c, 0, 4, func(when string, _ time.Time) { faithful(t, when, all) })
	short(t, c, 1, 2)
	// The sessions of before carry what is withdrawn.
	withdraws(t, b[2], example(t, "bird-bgp-spoke.conf", 2), "export where net ~ [ 10.10.2.0/24 ];")
	forgets(t, c, "spoke1", cloud.Network(2))
	faithful(t, "at the end", all)
	loses(t, c, "spoke1", cloud.Network(2))
}

// TestBIRDCarriesThePrefixesOfIPv6ByBGP: phase 3 with BFD, 300 ms × 10, which outlives restarts of ours.
// When spoke2 is gone as a whole, the others' route to it follows, and their shortcut.
func TestBIRDCarriesThePrefixesOfIPv6ByBGP(t *testing.T) { modes(t, birdCarriesThePrefixesOfIPv6ByBGP) }

func birdCarriesThePrefixesOfIPv6ByBGP(t *testing.T, m mode) {
	c := carriedIn(t, m, 6, 2, "hub6.toml", "spoke6.toml")
	b := birds(t, c, "bird-bgp6-bfd-hub.conf", "bird-bgp6-bfd-spoke.conf")
	for n := 1; n <= 2; n++ {
		learns6(t, c, "hub", n, n)
		learns6(t, c, c.Spokes[n-1].Name, 0, 0)
		learns6(t, c, c.Spokes[n-1].Name, 3-n, 0)
	}
	look(t, c, "BIRD with `bird-bgp6-bfd-hub.conf`:", typing{"birdc": b[1].Client()})
	echoed(t, c, 1, 2)
	shortIn(t, c, 6, 1, 2)
	settled(t, c, "spoke1", cloud.NetworkOf(6, 2))
	up := func(time.Time) {
		t.Helper()
		for n := 1; n <= 2; n++ {
			until(t, c, 3*patience, func() error {
				if out := birdc(t, b[n], "show", "bfd", "sessions"); !strings.Contains(out, " Up ") {
					return fmt.Errorf("spoke%d: BFD is not up: %s", n, out)
				}
				return nil
			})
			learns6(t, c, c.Spokes[n-1].Name, 3-n, 0)
		}
	}
	all := birdWitnesses(b)
	for _, node := range []string{"hub", "spoke1"} {
		for _, how := range []ending{stopped, killed} {
			quickly(t, c, restarting{node, how, 0, []int{6}}, up, all)
		}
	}
	shortIn(t, c, 6, 1, 2)
	check(t, c.Spokes[1].SetUp(cloud.Underlay, false))
	forgets(t, c, "spoke1", cloud.NetworkOf(6, 2))
	loses(t, c, "spoke1", cloud.NetworkOf(6, 2))
	if log := b[0].Daemon().Output(); !strings.Contains(log, "Session to fd00::12 changed state from Up to Down") {
		t.Errorf("it was not BFD that said so:\n%s", log)
	}
}

// TestBIRDCarriesThePrefixesByOSPF: phase 3, point-to-multipoint by unicast.
func TestBIRDCarriesThePrefixesByOSPF(t *testing.T) { modes(t, birdCarriesThePrefixesByOSPF) }

func birdCarriesThePrefixesByOSPF(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	b := birds(t, c, "bird-ospf-hub.conf", "bird-ospf-spoke.conf")
	carriedByBIRD(t, c, b, "BIRD with `bird-ospf-hub.conf`:")
	all := birdWitnesses(b)
	restarts(t, c, 0, 4, func(when string, back time.Time) {
		greetedByBIRD(t, c, b, 12*time.Second, back)
		faithful(t, when, all)
	})
	short(t, c, 1, 2)
	withdraws(t, b[2], example(t, "bird-ospf-spoke.conf", 2), `interface "lan" { stub; };`)
	faithful(t, "at the end", all)
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
