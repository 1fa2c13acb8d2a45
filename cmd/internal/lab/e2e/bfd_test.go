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
// gone, go long before BGP's own hold time of 30 s and OSPF's dead interval of 20 s; so does the shortcut to
// the spoke.
func TestBFDSeesTheDead(t *testing.T) {
	for _, user := range []struct{ daemon, hub, spoke string }{
		{"bgpd", "frr-ibgp-bfd-hub.conf", "frr-ibgp-bfd-spoke.conf"},
		{"ospfd", "frr-ospf-bfd-hub.conf", "frr-ospf-bfd-spoke.conf"},
	} {
		t.Run(user.daemon, func(t *testing.T) {
			modes(t, func(t *testing.T, m mode) { bfdSeesTheDead(t, m, user.daemon, user.hub, user.spoke) })
		})
	}
}

func bfdSeesTheDead(t *testing.T, m mode, daemon, hub, spoke string) {
	c := carried(t, m, 2, "hub.toml")
	f := frr(t, c, hub, spoke, "bfdd", daemon)
	whole := func() {
		t.Helper()
		sessions(t, c, f)
		for n := 1; n <= 2; n++ {
			learns(t, c, c.Spokes[n-1].Name, cloud.Network(0), cloud.HubTunnel())
			learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
		}
	}
	whole()
	look(t, c, "FRR with `"+hub+"`:", typing{"vtysh": f[1].Client()})
	ping(t, c.Hosts[0], 0)
	short(t, c, 1, 2)
	for _, dies := range []struct {
		node    *lab.Node
		gateway string
		routes  map[string]netip.Prefix
	}{
		{c.Spokes[1], "198.18.2.254", map[string]netip.Prefix{"hub": cloud.Network(2), "spoke1": cloud.Network(2)}},
		{c.Hub, "192.0.2.254", map[string]netip.Prefix{"spoke1": cloud.Network(0), "spoke2": cloud.Network(0)}},
	} {
		died := time.Now()
		check(t, dies.node.SetUp(cloud.Underlay, false))
		for node, prefix := range dies.routes {
			forgets(t, c, node, prefix)
		}
		// Without BFD it is 20 s at least, of a hold time of 30 s with a keepalive each 10, or 15 s, of a dead
		// interval of 20 s with a hello each 5.
		took := time.Since(died)
		t.Logf("%s: seen after %v", dies.node.Name, took)
		if took > 12*time.Second {
			t.Errorf("the death of %s was seen after %v", dies.node.Name, took)
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
