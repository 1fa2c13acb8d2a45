// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestAnIdleShortcutLeavesNoSA: shortcut, route, Child SA, IKE SA and the place in the
// tables go at both ends, and neither end brings anything back; the SA with the hub stays.
func TestAnIdleShortcutLeavesNoSA(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		nats []cloud.NAT
	}{
		{"public addresses", nil},
		{"one behind a NAT", []cloud.NAT{{Spokes: []int{2}}}},
		{"both behind the same NAT", []cloud.NAT{{Spokes: []int{1, 2}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			leavesNoSA(t, c.nats)
		})
	}
}

func leavesNoSA(t *testing.T, nats []cloud.NAT) {
	const idle = 5 * time.Second
	c := guarded(t, cloud.Options{Spokes: 2, NATs: nats, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].Idle = idle }})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	for _, ends := range [][2]string{{"spoke1", "spoke2"}, {"spoke2", "spoke1"}} {
		until(t, c, patience, func() error { _, err := c.Secured(ctx, ends[0], ends[1]); return err })
	}
	alone := func() error {
		for n, node := range []string{"spoke1", "spoke2"} {
			if err := c.Indirect(ctx, node, cloud.Network(2-n)); err != nil {
				return err
			}
			if err := c.OnlySecured(ctx, node, "hub"); err != nil {
				return err
			}
			if peers := c.PeerNames(ctx, node); len(peers) != 1 {
				return fmt.Errorf("%s: peers %q", node, peers)
			}
		}
		return nil
	}
	until(t, c, patience, alone)
	for end := time.Now().Add(idle + time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		check(t, alone())
	}
	ping(t, c.Hosts[0], 2)
}
