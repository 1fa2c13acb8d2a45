// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestBFDSeesTheDead: 300 ms × 3. The route to a spoke that is gone, and the routes by a hub that is
// gone, go long before BGP's own hold time of 30 s; so does the shortcut to the spoke.
func TestBFDSeesTheDead(t *testing.T) { modes(t, bfdSeesTheDead) }

func bfdSeesTheDead(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	f := frr(t, c, "frr-ibgp-bfd-hub.conf", "frr-ibgp-bfd-spoke.conf", "bfdd", "bgpd")
	whole := func() {
		t.Helper()
		sessions(t, c, f)
		for n := 1; n <= 2; n++ {
			learns(t, c, c.Spokes[n-1].Name, cloud.Network(0), cloud.HubTunnel())
			learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
		}
	}
	whole()
	look(t, c, "FRR with `frr-ibgp-bfd-hub.conf`:", typing{"vtysh": f[1].Client()})
	ping(t, c.Hosts[0], 0)
	short(t, c, 1, 2)
	for _, dies := range []struct {
		node    *lab.Node
		gateway string
		sees    int // whose session ends, with whom
		peer    string
		routes  map[string]netip.Prefix
	}{
		{c.Spokes[1], "198.18.2.254", 0, "10.0.0.12", map[string]netip.Prefix{"hub": cloud.Network(2), "spoke1": cloud.Network(2)}},
		{c.Hub, "192.0.2.254", 1, "10.0.0.1", map[string]netip.Prefix{"spoke1": cloud.Network(0), "spoke2": cloud.Network(0)}},
	} {
		died := time.Now()
		check(t, dies.node.SetUp(cloud.Underlay, false))
		for node, prefix := range dies.routes {
			forgets(t, c, node, prefix)
		}
		// BGP's keepalives alone leave it at least 20 s.
		took := time.Since(died)
		t.Logf("%s: seen after %v", dies.node.Name, took)
		if took > 15*time.Second {
			t.Errorf("the death of %s was seen after %v", dies.node.Name, took)
		}
		if log := f[dies.sees].Daemon("bgpd").Output(); !regexp.MustCompile(`sent to neighbor ` + dies.peer + ` .*BFD Down`).MatchString(log) {
			t.Errorf("it was not BFD that saw the death of %s:\n%s", dies.node.Name, log)
		}
		if dies.node != c.Hub {
			loses(t, c, "spoke1", cloud.Network(2))
		}
		check(t, dies.node.SetUp(cloud.Underlay, true))
		check(t, dies.node.AddRoute(dies.gateway, "default"))
		whole()
	}
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(0), 0, time.Second)
		return err
	})
}

// sessions waits until every session of FRR's BFD is up.
func sessions(t *testing.T, c *cloud.Cloud, f suite) {
	t.Helper()
	for n := range f {
		want := 1
		if n == 0 {
			want = len(c.Spokes)
		}
		until(t, c, 3*patience, func() error {
			if out := f.typed(t, n, "show bfd peers json"); strings.Count(out, `"status":"up"`) != want {
				return fmt.Errorf("node %d: %d sessions of BFD are to be up: %s", n, want, out)
			}
			return nil
		})
	}
}

var sessionDown = regexp.MustCompile(`"session-down":\s*(\d+)`)

// bfdLosses is how often a session of FRR's BFD went down.
func bfdLosses(t *testing.T, f suite) (sum int) {
	t.Helper()
	for n := range f {
		out := f.typed(t, n, "show bfd peers counters json")
		all := sessionDown.FindAllStringSubmatch(out, -1)
		if len(all) == 0 {
			t.Fatalf("node %d counts nothing: %s", n, out)
		}
		for _, m := range all {
			down, err := strconv.Atoi(m[1])
			check(t, err)
			sum += down
		}
	}
	return sum
}
