// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestSeveralTunnelsOnOneUnderlay: keys tell them apart; each has its own peers,
// and the same overlay packet in one is not taken in the other.
//
//	hub and spokes: dmvpn0 key 42, 10.0.0.0/24 and dmvpn1 key 43, 10.1.0.0/24
func TestSeveralTunnelsOnOneUnderlay(t *testing.T) { modes(t, severalTunnelsOnOneUnderlay) }

func severalTunnelsOnOneUnderlay(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		second := s.Tunnels[0]
		second.Name, second.Key, second.Networks = "dmvpn1", 43, nil
		address := netip.MustParsePrefix(second.Address)
		as4 := address.Addr().As4()
		as4[1] = 1
		second.Address = netip.PrefixFrom(netip.AddrFrom4(as4), 24).String()
		if node != "hub" {
			second.NHS = []cloud.NHS{{NBMA: cloud.HubNBMA().String()}}
		}
		s.Tunnels = append(s.Tunnels, second)
	}})
	ctx := t.Context()
	hub, spoke2 := addr([4]byte{10, 1, 0, 1}), addr([4]byte{10, 1, 0, 12})
	until(t, c, patience, func() error {
		if _, err := c.Spokes[0].Ping(hub, 0, time.Second); err != nil {
			return err
		}
		_, err := c.Spokes[0].Ping(spoke2, 0, time.Second)
		return err
	})
	ping(t, c.Hosts[0], 0)
	shortcut(t, c, 1, 2)
	for _, device := range []string{cloud.Device, "dmvpn1"} {
		tunnel, err := c.Tunnel(ctx, "hub", device)
		check(t, err)
		if tunnel.Peers != 2 || tunnel.Registered < 2 {
			t.Errorf("%s on the hub: %+v", device, tunnel)
		}
	}
}
