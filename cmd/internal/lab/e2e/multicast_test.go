// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// What is sent to many: by OSPF, by anything else, by whoever knows no group, on any link or on
// this one.
var groups = []netip.AddrPort{
	netip.MustParseAddrPort("224.0.0.5:4001"), netip.MustParseAddrPort("239.1.2.3:4002"), netip.MustParseAddrPort("255.255.255.255:4003"),
	netip.MustParseAddrPort("10.0.0.255:4004"),
}

// TestMulticastGoesWhereItIsWanted:
//
//	hub  ── spoke1   dynamic
//	     ── spoke2   dynamic
//	     ── spoke3   none
func TestMulticastGoesWhereItIsWanted(t *testing.T) { modes(t, multicastGoesWhereItIsWanted) }

func multicastGoesWhereItIsWanted(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 3, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke3" {
			s.Tunnels[0].Keys = []string{`multicast = "none"`}
		}
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	sites := append([]*lab.Node{c.Hub}, c.Spokes...)
	hear := hearing(t, sites)

	hear.told(t, c, c.Hub, "of the hub", 1, 2)
	hear.told(t, c, c.Spokes[0], "of spoke1", 0)
	hear.told(t, c, c.Spokes[2], "of spoke3") // nobody
	listed(t, c, "hub", cloud.TunnelAddress(1), cloud.TunnelAddress(2))
	listed(t, c, "spoke1", cloud.HubTunnel())
	listed(t, c, "spoke3")
	out, err := c.Dmvpn(ctx, "hub", "multicast")
	check(t, err)
	if !strings.Contains(out, "dynamic") || !strings.Contains(out, cloud.TunnelAddress(2).String()) {
		t.Errorf("dmvpn multicast:\n%s", out)
	}

	check(t, c.Kill(ctx, "hub"))
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	until(t, c, patience, func() error { return membersAre(c, "hub", cloud.TunnelAddress(1), cloud.TunnelAddress(2)) })
	hear.told(t, c, c.Hub, "of the hub after a restart", 1, 2)

	check(t, c.Teardown(ctx, "spoke2"))
	until(t, c, patience, func() error { return membersAre(c, "hub", cloud.TunnelAddress(1)) })
	hear.told(t, c, c.Hub, "of the hub when a spoke left", 1)
}

// TestMulticastOfAListAndItsLimit: who is listed gets it, a stream is cut down to the rate,
// and hellos pass beside it.
func TestMulticastOfAListAndItsLimit(t *testing.T) { modes(t, multicastOfAListAndItsLimit) }

func multicastOfAListAndItsLimit(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "hub" {
			s.Tunnels[0].Keys = []string{fmt.Sprintf("multicast = [%q, \"10.0.0.99\"]", cloud.TunnelAddress(2)), "multicast-rate = 1", "multicast-burst = 10"}
		}
	}})
	listed(t, c, "hub", cloud.TunnelAddress(2), netip.MustParseAddr("10.0.0.99"))
	hear := hearing(t, append([]*lab.Node{c.Hub}, c.Spokes...))
	check(t, c.Hub.Tell(cloud.Device, groups[1], "stream", 500))
	until(t, c, patience, func() error {
		s, err := c.Multicast(t.Context(), "hub", cloud.Device)
		if err == nil && s.Limited+s.Packets < 500 {
			err = fmt.Errorf("%d dropped", s.Limited)
		}
		return err
	})
	hear.told(t, c, c.Hub, "hello", 2)
	if n := hear.at[2][1].Came("stream"); n < 10 || n > 100 {
		t.Errorf("%d packets of 500 came by a rate of 1 and a burst of 10", n)
	}
	out, err := c.Dmvpn(t.Context(), "hub", "drops")
	check(t, err)
	if !strings.Contains(out, "multicast-rate") {
		t.Errorf("dmvpn drops does not say why:\n%s", out)
	}
}

// ears listen at every site to every group: at 0 is the hub, at N spoke N.
type ears struct {
	sites []*lab.Node
	at    [][]*lab.Listener
}

func hearing(t *testing.T, sites []*lab.Node) *ears {
	t.Helper()
	e := &ears{sites: sites}
	for _, n := range sites {
		var list []*lab.Listener
		for _, g := range groups {
			l, err := n.Listen(cloud.Device, g)
			check(t, err)
			t.Cleanup(l.Close)
			list = append(list, l)
		}
		e.at = append(e.at, list)
	}
	return e
}

// told sends a text to every group but those of streams, and checks that it comes to these
// sites, once for each, and to no other.
func (e *ears) told(t *testing.T, c *cloud.Cloud, from *lab.Node, text string, to ...int) {
	t.Helper()
	const times = 3
	sent := []int{0}
	if text != "hello" {
		sent = []int{0, 1, 2, 3}
	}
	for _, g := range sent {
		check(t, from.Tell(cloud.Device, groups[g], text, times))
	}
	for _, site := range to {
		for _, g := range sent {
			until(t, c, patience, func() error {
				if n := e.at[site][g].Came(text); n != times {
					return fmt.Errorf("%s: %q came %d times to %v, not %d", e.sites[site].Name, text, n, groups[g], times)
				}
				return nil
			})
		}
	}
	// What comes to others comes at about the same time.
	time.Sleep(200 * time.Millisecond)
	for site := range e.sites {
		for _, g := range sent {
			if n := e.at[site][g].Came(text); e.sites[site] != from && !slices.Contains(to, site) && n > 0 {
				t.Errorf("%s: %q came to %v", e.sites[site].Name, text, groups[g])
			}
		}
	}
}

// listed checks who a node's daemon says gets its multicast.
func listed(t *testing.T, c *cloud.Cloud, node string, want ...netip.Addr) {
	t.Helper()
	check(t, membersAre(c, node, want...))
}

func membersAre(c *cloud.Cloud, node string, want ...netip.Addr) error {
	s, err := c.Multicast(context.Background(), node, cloud.Device)
	if err != nil {
		return err
	}
	var got []netip.Addr
	for _, x := range s.Members {
		got = append(got, x.Protocol)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s: %v get multicast, expected %v", node, got, want)
	}
	return nil
}
