// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestANarrowPath: a router between spoke and hub takes 1300 octets only, and says so by
// ICMP to those whose addresses the outer packets bear. The hosts hear of it in turn, and
// their TCP goes on; with a mark, too, by which alone the underlay is routed then.
//
//	host1 ── spoke1 ─── internet ─── hub ── host0
//	               1300         1300
func TestANarrowPath(t *testing.T) {
	t.Parallel()
	const path, overhead = 1300, 28
	no := false
	for name, mark := range map[string]int{"without a mark": 0, "with a mark": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := build(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) {
				s.Tunnels[0].Mark, s.Tunnels[0].MSSClamp = mark, &no
			}})
			ctx := t.Context()
			run := func(node, command string) string {
				t.Helper()
				out, err := c.Get(node).Run(ctx, "sh", "-ec", command)
				check(t, err)
				return out
			}
			for node, nbma := range map[string]netip.Addr{"spoke1": cloud.NBMA(1), "hub": cloud.HubNBMA()} {
				gateway := nbma.As4()
				gateway[3] = 254
				run("internet", fmt.Sprintf("ip route replace %s/24 dev %s proto kernel scope link src %s mtu %d", netip.PrefixFrom(nbma, 24).Masked().Addr(), node, addr(gateway), path))
				if mark != 0 {
					run(node, fmt.Sprintf("ip route del default; ip route add default via %s table %d; ip rule add fwmark %[2]d lookup %[2]d", addr(gateway), mark))
				}
			}
			check(t, c.StartAll(ctx))
			until(t, c, patience, func() error { return c.AllRegistered(ctx) })
			for _, way := range []struct {
				from, to string
				address  netip.Addr
			}{{"host1", "host0", cloud.Host(0)}, {"host0", "spoke1", cloud.Gateway(1)}} {
				talk, err := c.Get(way.from).Talk(c.Get(way.to), netip.AddrPortFrom(way.address, 4001))
				check(t, err)
				until(t, c, patience, func() error {
					if talk.Blocks() < 20 {
						return fmt.Errorf("%s to %s: %d blocks", way.from, way.to, talk.Blocks())
					}
					return nil
				})
				report := talk.Stop()
				t.Logf("%s to %s: %+v", way.from, way.to, report)
				if report.Err != nil {
					t.Errorf("%s to %s: %v", way.from, way.to, report.Err)
				}
				if route := run(way.from, "ip route get "+way.address.String()); !strings.Contains(route, fmt.Sprintf(" mtu %d ", path-overhead)) {
					t.Errorf("%s was not told of the path: %s", way.from, route)
				}
			}
		})
	}
}
