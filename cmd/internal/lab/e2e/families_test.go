// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// families are the versions of IP that a cloud is of.
type families struct {
	name   string
	inside []int
	over   func(node string) []int // nil: IPv4
}

// overIPv6 is an underlay without IPv4.
func overIPv6(string) []int { return []int{6} }

// allFamilies are the combinations in which the story is told.
var allFamilies = []families{
	{"IPv4 in IPv4", []int{4}, nil},
	{"IPv6 in IPv4", []int{6}, nil},
	{"IPv4 in IPv6", []int{4}, overIPv6},
	{"IPv6 in IPv6", []int{6}, overIPv6},
	{"both in IPv4", []int{4, 6}, nil},
	{"both in IPv6", []int{4, 6}, overIPv6},
}

// inFamilies runs a test in every combination, plain and encrypted, at once.
func inFamilies(t *testing.T, test func(t *testing.T, m mode, f families)) {
	t.Helper()
	t.Parallel()
	for _, f := range allFamilies {
		for _, m := range []mode{{}, {encrypted: true}} {
			t.Run(f.name+", "+m.String(), func(t *testing.T) {
				t.Parallel()
				test(t, m, f)
			})
		}
	}
}

// pinged is nil when a host's packets come to another's and back.
func pinged(from *lab.Node, version, n int) error {
	_, err := from.Ping(cloud.HostOf(version, n), 0, time.Second)
	return err
}

// TestTheStoryInEveryFamily: spokes register, and hear what the hub says to many; packets go by the hub, then
// directly both ways; nothing is lost meanwhile. What is not used ends at both ends, and a daemon that
// crashed takes all of it up again.
func TestTheStoryInEveryFamily(t *testing.T) { inFamilies(t, theStory) }

func theStory(t *testing.T, m mode, f families) {
	c := m.up(t, cloud.Options{Spokes: 2, Inside: f.inside, Over: f.over, Settings: func(_ string, s *cloud.Settings) {
		s.Tunnels[0].Idle, s.Tunnels[0].IdleBytes = 8*time.Second, 1<<20
	}})
	ctx := t.Context()
	hellos(t, c, f)
	streams := map[int]*lab.Stream{}
	for i, version := range f.inside {
		until(t, c, patience, func() error { return pinged(c.Hosts[0], version, 0) })
		s, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.HostOf(version, 2), uint16(4000+i)), 500, dataSize)
		check(t, err)
		streams[version] = s
	}
	for _, version := range f.inside {
		until(t, c, patience, func() error { return c.Direct(ctx, "spoke1", cloud.NetworkOf(version, 2)) })
		until(t, c, patience, func() error {
			if err := pinged(c.Hosts[1], version, 1); err != nil {
				return err
			}
			return c.Direct(ctx, "spoke2", cloud.NetworkOf(version, 1))
		})
		until(t, c, patience, func() error {
			path, err := c.Hosts[0].Trace(ctx, cloud.HostOf(version, 2))
			if err == nil && (len(path) != 3 || path[1].From != cloud.TunnelOf(version, 2)) {
				err = fmt.Errorf("path %v", path)
			}
			return err
		})
	}
	for _, version := range f.inside {
		if version == 6 { // what routing daemons talk by
			until(t, c, patience, func() error { return linkLocals(c) })
		}
	}
	notByTheHub(t, c, m.isData)
	shown(t, c, f)
	for version, s := range streams {
		spotless(t, fmt.Sprintf("IPv%d while the way changed", version), s.Stop())
	}

	check(t, c.Kill(ctx, "spoke1"))
	check(t, c.Start("spoke1"))
	check(t, c.Ready(ctx, "spoke1"))
	for _, version := range f.inside {
		until(t, c, patience, func() error { return pinged(c.Hosts[0], version, 2) })
		for node, n := range map[string]int{"spoke1": 2, "spoke2": 1} {
			until(t, c, 2*patience, func() error { return c.Indirect(ctx, node, cloud.NetworkOf(version, n)) })
		}
		until(t, c, patience, func() error { return pinged(c.Hosts[0], version, 2) })
	}
}

// hellos waits until both spokes have heard the hub, and the hub spoke1, by a group of each family.
func hellos(t *testing.T, c *cloud.Cloud, f families) {
	t.Helper()
	for _, version := range f.inside {
		group := map[int]netip.AddrPort{4: netip.MustParseAddrPort("224.0.0.5:4010"), 6: netip.MustParseAddrPort("[ff02::5]:4011")}[version]
		for _, say := range []struct {
			from *lab.Node
			to   []*lab.Node
		}{{c.Hub, c.Spokes}, {c.Spokes[0], []*lab.Node{c.Hub}}} {
			var ears []*lab.Listener
			for _, n := range say.to {
				l, err := n.Listen(cloud.Device, group)
				check(t, err)
				ears = append(ears, l)
			}
			text := "of " + say.from.Name
			until(t, c, patience, func() error {
				check(t, say.from.Tell(cloud.Device, group, text, 1))
				for i, l := range ears {
					if l.Came(text) == 0 {
						return fmt.Errorf("%s has not heard %v %s", say.to[i].Name, group, text)
					}
				}
				return nil
			})
			for _, l := range ears {
				l.Close()
			}
		}
	}
}

// linkLocals is nil when spoke1 reaches hub and spoke2 by their link-local addresses.
func linkLocals(c *cloud.Cloud) error {
	for _, a := range []string{"fe80::1", "fe80::12"} {
		if _, err := c.Spokes[0].Run(context.Background(), "ping", "-c", "1", "-W", "1", a+"%"+cloud.Device); err != nil {
			return err
		}
	}
	return nil
}

// shown checks that the commands show what there is of each family.
func shown(t *testing.T, c *cloud.Cloud, f families) {
	t.Helper()
	for _, x := range []struct {
		node, command string
		words         func(version int) []string
	}{
		{"hub", "nhrp", func(v int) []string { return []string{cloud.TunnelOf(v, 1).String(), cloud.NetworkOf(v, 2).String()} }},
		{"hub", "peers", func(v int) []string { return []string{cloud.TunnelOf(v, 1).String()} }},
		{"spoke1", "shortcuts", func(v int) []string {
			return []string{cloud.NetworkOf(v, 2).String(), cloud.TunnelOf(v, 2).String()}
		}},
		{"hub", "show dmvpn", func(v int) []string {
			return []string{cloud.TunnelOf(v, 2).String()}
		}},
		{"spoke1", "nhs", func(v int) []string { return []string{cloud.TunnelOf(v, 0).String()} }},
		{"spoke1", "", func(v int) []string { return []string{cloud.TunnelOf(v, 1).String()} }},
	} {
		for _, args := range [][]string{strings.Fields(x.command), strings.Fields(x.command + " -j")} {
			out, err := c.Dmvpn(t.Context(), x.node, args...)
			check(t, err)
			for _, version := range f.inside {
				for _, word := range x.words(version) {
					if !strings.Contains(out, word) {
						t.Errorf("%s: dmvpn %s does not show %s:\n%s", x.node, strings.Join(args, " "), word, out)
					}
				}
			}
		}
	}
}

// TestANarrowPathInEveryFamily: a router between spoke and hub takes fewer octets than the
// tunnel expects. The hosts hear of it, and their TCP goes on.
func TestANarrowPathInEveryFamily(t *testing.T) { inFamilies(t, aNarrowPath) }

func aNarrowPath(t *testing.T, m mode, f families) {
	const path = 1390
	no := false
	c := m.build(t, cloud.Options{Spokes: 1, Inside: f.inside, Over: f.over, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].MSSClamp = &no }})
	ctx := t.Context()
	for n, node := range []string{"hub", "spoke1"} {
		command := fmt.Sprintf("ip route replace %v dev %s proto kernel scope link src %s mtu %d",
			netip.PrefixFrom(cloud.NBMAOf(4, n), 24).Masked(), node, cloud.InternetOf(cloud.NBMAOf(4, n)), path)
		if f.over != nil {
			command = fmt.Sprintf("ip route replace %v dev %s proto kernel metric 256 mtu lock %d", netip.PrefixFrom(cloud.NBMAOf(6, n), 64).Masked(), node, path)
		}
		_, err := c.Internet.Run(ctx, "sh", "-ec", command)
		check(t, err)
	}
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	for _, version := range f.inside {
		until(t, c, patience, func() error { return pinged(c.Hosts[0], version, 0) })
		talk, err := c.Hosts[0].Talk(c.HubHost, netip.AddrPortFrom(cloud.HostOf(version, 0), 4001))
		check(t, err)
		until(t, c, patience, func() error {
			if talk.Blocks() < 20 {
				return fmt.Errorf("IPv%d: %d blocks", version, talk.Blocks())
			}
			return nil
		})
		if report := talk.Stop(); report.Err != nil {
			t.Errorf("IPv%d: %v", version, report.Err)
		}
		route, err := c.Hosts[0].Run(ctx, "ip", "route", "get", cloud.HostOf(version, 0).String())
		check(t, err)
		mtu := 0
		if _, after, ok := strings.Cut(route, " mtu "); ok {
			_, err = fmt.Sscan(after, &mtu)
			check(t, err)
		}
		if mtu == 0 || mtu >= path || mtu < 1280 {
			t.Errorf("host1 was not told of the path: %s", route)
		}
	}
}
