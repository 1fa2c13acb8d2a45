// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestTheCarrierFollowsTheHub, of IPv4 and IPv6: spoke1 has if-state = "nhrp", spoke2 has not. Restarts of spoke1 change how
// many queues its device has.
func TestTheCarrierFollowsTheHub(t *testing.T) { modes(t, theCarrierFollowsTheHub) }

func theCarrierFollowsTheHub(t *testing.T, m mode) {
	both := []int{4, 6}
	c := m.build(t, cloud.Options{Spokes: 2, Inside: both, Settings: func(node string, s *cloud.Settings) {
		s.Queues = 2
		u := &s.Tunnels[0]
		u.Keys = []string{`probe-idle = "1s"`}
		if node == "spoke1" {
			u.Keys = append(u.Keys, `if-state = "nhrp"`)
		}
		if u.IPsec != nil {
			u.IPsec.DPD = 2 * time.Second
		}
	}})
	ctx := t.Context()
	has := func(node string, want bool) error {
		got, err := c.Get(node).Carrier(cloud.Device)
		if err == nil && got != want {
			err = fmt.Errorf("%s: carrier is %v", node, got)
		}
		return err
	}
	losses := func() int {
		t.Helper()
		n, err := c.Spokes[0].CarrierLosses(ctx, cloud.Device)
		check(t, err)
		return n
	}
	for _, spoke := range []string{"spoke1", "spoke2"} {
		check(t, c.Start(spoke))
		check(t, c.Ready(ctx, spoke))
	}
	check(t, has("spoke1", false))
	check(t, has("spoke2", true))
	link, err := c.Spokes[0].Run(ctx, "ip", "link", "show", cloud.Device)
	check(t, err)
	if !strings.Contains(link, "NO-CARRIER") || !strings.Contains(link, "state DOWN") {
		t.Errorf("ip link shows a carrier:\n%s", link)
	}
	out, err := c.Dmvpn(ctx, "spoke1")
	check(t, err)
	if !strings.Contains(out, "no carrier (if-state nhrp") {
		t.Errorf("dmvpn does not say why there is no carrier:\n%s", out)
	}

	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	until(t, c, patience, func() error { return has("spoke1", true) })
	reached := func() {
		t.Helper()
		for _, v := range both {
			until(t, c, patience, func() error {
				_, err := c.Hosts[0].Ping(cloud.HostOf(v, 0), 0, time.Second)
				return err
			})
		}
	}
	reached()
	atFirst := losses()

	// A restart, by a crash, is none of its business.
	check(t, c.Kill(ctx, "spoke1"))
	c.Settings("spoke1").Queues = 3
	check(t, c.Start("spoke1"))
	check(t, c.Ready(ctx, "spoke1"))
	until(t, c, patience, func() error { return c.Registered(ctx, "spoke1") })
	reached()
	if n := losses(); n != atFirst {
		t.Errorf("the restart took the carrier %d times", n-atFirst)
	}

	check(t, c.Kill(ctx, "hub"))
	until(t, c, patience, func() error { return has("spoke1", false) })
	check(t, has("spoke2", true))

	// Without a hub it stays away, across restarts.
	check(t, c.Stop(ctx, "spoke1"))
	c.Settings("spoke1").Queues = 4
	check(t, has("spoke1", false))
	check(t, c.Start("spoke1"))
	check(t, c.Ready(ctx, "spoke1"))
	check(t, has("spoke1", false))
	if n := losses(); n != atFirst+1 {
		t.Errorf("the carrier was lost %d times, not once", n-atFirst)
	}

	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	until(t, c, 80*time.Second, func() error { return has("spoke1", true) })
	reached()
	check(t, c.Teardown(ctx, "spoke1"))
	check(t, c.Clean(ctx, "spoke1"))
}
