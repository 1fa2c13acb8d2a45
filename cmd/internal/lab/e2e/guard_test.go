// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestWhatAShortcutLeavesIsNoDeadEnd: a shortcut within a default route by the tunnel ends, and
// its packets take the default route again.
func TestWhatAShortcutLeavesIsNoDeadEnd(t *testing.T) {
	t.Parallel()
	whatAShortcutLeaves(t, false)
}

// TestADefaultRouteBesideFRRsIsNoDeadEnd: the underlay's default route is FRR's, so that the
// tunnel's stands in two halves. Nothing stands under a half, and IKE finds the hub again.
func TestADefaultRouteBesideFRRsIsNoDeadEnd(t *testing.T) {
	t.Parallel()
	c := whatAShortcutLeaves(t, true)
	out, err := c.Spokes[0].Run(t.Context(), "ip", "route", "show", "type", "unreachable")
	check(t, err)
	if strings.Contains(out, "/1 ") {
		t.Errorf("spoke1: half of everything is unreachable:\n%s", out)
	}
	check(t, c.Stop(t.Context(), "spoke1"))
	check(t, c.Start("spoke1"))
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(2), 0, time.Second)
		return err
	})
}

func whatAShortcutLeaves(t *testing.T, besideFRR bool) *cloud.Cloud {
	t.Helper()
	c := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		u := &s.Tunnels[0]
		if u.Idle, u.IdleBytes = 4*time.Second, 1<<20; node != "hub" {
			u.NHS[0].Routes = []string{"0.0.0.0/0"}
		}
	}})
	ctx := t.Context()
	if besideFRR {
		for n, s := range c.Spokes {
			// As zebra installs a static route; no lab has FRR's daemon for it.
			gateway := cloud.NBMA(n + 1).As4()
			gateway[3] = 254
			for _, change := range []string{"del default", "add default via " + netip.AddrFrom4(gateway).String() + " proto 196 metric 20"} {
				_, err := s.Run(ctx, "ip", strings.Fields("route "+change)...)
				check(t, err)
			}
		}
	}
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
	return c
}

// TestWhatIsInAPeersWayIsLifted: spoke1 guards the underlay prefix that spoke2 is in, which no
// configuration can know: the unreachable route under it goes, and the shortcut comes about.
func TestWhatIsInAPeersWayIsLifted(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke1" {
			s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, `guard = ["198.18.2.0/24"]`)
		}
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(2), 0, time.Second)
		return err
	})
	until(t, c, 2*patience, func() error {
		_, _ = c.Hosts[0].Ping(cloud.Host(2), 0, time.Second)
		return c.Direct(ctx, "spoke1", cloud.Network(2))
	})
	if out := c.Log("spoke1", 1000); !strings.Contains(out, "kept outer packets from "+cloud.NBMA(2).String()) {
		t.Errorf("spoke1 does not say that it lifted the route:\n%s", out)
	}
}

// TestAnUnreachableRouteThatIsFlushedStandsAgain: a program, or an operator, has removed all of them;
// the log says so.
func TestAnUnreachableRouteThatIsFlushedStandsAgain(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 1})
	ctx := t.Context()
	standing := func() string {
		t.Helper()
		out, err := c.Spokes[0].Run(ctx, "ip", "route", "show", "type", "unreachable")
		check(t, err)
		return out
	}
	before := standing()
	if !strings.Contains(before, "10.0.0.0/24") || !strings.Contains(before, "10.10.0.0/16") {
		t.Fatalf("unreachable: %s", before)
	}
	_, err := c.Spokes[0].Run(ctx, "ip", "route", "flush", "type", "unreachable")
	check(t, err)
	until(t, c, patience, func() error {
		if now := standing(); now != before {
			return fmt.Errorf("unreachable: %s, before %s", now, before)
		}
		return nil
	})
	until(t, c, patience, func() error {
		if !strings.Contains(c.Log("spoke1", 1000), "somebody removed unreachable routes") {
			return errors.New("spoke1 does not say that they were removed")
		}
		return nil
	})
	_, err = c.Dmvpn(ctx, "spoke1", "teardown", "--release")
	check(t, err)
	if out := standing(); out != "" {
		t.Errorf("released, and there is %s", out)
	}
}
