// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestWhatAShortcutLeavesIsNoDeadEnd: a shortcut within a default route by the tunnel ends, and
// its packets take the default route again.
func TestWhatAShortcutLeavesIsNoDeadEnd(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		u := &s.Tunnels[0]
		if u.Idle, u.IdleBytes = 2*time.Second, 1<<20; node != "hub" {
			u.NHS[0].Routes = []string{"0.0.0.0/0"}
		}
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(2), 0, time.Second)
		return err
	})
	until(t, c, patience, func() error { return c.Direct(ctx, "spoke1", cloud.Network(2)) })
	until(t, c, patience, func() error { return c.Indirect(ctx, "spoke1", cloud.Network(2)) })
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(2), 0, time.Second)
		return err
	})
}
