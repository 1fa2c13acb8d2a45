// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/routing"
)

// example is a file of docs/examples/routing as site n is to have it; 0 is the hub.
func example(t *testing.T, name string, n int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tree, "docs/examples/routing", name))
	check(t, err)
	if n <= 1 {
		return string(text)
	}
	return strings.NewReplacer("10.0.0.11", cloud.TunnelAddress(n).String(), "10.1.0.11", fmt.Sprint("10.1.0.1", n), "10.10.1.", fmt.Sprintf("10.10.%d.", n),
		"fd00::11", cloud.TunnelOf(6, n).String(), "fe80::11", fmt.Sprintf("fe80::1%x", n), "fd10:0:1:", fmt.Sprintf("fd10:0:%x:", n), "spoke1", fmt.Sprint("spoke", n)).Replace(string(text))
}

var (
	onlyEncrypted = regexp.MustCompile(`(?m)^(\[(tunnel\.dmvpn0\.)?ipsec\]\n(\S.*\n)+\n?|guard = .*\n)`)
	tunnelTable   = regexp.MustCompile(`(?m)^\[tunnel\.\w+\]\n`)
)

// TestEveryExampleIsRun: no file lies in docs/examples/routing that no test runs, or that the
// page about routing daemons does not name.
func TestEveryExampleIsRun(t *testing.T) {
	examples, err := filepath.Glob(filepath.Join(tree, "docs/examples/routing/*"))
	check(t, err)
	tests, err := filepath.Glob("*_test.go")
	check(t, err)
	var code []byte
	for _, file := range tests {
		text, err := os.ReadFile(file)
		check(t, err)
		code = append(code, text...)
	}
	page, err := os.ReadFile(filepath.Join(tree, "docs/routing.md"))
	check(t, err)
	if len(examples) < 10 {
		t.Errorf("only %d examples", len(examples))
	}
	for _, file := range examples {
		name := filepath.Base(file)
		if !strings.Contains(string(code), `"`+name+`"`) {
			t.Errorf("%s is run by no test", name)
		}
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/routing.md does not name %s", name)
		}
	}
}

// carried is a cloud with the configuration of docs/examples/routing, its spokes registered:
// a routing daemon is to carry the prefixes.
func carried(t *testing.T, m mode, spokes int, hub string) *cloud.Cloud {
	t.Helper()
	return carriedIn(t, m, 4, spokes, hub, "spoke.toml")
}

// carriedIn is carried by a version of IP.
func carriedIn(t *testing.T, m mode, version, spokes int, hub, spoke string) *cloud.Cloud {
	t.Helper()
	return carriedAs(t, m, []int{version}, spokes, examples(t, hub, spoke))
}

// examples gives each node's file: that of the hub, which is 0, and that of the spokes.
func examples(t *testing.T, hub, spoke string) func(n int) string {
	return func(n int) string {
		t.Helper()
		if n == 0 {
			return example(t, hub, 0)
		}
		return example(t, spoke, n)
	}
}

// carriedAs is carried by versions of IP, with each node's dmvpnd.toml.
func carriedAs(t *testing.T, m mode, inside []int, spokes int, text func(n int) string) *cloud.Cloud {
	t.Helper()
	c := m.build(t, cloud.Options{Spokes: spokes, Inside: inside, Settings: func(node string, s *cloud.Settings) {
		n := 0
		_, _ = fmt.Sscanf(node, "spoke%d", &n)
		s.Text = m.adapted(text(n), s)
	}})
	check(t, c.StartAll(t.Context()))
	for _, s := range c.Spokes {
		until(t, c, patience, func() error { return c.Registered(t.Context(), s.Name) })
	}
	return c
}

// adapted is an example as a mode has it.
func (m mode) adapted(text string, s *cloud.Settings) string {
	if m.encrypted {
		text = strings.ReplaceAll(text, "/etc/dmvpn/psk", s.Tunnels[0].IPsec.PSKFile)
	} else {
		text = tunnelTable.ReplaceAllString(onlyEncrypted.ReplaceAllString(text, ""), "${0}protection = \"none\"\n")
	}
	return "[daemon]\nlog-level = \"debug\"\n\n" + text
}

// suite is FRR on every node of a cloud, the hub's first.
type suite []*routing.FRR

// frr starts FRR on hub and spokes with the examples HUB and SPOKE.
func frr(t *testing.T, c *cloud.Cloud, hub, spoke string, daemons ...string) suite {
	t.Helper()
	return frrAs(t, c, examples(t, hub, spoke), daemons...)
}

// frrAs starts FRR on hub and spokes with each node's frr.conf.
func frrAs(t *testing.T, c *cloud.Cloud, text func(n int) string, daemons ...string) suite {
	t.Helper()
	nodes := append([]*lab.Node{c.Hub}, c.Spokes...)
	all, errs := make(suite, len(nodes)), make([]error, len(nodes))
	var starting sync.WaitGroup
	for n, node := range nodes {
		config := text(n)
		starting.Go(func() { all[n], errs[n] = routing.StartFRR(t.Context(), node, config, daemons...) })
	}
	starting.Wait()
	check(t, errors.Join(errs...))
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for n, f := range all {
			for _, what := range append(daemons, "zebra") {
				log := f.Daemon(what).Output()
				t.Logf("%s of node %d ends:\n%s", what, n, log[max(0, len(log)-3000):])
			}
		}
	})
	return all
}

// typed is what vtysh prints; the test ends if it cannot.
func (s suite) typed(t *testing.T, n int, commands ...string) string {
	t.Helper()
	out, err := s[n].Vtysh(t.Context(), commands...)
	check(t, err)
	return out
}

// learnt gives the next hop of the route that a routing daemon installed for a prefix.
func learnt(c *cloud.Cloud, node string, prefix netip.Prefix) (netip.Addr, error) {
	family := netlink.FAMILY_V4
	if prefix.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := c.Get(node).Net.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.String() != prefix.String() || r.Protocol == cloud.RouteProtocol || r.Protocol == unix.RTPROT_KERNEL {
			continue
		}
		hop, _ := netip.AddrFromSlice(r.Gw)
		return hop.Unmap(), nil
	}
	return netip.Addr{}, fmt.Errorf("%s: no routing daemon's route to %v", node, prefix)
}

// learns waits until a node has a routing daemon's route to a prefix by a next hop.
func learns(t *testing.T, c *cloud.Cloud, node string, prefix netip.Prefix, by netip.Addr) {
	t.Helper()
	until(t, c, 3*patience, func() error {
		hop, err := learnt(c, node, prefix)
		if err == nil && hop != by {
			err = fmt.Errorf("%s: %v by %v, expected %v", node, prefix, hop, by)
		}
		return err
	})
}

// forgets waits until a node has none.
func forgets(t *testing.T, c *cloud.Cloud, node string, prefix netip.Prefix) {
	t.Helper()
	until(t, c, 3*patience, func() error {
		if hop, err := learnt(c, node, prefix); err == nil {
			return fmt.Errorf("%s: %v is still there by %v", node, prefix, hop)
		}
		return nil
	})
}

// short waits until host a's packets to host b go from spoke to spoke; where they go by is seen
// on the way, whatever routes do it.
func short(t *testing.T, c *cloud.Cloud, a, b int) {
	t.Helper()
	shortIn(t, c, 4, a, b)
}

// shortIn is short by a version of IP.
func shortIn(t *testing.T, c *cloud.Cloud, version, a, b int) {
	t.Helper()
	until(t, c, 2*patience, func() error {
		path, err := c.Hosts[a-1].Trace(t.Context(), cloud.HostOf(version, b))
		if err == nil && (len(path) != 3 || path[1].From != cloud.TunnelOf(version, b)) {
			err = fmt.Errorf("from site %d to %d: %v", a, b, path)
		}
		return err
	})
}

// shortly is how long an answer may take that is not expected.
const shortly = 200 * time.Millisecond

// direct waits until spoke a's own packets to spoke b's tunnel address take no other way.
func direct(t *testing.T, c *cloud.Cloud, a, b int) {
	t.Helper()
	until(t, c, 2*patience, func() error {
		path, err := c.Spokes[a-1].Trace(t.Context(), cloud.TunnelAddress(b))
		if err == nil && len(path) != 1 {
			err = fmt.Errorf("from spoke%d to spoke%d: %v", a, b, path)
		}
		return err
	})
}

// hasShortcut says whether a node has a shortcut to a prefix.
func hasShortcut(t *testing.T, c *cloud.Cloud, node string, prefix netip.Prefix) bool {
	t.Helper()
	list, err := c.Shortcuts(t.Context(), node)
	check(t, err)
	for _, s := range list {
		if s.Prefix == prefix {
			return true
		}
	}
	return false
}

// loses waits until a node has no shortcut to a prefix.
func loses(t *testing.T, c *cloud.Cloud, node string, prefix netip.Prefix) {
	t.Helper()
	until(t, c, patience, func() error { return c.Indirect(t.Context(), node, prefix) })
}

// settled checks that a shortcut stays: what a routing daemon makes of our route does not end it.
func settled(t *testing.T, c *cloud.Cloud, node string, prefix netip.Prefix) {
	t.Helper()
	said := func() int { return strings.Count(c.Daemon(node).Output(), "shortcut to "+prefix.String()+" by") }
	before := said()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if !hasShortcut(t, c, node, prefix) || said() != before {
			t.Fatalf("%s: the shortcut to %v does not stay:\n%s", node, prefix, c.Log(node, 30))
		}
	}
}
