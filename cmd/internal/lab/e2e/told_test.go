// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestWhoLeavesTellsItsPeers: spoke2 is torn down. Hub and spoke1 hear of it, long before what
// they know of it ends.
func TestWhoLeavesTellsItsPeers(t *testing.T) { modes(t, whoLeavesTellsItsPeers) }

func whoLeavesTellsItsPeers(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	check(t, c.Teardown(ctx, "spoke2"))
	until(t, c, patience, func() error { return c.Indirect(ctx, "spoke1", cloud.Network(2)) })
	until(t, c, patience, func() error { return c.Indirect(ctx, "hub", cloud.Network(2)) })
	until(t, c, patience, func() error {
		for _, peer := range c.PeerNames(ctx, "hub") {
			if strings.Contains(peer, cloud.NBMA(2).String()) {
				return fmt.Errorf("the hub still has %s", peer)
			}
		}
		return nil
	})
	for _, node := range []string{"hub", "spoke1"} {
		if came(t, c, node, "purge-request") == 0 {
			t.Errorf("%s was told by no purge", node)
		}
	}
}

// came is how many packets of a type have come to a node.
func came(t *testing.T, c *cloud.Cloud, node, kind string) (n uint64) {
	t.Helper()
	check(t, c.Ask(t.Context(), node, func(ctx context.Context, client *control.Client) error {
		all, err := client.NHRPCounters(ctx)
		for _, counters := range all {
			for _, x := range counters.Types {
				if x.Type == kind {
					n += x.Received
				}
			}
		}
		return err
	}))
	return n
}

// TestWhatNobodyHasIsAskedForOnce: the answer is remembered, and shown.
func TestWhatNobodyHasIsAskedForOnce(t *testing.T) { modes(t, whatNobodyHasIsAskedForOnce) }

func whatNobodyHasIsAskedForOnce(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 1})
	nobody := cloud.TunnelAddress(88)
	before := asksOf(t, c, "spoke1")
	for range 40 {
		if _, err := c.Spokes[0].Ping(nobody, 0, 50*time.Millisecond); err == nil {
			t.Fatalf("%v answers", nobody)
		}
	}
	if n := asksOf(t, c, "spoke1") - before; n != 1 {
		t.Errorf("it was asked for %d times", n)
	}
	if n := nhrpCounters(t, c).Codes["resolution-reply-sent-code-12"]; n != 1 {
		t.Errorf("the hub has said %d times that nobody has it", n)
	}
	out, err := c.Dmvpn(t.Context(), "spoke1", "nhrp")
	check(t, err)
	if !strings.Contains(out, nobody.String()) || !strings.Contains(out, "no binding") {
		t.Errorf("dmvpn nhrp does not show what nobody has:\n%s", out)
	}
}

// TestAUniqueAddressStays: spoke1 is registered as unique, and moves. Nobody can tell in clear who
// it is: it is refused. Encrypted it proves to be the same.
func TestAUniqueAddressStays(t *testing.T) { modes(t, aUniqueAddressStays) }

func aUniqueAddressStays(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 1, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke1" {
			s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, "unique = true")
		}
	}})
	ctx := t.Context()
	moved := moves(t, c, 1)
	if m.encrypted {
		until(t, c, patience, func() error { return knows(ctx, c, "hub", moved, cloud.TunnelAddress(1)) })
		until(t, c, patience, func() error { return pinged(c.HubHost, 4, 1) })
		return
	}
	until(t, c, patience, func() error {
		out, err := c.Dmvpn(ctx, "spoke1", "nhs")
		if err == nil && !strings.Contains(out, "already registered") {
			err = fmt.Errorf("spoke1 does not say that it is refused:\n%s", out)
		}
		return err
	})
	check(t, knows(ctx, c, "hub", cloud.NBMA(1).String(), cloud.TunnelAddress(1)))
}
