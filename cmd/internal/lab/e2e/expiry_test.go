// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestAnUnusedShortcutExpiresAtBothEnds: traffic below the configured amount
// keeps no shortcut, and not a packet of it is lost when the way changes back
// to the hub.
func TestAnUnusedShortcutExpiresAtBothEnds(t *testing.T) { modes(t, anUnusedShortcutExpiresAtBothEnds) }

func anUnusedShortcutExpiresAtBothEnds(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2, Settings: func(_ string, s *cloud.Settings) {
		s.Tunnels[0].Idle, s.Tunnels[0].IdleBytes = 4*time.Second, 1<<20
	}})
	// 1,000 small packets a second are 150 kB in the idle time: too little.
	stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 8)
	check(t, err)
	until(t, c, patience, func() error { return c.Direct(t.Context(), "spoke1", cloud.Network(2)) })
	ping(t, c.Hosts[1], 1) // the way back has its shortcut too
	until(t, c, 20*time.Second, func() error { return c.Indirect(t.Context(), "spoke1", cloud.Network(2)) })
	time.Sleep(2 * time.Second)
	spotless(t, "while the shortcut expired", stream.Stop())
	// Without traffic, nothing comes back.
	for node, n := range map[string]int{"spoke1": 2, "spoke2": 1} {
		until(t, c, 20*time.Second, func() error { return c.Indirect(t.Context(), node, cloud.Network(n)) })
	}
	ping(t, c.Hosts[0], 2)
}

// TestAShortcutInUseIsRefreshed: the holding time passes three times over, and
// the stream neither loses a packet nor goes by the hub again.
func TestAShortcutInUseIsRefreshed(t *testing.T) { modes(t, aShortcutInUseIsRefreshed) }

func aShortcutInUseIsRefreshed(t *testing.T, m mode) {
	const holding = 9 * time.Second
	c := m.up(t, cloud.Options{Spokes: 2, Settings: func(_ string, s *cloud.Settings) {
		s.Tunnels[0].HoldingTime = holding
	}})
	stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, dataSize)
	check(t, err)
	until(t, c, patience, func() error { return c.Direct(t.Context(), "spoke1", cloud.Network(2)) })
	time.Sleep(200 * time.Millisecond)
	atHub, err := c.Hub.Capture(cloud.Underlay, m.isData)
	check(t, err)
	refreshed, last := -1, time.Time{}
	for end := time.Now().Add(3*holding + time.Second); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		list, err := c.Shortcuts(t.Context(), "spoke1")
		check(t, err)
		for _, s := range list {
			if s.Prefix == cloud.Network(2) && another(s.Expires, last) {
				refreshed, last = refreshed+1, s.Expires
			}
		}
		check(t, c.Routed("spoke1", cloud.Network(2)))
	}
	if refreshed < 3 {
		t.Errorf("the shortcut was refreshed %d times in three holding times", refreshed)
	}
	spotless(t, "over three holding times", stream.Stop())
	if n := len(atHub.Close()); n > 0 {
		t.Errorf("%d packets went by the hub", n)
	}
}
