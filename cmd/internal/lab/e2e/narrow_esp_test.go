// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// gatewayOf is the Internet's address on the wire of an underlay address.
func gatewayOf(nbma netip.Addr) [4]byte {
	gateway := nbma.As4()
	gateway[3] = 254
	return gateway
}

// TestAPathThatGetsNarrowUnderESP: a router between spoke and hub takes 1400 octets only,
// from one moment on. TCP goes on, both ends' daemons know, and the hosts are told.
//
//	host1 ── spoke1 ─── internet ─── hub ── host0
//	               1400         1400
func TestAPathThatGetsNarrowUnderESP(t *testing.T) {
	t.Parallel()
	const path = 1400
	for _, way := range []struct {
		name  string
		lines []string
		mark  int // by which alone the underlay is routed; 0: by its addresses
		mtu   int // inside
	}{
		{"in UDP", nil, 0, 1330},
		{"in UDP, with a mark", nil, 100, 1330},
		{"raw", []string{`encapsulation = "raw"`}, 0, 1338},
		{"raw, with a mark", []string{`encapsulation = "raw"`}, 100, 1338},
		{"tunnel mode, raw", []string{`encapsulation = "raw"`, `mode = "tunnel"`}, 0, 1318},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			c := protected(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) {
				s.Tunnels[0].IPsec.Lines, s.Tunnels[0].Mark = way.lines, way.mark
			}})
			ctx := t.Context()
			ends := map[string]netip.Addr{"spoke1": cloud.NBMA(1), "hub": cloud.HubNBMA()}
			for node, nbma := range ends {
				if way.mark != 0 {
					_, err := c.Get(node).Run(ctx, "sh", "-ec", fmt.Sprintf("ip route del default; ip route add default via %s table %d; ip rule add fwmark %[2]d lookup %[2]d",
						addr(gatewayOf(nbma)), way.mark))
					check(t, err)
				}
			}
			check(t, c.StartAll(ctx))
			until(t, c, patience, func() error { return c.AllRegistered(ctx) })
			toHub, err := c.Hosts[0].Talk(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4001))
			check(t, err)
			toSpoke, err := c.HubHost.Talk(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4002))
			check(t, err)
			moreBlocks(t, c, toHub, toSpoke)
			for node, nbma := range ends {
				_, err := c.Internet.Run(ctx, "sh", "-ec", fmt.Sprintf("ip route replace %s/24 dev %s proto kernel scope link src %s mtu %d",
					netip.PrefixFrom(nbma, 24).Masked().Addr(), node, addr(gatewayOf(nbma)), path))
				check(t, err)
			}
			moreBlocks(t, c, toHub, toSpoke)
			for _, node := range []string{"spoke1", "hub"} {
				until(t, c, patience, func() error {
					return c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
						peers, err := client.Peers(ctx)
						if err == nil && (len(peers) != 1 || peers[0].MTU != way.mtu) {
							err = fmt.Errorf("%s has the peers %+v", node, peers)
						}
						return err
					})
				})
			}
			for from, to := range map[string]netip.Addr{"host1": cloud.Host(0), "host0": cloud.Host(1)} {
				route, err := c.Get(from).Run(ctx, "ip", "route", "get", to.String())
				check(t, err)
				if !strings.Contains(route, fmt.Sprintf(" mtu %d ", way.mtu)) {
					t.Errorf("%s was not told: %s", from, route)
				}
			}
			if a, b := toHub.Stop(), toSpoke.Stop(); a.Err != nil || b.Err != nil {
				t.Errorf("TCP: %+v, %+v", a, b)
			}
		})
	}
}

// moreBlocks waits until TCP has carried 20 blocks more each way.
func moreBlocks(t *testing.T, c *cloud.Cloud, toHub, toSpoke *lab.Talk) {
	t.Helper()
	a, b := toHub.Blocks(), toSpoke.Blocks()
	until(t, c, 3*patience, func() error {
		if toHub.Blocks() < a+20 || toSpoke.Blocks() < b+20 {
			return fmt.Errorf("%d blocks to the hub, %d to the spoke", toHub.Blocks()-a, toSpoke.Blocks()-b)
		}
		return nil
	})
}
