// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestBFDSeesADeadHub: 300 ms × 3. The routes by a hub that is gone go long before BGP's own
// hold time of 30 s.
func TestBFDSeesADeadHub(t *testing.T) { modes(t, bfdSeesADeadHub) }

func bfdSeesADeadHub(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	f := frr(t, c, "frr-ibgp-bfd-hub.conf", "frr-ibgp-bfd-spoke.conf", "bfdd", "bgpd")
	for n := 1; n <= 2; n++ {
		until(t, c, 3*patience, func() error {
			out := f.typed(t, n, "show bfd peers brief")
			if !strings.Contains(out, "up") {
				return fmt.Errorf("spoke%d: %s", n, out)
			}
			return nil
		})
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(0), cloud.HubTunnel())
	}
	look(t, c, "FRR with `frr-ibgp-bfd-hub.conf`:", typing{"vtysh": f[1].Client()})
	ping(t, c.Hosts[0], 0)
	died := time.Now()
	check(t, c.Hub.SetUp(cloud.Underlay, false))
	for n := 1; n <= 2; n++ {
		forgets(t, c, c.Spokes[n-1].Name, cloud.Network(0))
	}
	// BGP's keepalives alone leave it at least 20 s.
	took := time.Since(died)
	t.Logf("seen after %v", took)
	if took > 15*time.Second {
		t.Errorf("the hub's death was seen after %v", took)
	}
	check(t, c.Hub.SetUp(cloud.Underlay, true))
	check(t, c.Hub.AddRoute("192.0.2.254", "default"))
	for n := 1; n <= 2; n++ {
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(0), cloud.HubTunnel())
	}
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(0), 0, time.Second)
		return err
	})
}
