// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
)

// turnedAway is nil when a spoke's server refused its registration.
func turnedAway(t *testing.T, c *cloud.Cloud, spoke string) {
	t.Helper()
	until(t, c, patience, func() error {
		out, err := c.Dmvpn(t.Context(), spoke, "nhs")
		if err == nil && !strings.Contains(out, "administratively prohibited") {
			err = fmt.Errorf("%s: %s", spoke, out)
		}
		return err
	})
}

// TestAnAddressIsHeldByItsIdentity: who proves to be somebody else does not get it, and
// who has it does not notice.
func TestAnAddressIsHeldByItsIdentity(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke2" {
			s.Tunnels[0].Address = cloud.TunnelAddress(1).String() + "/24"
		}
	}})
	ctx := t.Context()
	for _, node := range []string{"hub", "spoke1"} {
		check(t, c.Start(node))
	}
	until(t, c, patience, func() error { return errors.Join(c.Registered(ctx, "spoke1"), c.Routed("hub", cloud.Network(1))) })
	stream, err := c.HubHost.Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 500, 200)
	check(t, err)
	check(t, c.Start("spoke2"))
	turnedAway(t, c, "spoke2")
	if c.Routed("hub", cloud.Network(2)) == nil {
		t.Error("the hub routes to the LAN of a spoke that it refused")
	}
	spotless(t, "to the address's owner", stream.Stop())
	out, err := c.Dmvpn(ctx, "hub", "show", "ip", "nhrp")
	check(t, err)
	if !strings.Contains(out, cloud.NBMA(1).String()) || strings.Contains(out, cloud.NBMA(2).String()) {
		t.Errorf("the hub's cache:\n%s", out)
	}
}

// TestAListSaysWhoMayRegisterWhat: spoke1 is listed with its address and its network,
// spoke2 with an address that is not its own, spoke3 with another network, spoke4 not at all.
func TestAListSaysWhoMayRegisterWhat(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 4, Settings: func(node string, s *cloud.Settings) {
		if node != "hub" {
			return
		}
		for n, line := range map[int]string{
			1: `addresses = ["10.0.0.11"]` + "\n" + `networks = ["10.10.1.0/24"]`, 2: `addresses = ["10.0.0.99"]`, 3: `networks = ["10.99.0.0/16"]`,
		} {
			s.Tunnels[0].Lines = append(s.Tunnels[0].Lines, fmt.Sprintf("\n[[tunnel.%s.authorize]]\npeer = \"spoke%d.example.net\"\n%s", cloud.Device, n, line))
		}
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return errors.Join(c.Registered(ctx, "spoke1"), c.Routed("hub", cloud.Network(1))) })
	ping(t, c.HubHost, 1)
	turnedAway(t, c, "spoke2")
	turnedAway(t, c, "spoke4")
	until(t, c, patience, func() error {
		_, err := c.Get("spoke3").Ping(cloud.HubTunnel(), 0, time.Second)
		return err
	})
	for n := 2; n <= 4; n++ {
		if c.Routed("hub", cloud.Network(n)) == nil {
			t.Errorf("the hub routes to the LAN of spoke%d", n)
		}
	}
}

// TestNoPeerSpeaksForAnother: what a spoke sends from an address that is not routed to it is
// dropped at the hub and at another spoke, and counted; its own packets go on.
func TestNoPeerSpeaksForAnother(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	ping(t, c.Hosts[0], 0)
	spoofed := func(node string) (n int) {
		t.Helper()
		check(t, c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
			drops, err := client.Drops(ctx)
			for _, d := range drops {
				if d.Reason == "spoofed" {
					n += int(d.Packets)
				}
			}
			return err
		}))
		return n
	}
	// Of spoke2's LAN, of the hub's own address, of nobody's.
	for _, address := range []string{"10.10.2.77", "10.0.0.1", "172.16.9.9"} {
		_, err := c.Spokes[0].Run(ctx, "ip", "address", "add", address+"/32", "dev", "lo")
		check(t, err)
		before := spoofed("hub")
		_, _ = c.Spokes[0].Run(ctx, "ping", "-c", "3", "-i", "0.1", "-W", "1", "-I", address, cloud.Host(0).String())
		if n := spoofed("hub") - before; n < 3 {
			t.Errorf("%d of 3 packets from %s were dropped as spoofed", n, address)
		}
		_, err = c.Spokes[0].Run(ctx, "ip", "address", "del", address+"/32", "dev", "lo")
		check(t, err)
	}
	ping(t, c.Hosts[0], 0)
	shortcut(t, c, 1, 2)
	// Of spoke2 itself, of the hub, of a third spoke, of spoke2's LAN.
	for _, address := range []string{"10.0.0.12", "10.0.0.1", "10.0.0.13", "10.10.2.77"} {
		before := spoofed("spoke2")
		_, err := c.Spokes[0].Run(ctx, "ip", "address", "add", address+"/32", "dev", "lo")
		check(t, err)
		_, _ = c.Spokes[0].Run(ctx, "ping", "-c", "3", "-i", "0.1", "-W", "1", "-I", address, cloud.Host(2).String())
		if n := spoofed("spoke2") - before; n < 3 {
			t.Errorf("%d of 3 packets from %s were dropped at spoke2", n, address)
		}
		_, err = c.Spokes[0].Run(ctx, "ip", "address", "del", address+"/32", "dev", "lo")
		check(t, err)
	}
	ping(t, c.Hosts[0], 2)
}
