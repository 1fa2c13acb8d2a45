// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestAWrongKeyLetsNobodyIn: no registration, no packet, nothing in clear; with the right
// key all is well.
func TestAWrongKeyLetsNobodyIn(t *testing.T) {
	t.Parallel()
	wrong := filepath.Join(t.TempDir(), "psk")
	check(t, os.WriteFile(wrong, []byte("a key that nobody shares\n"), 0o600))
	right := ""
	c := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke2" {
			right, s.Tunnels[0].IPsec.PSKFile = s.Tunnels[0].IPsec.PSKFile, wrong
		}
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.Registered(ctx, "spoke1") })
	until(t, c, patience, func() error {
		for _, node := range []string{"hub", "spoke2"} {
			if !strings.Contains(c.Log(node, 1000), "AUTHENTICATION_FAILED") && !strings.Contains(c.Log(node, 1000), "authentication failed") {
				return fmt.Errorf("%s: the log does not say that authentication failed", node)
			}
		}
		return nil
	})
	for range 10 {
		if _, err := c.Hosts[1].Ping(cloud.Host(0), 0, 50*time.Millisecond); err == nil {
			t.Error("a packet came through with a wrong key")
		}
	}
	if c.Registered(ctx, "spoke2") == nil {
		t.Error("spoke2 is registered with a wrong key")
	}
	ping(t, c.Hosts[0], 0)
	c.Settings("spoke2").Tunnels[0].IPsec.PSKFile = right
	check(t, c.Stop(ctx, "spoke2"))
	check(t, c.Start("spoke2"))
	check(t, c.Ready(ctx, "spoke2"))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[1], 0)
}

// TestNothingGoesInClearWithoutIKE: a firewall holds IKE back from the first instant, and
// again when all is up; what hosts send meanwhile does not come out.
func TestNothingGoesInClearWithoutIKE(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].IPsec.DPD = 2 * time.Second }})
	ctx := t.Context()
	spoke := c.Spokes[0]
	block := func() {
		t.Helper()
		for _, args := range []string{"add table inet block", "add chain inet block out { type filter hook output priority 0 ; }",
			"add rule inet block out udp dport { 500, 4500 } drop"} {
			_, err := spoke.Run(ctx, "nft", strings.Fields(args)...)
			check(t, err)
		}
	}
	unblock := func() {
		t.Helper()
		_, err := spoke.Run(ctx, "nft", "delete", "table", "inet", "block")
		check(t, err)
	}
	silent := func(when string) {
		t.Helper()
		for range 20 {
			if _, err := c.Hosts[0].Ping(cloud.Host(0), 0, 50*time.Millisecond); err == nil {
				t.Errorf("%s: a packet came through", when)
			}
		}
	}
	block()
	check(t, c.StartAll(ctx))
	silent("before IKE could begin")
	unblock()
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[0], 0)
	block()
	silent("IKE and ESP are blocked")
	unblock()
	until(t, c, 2*patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(0), 0, 500*time.Millisecond)
		return err
	})
	// An orderly stop takes the SAs along.
	check(t, c.Stop(ctx, "spoke1"))
	silent("the daemon is stopped")
	check(t, c.Start("spoke1"))
	check(t, c.Ready(ctx, "spoke1"))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	until(t, c, patience, func() error { // it is registered from before, its SA may be on its way
		_, err := c.Hosts[0].Ping(cloud.Host(0), 0, 500*time.Millisecond)
		return err
	})
}

// TestAWithdrawnRouteLeadsNowhere: what a routing daemon withdraws, or a device that goes
// down, does not make packets follow the default route.
func TestAWithdrawnRouteLeadsNowhere(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 1})
	ctx := t.Context()
	spoke := c.Spokes[0]
	ping(t, c.Hosts[0], 0)
	const sites = "10.10.0.0/16"
	refused := func(when string) {
		t.Helper()
		for range 10 {
			if _, err := c.Hosts[0].Ping(cloud.Host(0), 0, 50*time.Millisecond); err == nil {
				if err := c.Routed("spoke1", netip.MustParsePrefix(sites)); err != nil {
					t.Errorf("%s: a packet came through, and %v", when, err)
				}
				return // the daemon has put the route back
			}
		}
	}
	route, err := spoke.Run(ctx, "ip", "route", "show", sites, "proto", "54")
	check(t, err)
	if !strings.Contains(route, cloud.Device) || !strings.Contains(route, "unreachable") {
		t.Fatalf("the routes to %s are %s", sites, route)
	}
	_, err = spoke.Run(ctx, "ip", "route", "del", sites, "dev", cloud.Device)
	check(t, err)
	refused("the route is withdrawn")
	until(t, c, patience, func() error { return c.Routed("spoke1", netip.MustParsePrefix(sites)) })
	ping(t, c.Hosts[0], 0)
	_, err = spoke.Run(ctx, "ip", "link", "set", cloud.Device, "down")
	check(t, err)
	refused("the device is down")
	_, err = spoke.Run(ctx, "ip", "link", "set", cloud.Device, "up")
	check(t, err)
	_, err = spoke.Run(ctx, "ip", "route", "replace", sites, "via", cloud.HubTunnel().String(), "dev", cloud.Device, "onlink")
	check(t, err)
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(0), 0, 500*time.Millisecond)
		return err
	})
}

// TestWhatWasRegisteredLeadsNowhereAfterwards: the hub knows a site's prefix only from its
// registration; when that ends, and when the hub itself is torn down, packets to the site do
// not follow the hub's default route.
func TestWhatWasRegisteredLeadsNowhereAfterwards(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	nowhere := func(when string, n int) {
		t.Helper()
		for range 10 {
			if _, err := c.HubHost.Ping(cloud.Host(n), 0, 50*time.Millisecond); err == nil {
				t.Errorf("%s: a packet came through", when)
			}
		}
	}
	ping(t, c.HubHost, 1)
	check(t, c.Teardown(ctx, "spoke1"))
	until(t, c, patience, func() error {
		routes, err := c.Routes("hub")
		for _, r := range routes {
			if r.Prefix == cloud.Network(1) && r.NextHop.IsValid() {
				err = fmt.Errorf("the hub still routes to %v", r.Prefix)
			}
		}
		return err
	})
	nowhere("the spoke has left", 1)
	ping(t, c.HubHost, 2)
	check(t, c.Teardown(ctx, "hub"))
	nowhere("the hub is torn down", 1)
	nowhere("the hub is torn down", 2)
}

// TestADaemonThatCannotStartLeavesNoWayInClear: its underlay device is missing, and it is
// the first start.
func TestADaemonThatCannotStartLeavesNoWayInClear(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 1, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke1" {
			s.Tunnels[0].Underlay = "eth9"
		}
	}})
	ctx := t.Context()
	check(t, c.Start("spoke1"))
	status, err := c.Daemon("spoke1").Wait(ctx)
	if err != nil || status == 0 {
		t.Fatalf("the daemon ended with %d, %v", status, err)
	}
	for range 10 {
		_, _ = c.Hosts[0].Ping(cloud.Host(0), 0, 50*time.Millisecond)
	}
	_, err = c.Dmvpn(ctx, "spoke1", "teardown", "--release")
	check(t, err)
	if out, err := c.Spokes[0].Run(ctx, "ip", "route", "show", "type", "unreachable"); err != nil || out != "" {
		t.Errorf("released, and there is %s, %v", out, err)
	}
}

// TestASecondClaimToAnIdentityIsRefused while the first one answers, and said; the owner's
// traffic does not notice. When the owner has died, the claim is taken.
func TestASecondClaimToAnIdentityIsRefused(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke2" {
			s.Tunnels[0].IPsec.Identity = "spoke1.example.net"
		}
	}})
	ctx := t.Context()
	for _, node := range []string{"hub", "spoke1"} {
		check(t, c.Start(node))
		check(t, c.Ready(ctx, node))
	}
	until(t, c, patience, func() error { return errors.Join(c.Registered(ctx, "spoke1"), c.Routed("hub", cloud.Network(1))) })
	stream, err := c.HubHost.Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 500, 200)
	check(t, err)
	check(t, c.Start("spoke2"))
	check(t, c.Ready(ctx, "spoke2"))
	until(t, c, patience, func() error {
		if !strings.Contains(c.Log("hub", 1000), "spoke1.example.net is claimed from 198.18.2.1") {
			return errors.New("hub: the log does not name the second claim")
		}
		return nil
	})
	spotless(t, "to the identity's owner", stream.Stop())
	if c.Registered(ctx, "spoke2") == nil {
		t.Error("the second claim to an identity is registered")
	}
	check(t, c.Kill(ctx, "spoke1"))
	until(t, c, 2*time.Minute, func() error { return c.Registered(ctx, "spoke2") })
	ping(t, c.Hosts[1], 0)
}
