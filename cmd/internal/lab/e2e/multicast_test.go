// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
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

// groups6 are IPv6's.
var groups6 = []netip.AddrPort{netip.MustParseAddrPort("[ff02::5]:4005"), netip.MustParseAddrPort("[ff05::123]:4006")}

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
	hear := hearing(t, sites, groups...)

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

// TestMulticastOfAListAndItsLimit: who is listed gets it, by an address in the tunnel that of its version of IP, by
// one of the underlay both; a stream is cut down to the rate, and hellos pass beside it.
func TestMulticastOfAListAndItsLimit(t *testing.T) { modes(t, multicastOfAListAndItsLimit) }

func multicastOfAListAndItsLimit(t *testing.T, m mode) {
	const (
		each  = 250
		burst = 40 // the kernel's own reports of who listens (MLD) need some of that of the link
	)
	absent := netip.MustParseAddr("10.0.0.99")
	spoke2 := []netip.Addr{cloud.TunnelOf(4, 2), cloud.TunnelOf(6, 2)}
	if m.encrypted {
		spoke2 = []netip.Addr{cloud.NBMA(2)}
	}
	c := m.up(t, cloud.Options{Spokes: 2, Inside: []int{4, 6}, Settings: func(node string, s *cloud.Settings) {
		if node == "hub" {
			var list []string
			for _, a := range append(spoke2, cloud.TunnelOf(6, 1), absent) {
				list = append(list, strconv.Quote(a.String()))
			}
			s.Tunnels[0].Keys = []string{"multicast = [" + strings.Join(list, ", ") + "]", "multicast-rate = 1", fmt.Sprint("multicast-burst = ", burst)}
		}
	}})
	listed(t, c, "hub", cloud.TunnelOf(4, 2), absent, cloud.TunnelOf(6, 1), cloud.TunnelOf(6, 2))
	sites := append([]*lab.Node{c.Hub}, c.Spokes...)
	hear4, hear6 := hearing(t, sites, groups...), hearing(t, sites, groups6...)
	check(t, c.Hub.Tell(cloud.Device, groups[1], "stream", each))
	check(t, c.Hub.Tell(cloud.Device, groups6[1], "stream", each))
	until(t, c, patience, func() error {
		s, err := c.Multicast(t.Context(), "hub", cloud.Device)
		if err == nil && s.Limited+s.Packets < 2*each {
			err = fmt.Errorf("%d dropped", s.Limited)
		}
		return err
	})
	hear4.told(t, c, c.Hub, "hello", 2)
	hear6.told(t, c, c.Hub, "hello", 1, 2)
	if n := hear4.at[2][1].Came("stream") + hear6.at[2][1].Came("stream"); n < burst || n > 4*burst {
		t.Errorf("%d packets of %d came by a rate of 1 and a burst of %d", n, 2*each, burst)
	}
	out, err := c.Dmvpn(t.Context(), "hub", "drops")
	check(t, err)
	if !strings.Contains(out, "multicast-rate") {
		t.Errorf("dmvpn drops does not say why:\n%s", out)
	}
}

// ears listen at every site to every group: at 0 is the hub, at N spoke N.
type ears struct {
	sites  []*lab.Node
	groups []netip.AddrPort
	at     [][]*lab.Listener
}

func hearing(t *testing.T, sites []*lab.Node, groups ...netip.AddrPort) *ears {
	t.Helper()
	e := &ears{sites: sites, groups: groups}
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
	var sent []int
	for g, group := range e.groups {
		if text != "hello" || group.Addr().IsLinkLocalMulticast() {
			sent = append(sent, g)
		}
	}
	for _, g := range sent {
		check(t, from.Tell(cloud.Device, e.groups[g], text, times))
	}
	for _, site := range to {
		for _, g := range sent {
			until(t, c, patience, func() error {
				if n := e.at[site][g].Came(text); n != times {
					return fmt.Errorf("%s: %q came %d times to %v, not %d", e.sites[site].Name, text, n, e.groups[g], times)
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
				t.Errorf("%s: %q came to %v", e.sites[site].Name, text, e.groups[g])
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
