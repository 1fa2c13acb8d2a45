// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"testing"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestOurServerConformsInEveryFamily: as over IPv4, where the overlay, the underlay or both are IPv6.
//
//	tester 198.51.100.0/25, 2001:db8:65::/121 ── internet ── hub 192.0.2.1 or 2001:db8::1
func TestOurServerConformsInEveryFamily(t *testing.T) {
	for _, f := range []struct{ inside, over int }{{6, 4}, {4, 6}, {6, 6}} {
		t.Run(fmt.Sprintf("IPv%d in IPv%d", f.inside, f.over), func(t *testing.T) {
			address := cloud.TunnelOf(f.inside, 0).String() + map[int]string{4: "/16", 6: "/64"}[f.inside]
			c, n := build(t, cloud.Options{
				Inside: []int{f.inside}, Over: func(string) []int { return []int{f.over} },
				Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].Address = address },
			})
			if err := c.Start("hub"); err != nil {
				t.Fatal(err)
			}
			if err := c.Ready(t.Context(), "hub"); err != nil {
				t.Fatal(err)
			}
			from := map[int]string{4: local4, 6: local6}[f.over]
			judge(t, try(t, n, "--target", cloud.NBMAOf(f.over, 0).String(), "--server-address", address,
				"--key", "42", "--auth", "test1234", "--local", from, "--behind", cloud.NetworkOf(f.inside, 0).String()), mayNotApply)
		})
	}
}

// TestOurClientConformsOverIPv6, overlay and underlay.
//
//	tester 2001:db8:65::1 – ::8 ── internet ── spoke1 2001:db8:1::1
func TestOurClientConformsOverIPv6(t *testing.T) { judge(t, tryClient(t, 6, 6), without) }
