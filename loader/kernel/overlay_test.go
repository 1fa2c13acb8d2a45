// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"dmvpn/loader/netnstest"
)

// TestTunnelsWithTablesOfTheirOwn: two with the same address and the same prefixes, whose
// routes, unreachable ones and look-ups know nothing of each other.
func TestTunnelsWithTablesOfTheirOwn(t *testing.T) {
	h := host(t)
	netnstest.Run(t, "sysctl -q -w net.ipv4.ip_forward=1") // what is not forwarded has no route
	red, blue := spec, spec
	red.Name, red.Table = "red", 101
	blue.Name, blue.Table = "blue", 102
	r, b := ensure(t, h, red), ensure(t, h, blue)
	inRed, inBlue := h.In(Table{ID: 101}), h.In(Table{ID: 102})
	if err := inRed.InstallRoute(lan, hub, r.Index); err != nil {
		t.Fatal(err)
	}
	if err := inBlue.InstallRoute(lan, spoke, b.Index); err != nil {
		t.Fatal(err)
	}
	if err := inRed.InstallRouteFirst(netip.MustParsePrefix("10.10.2.7/32"), spoke, r.Index); err != nil {
		t.Fatal(err)
	}
	if err := inBlue.InstallUnreachable(netip.MustParsePrefix("10.10.0.0/16")); err != nil {
		t.Fatal(err)
	}
	mirror, err := h.MirrorRoutes(Table{ID: 101}, Table{ID: 102})
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	for _, c := range []struct {
		name        string
		table       Table
		ip          string
		destination string
		want        string
	}{
		{"red's", Table{ID: 101}, "iif red", "10.10.2.1", "10.0.0.1 red"},
		{"red's own", Table{ID: 101}, "iif red", "10.10.2.7", "10.0.0.12 red"},
		{"bound to blue", Table{ID: 102}, "oif blue", "10.10.2.7", "10.0.0.12 blue"},
		{"blue's", Table{ID: 102}, "iif blue", "10.10.2.1", "10.0.0.12 blue"},
		{"unreachable in blue", Table{ID: 102}, "iif blue", "10.10.3.1", "none"},
		{"a member", Table{ID: 102}, "iif blue", "10.0.0.77", "10.0.0.77 blue"},
		{"unknown in red", Table{ID: 101}, "iif red", "10.10.3.1", "none"},
		{"in no tunnel", Table{}, "", "10.10.2.1", "none"},
	} {
		got := "none"
		route, ok := mirror.In(c.table).Lookup(netip.MustParseAddr(c.destination))
		if ok && !route.Unreachable {
			got = route.NextHop.String() + " " + h.DeviceName(route.IfIndex)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if c.want != "none" {
			from := "" // what is forwarded has a source
			if strings.HasPrefix(c.ip, "iif") {
				from = "from 10.0.0.99 "
			}
			said := netnstest.Run(t, "ip route get "+c.destination+" "+from+c.ip)
			if words := strings.Fields(c.want); !strings.Contains(said, "dev "+words[1]) || words[0] != c.destination && !strings.Contains(said, "via "+words[0]) {
				t.Errorf("%s: the kernel says %s", c.name, said)
			}
		}
	}
	if got := netnstest.Run(t, "ip route show"); got != "" {
		t.Errorf("in the main table: %s", got)
	}
	if own, err := h.OwnRoutes(r.Index); err != nil || len(own) != 2 {
		t.Errorf("red's routes: %v, %v", own, err)
	}
	if err := inRed.RemoveRoute(lan, r.Index); err != nil {
		t.Fatal(err)
	}
	if got := netnstest.Run(t, "ip route show table 102"); !strings.Contains(got, "10.10.2.0/24 via 10.0.0.12 dev blue proto 54") {
		t.Errorf("blue's after red's are gone: %s", got)
	}
}

func TestRulesOfATableFollowTheTunnel(t *testing.T) {
	h := host(t)
	netnstest.Run(t, "ip rule add iif dmvpn0 priority 900 lookup 77") // the operator's
	rules := func(family string) string { return netnstest.Run(t, "ip "+family+" rule show") }
	for _, c := range []struct {
		table int
		want  []string
	}{
		{101, []string{"1054:\tfrom all iif dmvpn0 lookup 101", "1054:\tfrom all oif dmvpn0 lookup 101"}},
		{101, []string{"1054:\tfrom all iif dmvpn0 lookup 101", "1054:\tfrom all oif dmvpn0 lookup 101"}},
		{102, []string{"1054:\tfrom all iif dmvpn0 lookup 102", "1054:\tfrom all oif dmvpn0 lookup 102"}},
		{0, nil},
		{103, []string{"1054:\tfrom all iif dmvpn0 lookup 103", "1054:\tfrom all oif dmvpn0 lookup 103"}},
	} {
		s := spec
		s.Table = c.table
		d := ensure(t, h, s)
		for _, family := range []string{"-4", "-6"} {
			got := rules(family)
			for _, want := range c.want {
				if !strings.Contains(got, strings.TrimSuffix(want, "")) {
					t.Errorf("table %d, ip %s: no %q in\n%s", c.table, family, want, got)
				}
			}
			if n := strings.Count(got, "1054:"); n != len(c.want) {
				t.Errorf("table %d, ip %s: %d rules in\n%s", c.table, family, n, got)
			}
		}
		for _, table := range []int{101, 102, 103} {
			want := 0
			if table == c.table {
				want = 1
			}
			if got := netnstest.Run(t, "ip route show table all 10.0.0.0/24"); strings.Count(got, fmt.Sprintf("table %d ", table)) != want {
				t.Errorf("table %d: want %d routes to the network in %d:\n%s", c.table, want, table, got)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.RemoveTunnel("dmvpn0"); err != nil {
		t.Fatal(err)
	}
	if got := rules("-4") + rules("-6"); strings.Contains(got, "1054:") || !strings.Contains(got, "lookup 77") {
		t.Errorf("after the tunnel's end:\n%s", got)
	}
}
