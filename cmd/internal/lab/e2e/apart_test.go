// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestTwoCloudsInTables: two customers with the same addresses and networks, of IPv4 and IPv6, on one
// underlay address. Nothing of the one comes to the other, whatever the daemons do, nor
// does this machine's own kernel answer the wrong one.
func TestTwoCloudsInTables(t *testing.T) {
	modes(t, func(t *testing.T, m mode) { m.twoClouds(t, byTables) })
}

func (m mode) twoClouds(t *testing.T, by separation) {
	x := m.apart(t, by)
	x.strangers()
	check(t, x.StartAll(t.Context()))
	for _, u := range []*customer{x.red, x.blue} {
		until(t, x.Cloud, patience, func() error { return x.registered(u) })
	}
	red := x.shorter(x.red)
	if x.direct(x.blue) == nil {
		t.Error("blue has a shortcut that only red has asked for")
	}
	blue := x.shorter(x.blue)
	for _, u := range []*customer{x.red, x.blue} {
		x.answers(u)
	}
	x.onlyApart()
	x.hubCrashes(m, slices.Concat(red, blue))
	x.redIsIdle(m, red, blue)
	x.redEnds(m)
}

// shorter sends from host 1 to host 2 until the shortcut stands, and goes on.
func (x *customers) shorter(u *customer) (flows []returnFlow) {
	x.t.Helper()
	for _, version := range versions {
		until(x.t, x.Cloud, patience, func() error { _, err := u.hosts[1].Ping(cloud.HostOf(version, 0), 0, time.Second); return err })
		flows = append(flows, x.stream(u, version, 1, 2))
	}
	until(x.t, x.Cloud, patience, func() error { return x.direct(u) })
	return flows
}

// answers tries what the kernels of the sites say themselves: each hop of a way, the addresses
// in the LANs, that a packet is too big, and the link-local ones in the tunnel.
func (x *customers) answers(u *customer) {
	x.t.Helper()
	for _, v := range versions {
		leads(x.t, x.Cloud, u.hosts[1], cloud.HostOf(v, 2), cloud.GatewayOf(v, 1), cloud.TunnelOf(v, 2), cloud.HostOf(v, 2))
		until(x.t, x.Cloud, patience, func() error { _, err := u.hosts[2].Ping(cloud.GatewayOf(v, 1), 0, time.Second); return err })
		until(x.t, x.Cloud, patience, func() error {
			_, err := u.hosts[1].Run(x.t.Context(), "ping", "-n", "-M", "do", "-s", "1420", "-c", "1", "-W", "1", cloud.HostOf(v, 2).String())
			if err == nil {
				return fmt.Errorf("a packet of IPv%d that is larger than the tunnel's MTU came through", v)
			}
			if !strings.Contains(err.Error(), "mtu") {
				return fmt.Errorf("%s was not told of the MTU: %w", u.hosts[1].Name, err)
			}
			return nil
		})
		until(x.t, x.Cloud, patience, func() error {
			_, err := x.sites[1].Run(x.t.Context(), "ping", "-n", "-I", u.bound, "-c", "1", "-W", "1", cloud.TunnelOf(v, 2).String())
			return err
		})
	}
	for _, a := range []string{"fe80::1", "fe80::12"} {
		until(x.t, x.Cloud, patience, func() error {
			_, err := x.sites[1].Run(x.t.Context(), "ping", "-n", "-c", "1", "-W", "1", a+"%"+u.tunnel)
			return err
		})
	}
}

// arrive waits until packets of every flow come.
func (x *customers) arrive(flows []returnFlow) {
	x.t.Helper()
	r := returning{Cloud: x.Cloud, t: x.t, flows: flows}
	r.all(patience)
}

// hubCrashes kills the hub's daemon under traffic by it and by the shortcuts.
func (x *customers) hubCrashes(m mode, direct []returnFlow) {
	x.t.Helper()
	var byHub []returnFlow
	for _, u := range []*customer{x.red, x.blue} {
		for _, version := range versions {
			byHub = append(byHub, x.stream(u, version, 2, 0), x.stream(u, version, 0, 1))
		}
	}
	x.arrive(append(byHub, direct...))
	check(x.t, x.Kill(x.t.Context(), "hub"))
	x.arrive(direct)
	x.arrive(direct)
	check(x.t, x.Start("hub"))
	check(x.t, x.Ready(x.t.Context(), "hub"))
	x.arrive(append(byHub, direct...))
	for _, u := range []*customer{x.red, x.blue} {
		until(x.t, x.Cloud, patience, func() error { return x.registered(u) })
	}
	x.end(byHub, "by way of the hub, whose daemon died", !m.encrypted)
}

// end stops flows, which have lost nothing where they must not, and brought nothing twice.
func (x *customers) end(flows []returnFlow, what string, lossless bool) {
	x.t.Helper()
	settle := patience // an emulated machine takes its time
	if !lossless {
		settle = 0
	}
	var wait sync.WaitGroup
	for _, f := range flows {
		wait.Go(func() {
			r := f.StopWithin(settle)
			x.t.Logf("from %s to %s, %s: %v", f.ends[0], f.ends[1], what, r)
			if r.Duplicated > 0 || lossless && r.Lost() > 0 {
				x.t.Errorf("from %s to %s, %s: %v", f.ends[0], f.ends[1], what, r)
			}
		})
	}
	wait.Wait()
}

// onlyApart checks that no route of the tunnels is in the main table.
func (x *customers) onlyApart() {
	x.t.Helper()
	for _, site := range x.sites {
		for _, version := range versions {
			out, err := x.ip(site.Name, version, "route show")
			check(x.t, err)
			for line := range strings.Lines(out) {
				if (strings.Contains(line, x.red.tunnel) || strings.Contains(line, x.blue.tunnel)) && !strings.HasPrefix(line, "fe80::/64") {
					x.t.Errorf("%s: in the main table: %s", site.Name, line)
				}
			}
		}
	}
}

// redIsIdle ends red's streams and then its shortcuts, but not blue's. In clear none of the packets
// of all that time was lost; encrypted, those that a busy machine sends by the hub for a moment
// find no daemon there.
func (x *customers) redIsIdle(m mode, red, blue []returnFlow) {
	x.t.Helper()
	const what = "directly, while the hub's daemon died"
	x.end(red, what, !m.encrypted)
	until(x.t, x.Cloud, 2*patience, func() error {
		for _, version := range versions {
			if err := x.routed("spoke1", x.red, version, 2); err == nil {
				return fmt.Errorf("red's shortcut to %v stands", cloud.NetworkOf(version, 2))
			}
		}
		return nil
	})
	check(x.t, x.direct(x.blue))
	x.end(blue, what, !m.encrypted)
}

// redEnds takes red out of spoke1's file, then all of spoke1 down.
func (x *customers) redEnds(m mode) {
	x.t.Helper()
	ctx := x.t.Context()
	var others, ours []returnFlow
	for _, version := range versions {
		others = append(others, x.stream(x.blue, version, 2, 0), x.stream(x.red, version, 2, 0))
		ours = append(ours, x.stream(x.blue, version, 1, 2), x.stream(x.blue, version, 0, 1))
	}
	x.arrive(append(others, ours...))
	s := x.Settings("spoke1")
	red, blue := strings.Index(s.Text, "[tunnel.red0]"), strings.Index(s.Text, "[tunnel.blue0]")
	s.Text = s.Text[:red] + s.Text[blue:]
	check(x.t, x.Stop(ctx, "spoke1"))
	check(x.t, x.Start("spoke1"))
	check(x.t, x.Ready(ctx, "spoke1"))
	x.arrive(append(others, ours...))
	x.end(others, "while red ended elsewhere", true)
	x.end(ours, "while red ended", !m.encrypted)
	x.lacks("spoke1", x.red.tunnel)
	if out, err := x.Dmvpn(ctx, "spoke1"); err != nil || strings.Contains(out, x.red.tunnel) {
		x.t.Errorf("dmvpn shows %s: %v", out, err)
	}
	for _, version := range versions {
		for range 3 {
			if _, err := x.red.hosts[1].Ping(cloud.HostOf(version, 2), 0, 50*time.Millisecond); err == nil {
				x.t.Errorf("a packet of red, IPv%d, came through without its tunnel", version)
			}
		}
		until(x.t, x.Cloud, patience, func() error { _, err := x.red.hosts[0].Ping(cloud.HostOf(version, 2), 0, time.Second); return err })
	}
	_, err := x.Dmvpn(ctx, "spoke1", "teardown", "--release")
	check(x.t, err)
	for _, word := range []string{x.red.tunnel, x.blue.tunnel, "proto 54"} {
		x.lacks("spoke1", word)
	}
	for _, u := range []*customer{x.red, x.blue} {
		until(x.t, x.Cloud, patience, func() error { _, err := u.hosts[0].Ping(cloud.HostOf(4, 2), 0, time.Second); return err })
	}
}

// lacks checks that no device, route or rule of a node has the word.
func (x *customers) lacks(node, word string) {
	x.t.Helper()
	for _, version := range versions {
		for _, what := range []string{"link show", "route show table all", "rule show"} {
			out, err := x.ip(node, version, "%s", what)
			check(x.t, err)
			for line := range strings.Lines(out) {
				if strings.Contains(line, word) {
					x.t.Errorf("%s: ip -%d %s has %s", node, version, what, line)
				}
			}
		}
	}
}
