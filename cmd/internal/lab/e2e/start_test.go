// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"dmvpn/cmd/internal/lab/cloud"
)

// refused starts a daemon that must end with status 1 and one sentence that
// contains these words, and leave nothing.
func refused(t *testing.T, c *cloud.Cloud, node string, words ...string) {
	t.Helper()
	check(t, c.Start(node))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := c.Daemon(node)
	status, err := p.Wait(ctx)
	check(t, err)
	out := strings.TrimSpace(p.Output())
	t.Logf("status %d: %s", status, out)
	if status != 1 || out == "" {
		t.Errorf("status %d, output %q", status, out)
	}
	last := out[strings.LastIndex(out, "\n")+1:]
	for _, w := range words {
		if !strings.Contains(last, w) {
			t.Errorf("%q does not say %q", last, w)
		}
	}
	check(t, c.Clean(t.Context(), node))
}

func TestAMissingUnderlayIsRefused(t *testing.T) {
	t.Parallel()
	c := build(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].Underlay = "wan7" }})
	refused(t, c, "hub", "wan7")
}

func TestAnAddressInUseIsRefused(t *testing.T) {
	t.Parallel()
	c := build(t, cloud.Options{Spokes: 1})
	check(t, c.Hub.AddAddress(cloud.LAN, cloud.HubTunnel().String()+"/24"))
	refused(t, c, "hub", cloud.HubTunnel().String(), cloud.LAN)
}

func TestADeviceOfThatNameIsRefused(t *testing.T) {
	t.Parallel()
	c := build(t, cloud.Options{Spokes: 1})
	check(t, c.Hub.Net.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: cloud.Device}}))
	check(t, c.Start("hub"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	status, err := c.Daemon("hub").Wait(ctx)
	check(t, err)
	if out := c.Daemon("hub").Output(); status != 1 || !strings.Contains(out, cloud.Device) {
		t.Errorf("status %d: %s", status, out)
	}
	if link, err := c.Hub.Net.LinkByName(cloud.Device); err != nil || link.Type() != "bridge" {
		t.Errorf("the bridge is %v, %v", link, err)
	}
	if pins := c.Pins("hub"); len(pins) > 0 {
		t.Errorf("pins %v are left", pins)
	}
}

func TestASecondDaemonIsRefused(t *testing.T) { modes(t, aSecondDaemonIsRefused) }

func aSecondDaemonIsRefused(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 1})
	first := c.Daemon("hub")
	check(t, c.Start("hub"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	second := c.Daemon("hub")
	status, err := second.Wait(ctx)
	check(t, err)
	if out := second.Output(); status != 1 || !strings.Contains(out, "default") {
		t.Errorf("status %d: %s", status, out)
	}
	select {
	case <-first.Done():
		t.Error("the first daemon has ended")
	default:
	}
	ping(t, c.Hosts[0], 0)
}

func TestAWrongFileIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	c := build(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].Address = "10.0.0/24" }})
	check(t, c.Start("hub"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	status, err := c.Daemon("hub").Wait(ctx)
	check(t, err)
	if out := c.Daemon("hub").Output(); status != 1 || !strings.Contains(out, "dmvpnd.toml:") {
		t.Errorf("status %d: %s", status, out)
	}
}
