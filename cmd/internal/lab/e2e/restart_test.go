// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestAStoppedHubStartsAgainWithoutLoss: SIGTERM leaves the data plane, and what
// starts next takes it up.
func TestAStoppedHubStartsAgainWithoutLoss(t *testing.T) {
	t.Parallel()
	c := up(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	stream, err := c.Hosts[0].Stream(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4000), 1000, 200)
	check(t, err)
	time.Sleep(500 * time.Millisecond)
	check(t, c.Stop(ctx, "hub"))
	time.Sleep(time.Second)
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	time.Sleep(time.Second)
	spotless(t, "while the hub's daemon was restarted", stream.Stop())
}

// TestAHubThatForgotEverythingIsFoundAgain: as after a reboot, hub and shortcuts
// come back by themselves when the spokes renew their registrations.
func TestAHubThatForgotEverythingIsFoundAgain(t *testing.T) {
	modes(t, aHubThatForgotEverythingIsFoundAgain)
}

func aHubThatForgotEverythingIsFoundAgain(t *testing.T, m mode) {
	const holding = 9 * time.Second
	c := m.up(t, cloud.Options{Spokes: 2, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].HoldingTime = holding }})
	ctx := t.Context()
	check(t, c.Teardown(ctx, "hub"))
	until(t, c, patience, func() error { return c.Clean(ctx, "hub") })
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	// A third of the holding time until the next renewal, and time for a retry.
	until(t, c, holding/3+patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[0], 0)
	shortcut(t, c, 1, 2)
}

// TestASpokeMayMove: its underlay address changes; it registers anew, the hub
// takes the new address, and the shortcut of the other spoke heals: spoke2 is told, for it probes
// nobody and what it knows is good for two hours.
func TestASpokeMayMove(t *testing.T) { modes(t, aSpokeMayMove) }

func aSpokeMayMove(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2, Settings: func(_ string, s *cloud.Settings) {
		s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, `probe = "never"`)
	}})
	ctx := t.Context()
	shortcut(t, c, 2, 1)
	moved := moves(t, c, 1)
	until(t, c, patience, func() error { return knows(ctx, c, "hub", moved, cloud.TunnelAddress(1)) })
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.HubHost, 1)
	until(t, c, 20*time.Second, func() error {
		_, err := c.Hosts[1].Ping(cloud.Host(1), 0, time.Second)
		return err
	})
	until(t, c, 20*time.Second, func() error {
		if _, err := c.Hosts[1].Ping(cloud.Host(1), 0, time.Second); err != nil {
			return err
		}
		return knows(ctx, c, "spoke2", moved, cloud.TunnelAddress(1))
	})
}

// moves gives a spoke another underlay address, and says which.
func moves(t *testing.T, c *cloud.Cloud, n int) string {
	t.Helper()
	spoke, net := c.Spokes[n-1], strings.TrimSuffix(cloud.NBMA(n).String(), ".1")
	check(t, spoke.DeleteAddress(cloud.Underlay, net+".1/24"))
	time.Sleep(500 * time.Millisecond)
	check(t, spoke.AddAddress(cloud.Underlay, net+".77/24"))
	check(t, spoke.AddRoute(net+".254", "default"))
	return net + ".77"
}

// knows is nil when a node has a peer of that underlay and tunnel address, and
// the tunnel address at no other.
func knows(ctx context.Context, c *cloud.Cloud, node, nbma string, protocol netip.Addr) error {
	return c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
		peers, err := client.Peers(ctx)
		if err != nil {
			return err
		}
		for _, p := range peers {
			if p.Protocol == protocol && p.NBMA.String() == nbma && p.Up {
				return nil
			}
		}
		return fmt.Errorf("%v is not known at %s: %+v", protocol, nbma, peers)
	})
}
