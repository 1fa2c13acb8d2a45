// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// outside is an address beyond the hub that no more specific route leads to.
var outside = netip.MustParseAddr("203.0.113.5")

// defaultRoute makes a cloud whose spokes send everything by the hub, behind
// which host0 plays the rest of the world.
//
//	host1 ── spoke1 ═══ hub ── host0 with 203.0.113.5
func defaultRoute(t *testing.T, m mode, mark int) *cloud.Cloud {
	t.Helper()
	c := m.build(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node != "hub" {
			s.Tunnels[0].NHS[0].Routes = []string{"0.0.0.0/0"}
			s.Tunnels[0].Mark = mark
		}
	}})
	check(t, c.HubHost.AddAddress("lo", outside.String()+"/32"))
	check(t, c.Hub.AddRoute(cloud.Host(0).String(), outside.String()+"/32"))
	return c
}

// TestTheDefaultRouteThroughTheTunnel: the underlay's own default route stands
// in a table of its own, which the tunnel's mark selects.
func TestTheDefaultRouteThroughTheTunnel(t *testing.T) { modes(t, theDefaultRouteThroughTheTunnel) }

func theDefaultRouteThroughTheTunnel(t *testing.T, m mode) {
	c := defaultRoute(t, m, 100)
	ctx := t.Context()
	for n, spoke := range c.Spokes {
		gateway := strings.TrimSuffix(cloud.NBMA(n+1).String(), ".1") + ".254"
		for _, command := range []string{
			"ip route del default",
			"ip route add default via " + gateway + " table 100",
			"ip rule add fwmark 100 lookup 100",
		} {
			_, err := spoke.Run(ctx, "sh", "-c", command)
			check(t, err)
		}
	}
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	if _, err := c.Hosts[0].Ping(outside, 0, patience); err != nil {
		t.Fatal(err)
	}
	leads(t, c, c.Hosts[0], outside, cloud.Gateway(1), cloud.HubTunnel(), outside)
	tunnel, err := c.Tunnel(ctx, "spoke1", cloud.Device)
	check(t, err)
	if len(tunnel.Problems) > 0 {
		t.Errorf("problems %q", tunnel.Problems)
	}
	shortcut(t, c, 1, 2)
	leads(t, c, c.Hosts[0], cloud.Host(2), directly(4)...)
}

// TestRoutingRecursionIsReported: the only way to the hub becomes the tunnel
// itself. The daemon says so; it neither loops nor ends.
func TestRoutingRecursionIsReported(t *testing.T) { modes(t, routingRecursionIsReported) }

func routingRecursionIsReported(t *testing.T, m mode) {
	c := defaultRoute(t, m, 0)
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.Registered(ctx, "spoke1") })
	_, err := c.Spokes[0].Run(ctx, "ip", "route", "del", "default", "via", "198.18.1.254")
	check(t, err)
	out, err := c.Spokes[0].Run(ctx, "ip", "route")
	check(t, err)
	t.Logf("routes of spoke1:\n%s", out)
	until(t, c, 20*time.Second, func() error {
		tunnel, err := c.Tunnel(ctx, "spoke1", cloud.Device)
		if err == nil && !strings.Contains(strings.Join(tunnel.Problems, "\n"), cloud.HubNBMA().String()) {
			err = errNotYet
		}
		return err
	})
	looping, err := c.Spokes[0].Capture(cloud.Device, func(f lab.Frame) bool { return f.Outgoing })
	check(t, err)
	_, _ = c.Hosts[0].Ping(outside, 0, 500*time.Millisecond) // it cannot arrive
	if n := len(looping.Close()); n > 20 {
		t.Errorf("%d packets on the tunnel for one ping: they go round", n)
	}
}

// TestRoutingRecursionTowardsANamedServer: it was resolved and never answered, so that it
// is no peer.
func TestRoutingRecursionTowardsANamedServer(t *testing.T) {
	modes(t, routingRecursionTowardsANamedServer)
}

func routingRecursionTowardsANamedServer(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 1, Services: []uint16{dns53}, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke1" {
			s.Tunnels[0].NHS[0].Routes = []string{"0.0.0.0/0"}
			s.Tunnels[0].NHS = append(s.Tunnels[0].NHS, cloud.NHS{NBMA: "hub2.example.net"})
		}
	}})
	ctx := t.Context()
	gateway := addr([4]byte{198, 18, 1, 254})
	dns, err := c.Internet.DNS(gateway)
	check(t, err)
	defer dns.Close()
	dns.Set("hub2.example.net", outside)
	check(t, c.Spokes[0].File("/etc/resolv.conf", "nameserver "+gateway.String()+"\noptions timeout:1 attempts:1\n"))
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.Routed("spoke1", netip.MustParsePrefix("0.0.0.0/0")) })
	check(t, c.Spokes[0].AddRoute(gateway.String(), "192.0.2.0/24")) // of the first server's own
	_, err = c.Spokes[0].Run(ctx, "ip", "route", "del", "default", "via", gateway.String())
	check(t, err)
	until(t, c, 20*time.Second, func() error {
		tunnel, err := c.Tunnel(ctx, "spoke1", cloud.Device)
		if problems := strings.Join(tunnel.Problems, "\n"); err == nil && (!strings.Contains(problems, outside.String()) || strings.Contains(problems, cloud.HubNBMA().String())) {
			err = fmt.Errorf("problems %q", problems)
		}
		return err
	})
}
