// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestARestartKeepsTheAdjacencies: our daemon on the hub, then on a spoke, is away for a while,
// stopped and killed. The tunnel keeps its carrier, hellos wait, and neither OSPF nor BGP
// loses a neighbour.
func TestARestartKeepsTheAdjacencies(t *testing.T) { modes(t, aRestartKeepsTheAdjacencies) }

func aRestartKeepsTheAdjacencies(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	ctx := t.Context()
	f := frr(t, c, "frr-ospf-p2mp-hub.conf", "frr-ospf-p2mp-spoke.conf", "ospfd", "bgpd")
	for n := range f {
		name := "frr-ibgp-spoke.conf"
		if n == 0 {
			name = "frr-ibgp-hub.conf"
		}
		check(t, f[n].Load(ctx, example(t, name, n)))
	}
	for n := 1; n <= 2; n++ {
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
		until(t, c, 3*patience, func() error {
			if out := f.typed(t, n, "show bgp neighbors 10.0.0.1"); !strings.Contains(out, "BGP state = Established") {
				return fmt.Errorf("spoke%d: BGP does not stand: %s", n, out)
			}
			return nil
		})
	}
	for n := range f { // BGP may have been faster
		until(t, c, 3*patience, func() error {
			out := f.typed(t, n, "show ip ospf neighbor")
			if want := map[bool]int{true: len(c.Spokes), false: 1}[n == 0]; strings.Count(out, "Full/") != want {
				return fmt.Errorf("node %d: %d neighbours of OSPF are to be full: %s", n, want, out)
			}
			return nil
		})
	}
	for _, node := range []string{"hub", "spoke1"} {
		for _, end := range []struct {
			how string
			do  func(context.Context, string) error
		}{{"stopped", c.Stop}, {"killed", c.Kill}} {
			check(t, end.do(ctx, node))
			time.Sleep(4 * time.Second) // a hello of OSPF may be missed, and BGP's keepalive
			check(t, c.Start(node))
			check(t, c.Ready(ctx, node))
			for _, s := range c.Spokes {
				until(t, c, patience, func() error { return c.Registered(ctx, s.Name) })
			}
			until(t, c, patience, func() error {
				_, err := c.Hosts[0].Ping(cloud.Host(2), 0, time.Second)
				return err
			})
			greeted(t, c, f)
			lost(t, f, node+" "+end.how, "ospfd", "bgpd")
		}
	}
}

// due is when OSPF gives a neighbour up unless it says hello: 20 s after the last one, and one comes
// every 5 s, as the examples have it.
var due = regexp.MustCompile(`"deadTimeMsecs":\s*(\d+)`)

// greeted waits until every neighbour has said hello again.
func greeted(t *testing.T, c *cloud.Cloud, f suite) {
	t.Helper()
	for n := range f {
		until(t, c, patience, func() error {
			out := f.typed(t, n, "show ip ospf neighbor json")
			all := due.FindAllStringSubmatch(out, -1)
			for _, m := range all {
				if ms, err := strconv.Atoi(m[1]); err != nil || ms < 14000 {
					return fmt.Errorf("node %d: no hello for a while: %s", n, out)
				}
			}
			if len(all) == 0 || n == 0 && len(all) != len(c.Spokes) {
				return fmt.Errorf("node %d: neighbours are missing: %s", n, out)
			}
			return nil
		})
	}
}

// fell are the lines of bgpd, ospfd and ospf6d about a neighbour that is lost.
var fell = regexp.MustCompile(`(?m)^.*(ADJCHANGE.*Down|AdjChg.*Full -> |NOTIFICATION).*$`)

// lost fails the test if one of these routing daemons has lost a neighbour.
func lost(t *testing.T, f suite, when string, daemons ...string) {
	t.Helper()
	for n, one := range f {
		for _, daemon := range daemons {
			log := one.Daemon(daemon).Output()
			if !strings.Contains(log, "AdjChg") && !strings.Contains(log, "ADJCHANGE") {
				t.Fatalf("%s of node %d does not log its neighbours", daemon, n)
			}
			if line := fell.FindString(log); line != "" {
				t.Fatalf("%s: node %d: %s", when, n, line)
			}
		}
	}
}
