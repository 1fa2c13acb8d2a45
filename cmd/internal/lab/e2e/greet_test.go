// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestHellosOutliveARestart: what the hub and a spoke say to a group of the link while the hub's
// daemon is away is heard when it is back, though nobody says it again.
//
//	hub  ── spoke1
//	     ── spoke2
func TestHellosOutliveARestart(t *testing.T) { modes(t, hellosOutliveARestart) }

func hellosOutliveARestart(t *testing.T, m mode) {
	const tries = 10
	c := m.up(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	hear := hearing(t, append([]*lab.Node{c.Hub}, c.Spokes...), groups[0])
	for try := range tries {
		hub, spoke := fmt.Sprintf("the hub's %d", try), fmt.Sprintf("spoke1's %d", try)
		until(t, c, patience, func() error { return saved(c, "hub", cloud.TunnelAddress(1), cloud.TunnelAddress(2)) })
		check(t, c.Kill(ctx, "hub"))
		began := time.Now()
		check(t, c.Hub.Tell(cloud.Device, groups[0], hub, 1))
		check(t, c.Spokes[0].Tell(cloud.Device, groups[0], spoke, 1))
		check(t, c.Start("hub"))
		check(t, c.Ready(ctx, "hub"))
		until(t, c, patience, func() error { return membersAre(c, "hub", cloud.TunnelAddress(1), cloud.TunnelAddress(2)) })
		until(t, c, patience, func() error { return membersAre(c, "spoke1", cloud.HubTunnel()) })
		if took := time.Since(began); took > 6*time.Second {
			t.Logf("the hub was away for %v, on a busy machine: once more", took)
			continue // hellos are news for so long only
		}
		for at, want := range []string{spoke, hub, hub} {
			until(t, c, patience, func() error {
				if hear.at[at][0].Came(want) == 0 {
					return fmt.Errorf("%s has not heard %q", hear.sites[at].Name, want)
				}
				return nil
			})
		}
		return
	}
	t.Fatalf("the hub was away for too long %d times", tries)
}
