// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Answers by a summary, and members that ask for nothing.
func TestCasesOfSummariesAndServerOnly(t *testing.T) {
	// S2's site is 10.20.0.0/16, of which two links are its own.
	const site = "10.20.0.0/16"
	links := []nhrptest.Route{
		{Prefix: prefix("10.20.1.0/24")}, {Prefix: prefix("10.20.2.0/24")},
	}
	summarized := func(t *testing.T, change func(c *engine.Config), routes ...nhrptest.Route) *nhrptest.Cloud {
		c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) {
			s1.NHS[0].Routes = append(s1.NHS[0].Routes, prefix("10.20.0.0/15"))
			s2.Networks = append(s2.Networks, prefix(site))
			s2.Summaries = []netip.Prefix{prefix(site)}
			change(s2)
		})
		c.S2.SetKernel(append(append(c.S2.Kernel, links...), routes...))
		c.Run(2 * time.Second)
		return c
	}
	asIs := func(*engine.Config) {}
	ask := func(c *nhrptest.Cloud, to string) {
		for range 5 {
			c.S1.Send("10.10.1.5", to, 1400)
			c.Run(500 * time.Millisecond)
		}
	}
	has := func(t *testing.T, c *nhrptest.Cloud, when string, list ...string) {
		t.Helper()
		var got []string
		for _, s := range c.S1.Machine.Snapshot(c.Now).Shortcuts {
			got = append(got, s.Prefix.String())
		}
		want(t, when, fmt.Sprint(got), fmt.Sprint(list))
	}
	rows(t, []row{
		{"SM-01: one answer is for all of the site", func(t *testing.T) {
			c := summarized(t, asIs)
			ask(c, "10.20.1.5")
			has(t, c, "S1 after one destination", site)
			n := len(c.Traced("S1   sends Resolution Request"))
			ask(c, "10.20.2.5")
			has(t, c, "S1 after another", site)
			want(t, "requests for another", len(c.Traced("S1   sends Resolution Request"))-n, 0)
			c = summarized(t, asIs, nhrptest.Route{Prefix: prefix("0.0.0.0/0")})
			ask(c, "10.20.77.5") // by the default route, as the network says
			has(t, c, "S1 after a destination without a route of its own", site)
			c = summarized(t, func(c *engine.Config) { c.Summaries = nil })
			ask(c, "10.20.1.5")
			has(t, c, "S1 without a summary", "10.20.1.0/24")
		}},
		{"SM-02: not while a part of it is reached by the tunnel, whatever hides the route", func(t *testing.T) {
			for name, routes := range map[string][]nhrptest.Route{
				"a network":                            {{Prefix: prefix("10.20.7.0/24"), NextHop: addr(hubProtocol), Tunnel: true}},
				"a host":                               {{Prefix: prefix("10.20.255.255/32"), NextHop: addr(hubProtocol), Tunnel: true}},
				"one that begins where a link of ours": {{Prefix: prefix("10.20.0.0/22"), NextHop: addr(hubProtocol), Tunnel: true}, {Prefix: prefix("10.20.0.0/24")}},
			} {
				c := summarized(t, asIs, routes...)
				ask(c, "10.20.1.5")
				has(t, c, name, "10.20.1.0/24")
			}
			c := summarized(t, asIs, nhrptest.Route{Prefix: prefix("10.20.0.0/23"), NextHop: addr(hubProtocol), Tunnel: true}, nhrptest.Route{Prefix: prefix("10.20.0.0/24")})
			ask(c, "10.20.1.5")
			has(t, c, "one of which links of ours take all", site)
		}},
		{"SM-03: who was answered is told when a part goes elsewhere, and asks again", func(t *testing.T) {
			c := summarized(t, asIs)
			ask(c, "10.20.1.5")
			has(t, c, "at first", site)
			c.S2.SetKernel(append(c.S2.Kernel, nhrptest.Route{Prefix: prefix("10.20.7.0/24"), NextHop: addr(hubProtocol), Tunnel: true}))
			c.Run(time.Second)
			has(t, c, "told")
			c.Run(15 * time.Second)
			ask(c, "10.20.1.5")
			has(t, c, "asked again", "10.20.1.0/24")
		}},
		{"SM-04: not what a server has refused, and not what is in no network", func(t *testing.T) {
			c := summarized(t, func(c *engine.Config) { c.Networks = c.Networks[:1] })
			ask(c, "10.20.1.5")
			for _, s := range c.S1.Machine.Snapshot(c.Now).Shortcuts {
				want(t, "in no network", s.Prefix == prefix(site), false)
			}
			c = nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) {
				hub.Networks = append(hub.Networks, prefix("10.20.0.0/15")) // the hub's own
				s1.NHS[0].Routes = append(s1.NHS[0].Routes, prefix("10.20.0.0/15"))
				s2.Networks = append(s2.Networks, prefix(site))
				s2.Summaries = []netip.Prefix{prefix(site)}
			})
			c.S2.SetKernel(append(c.S2.Kernel, links...))
			c.H.SetKernel(append(c.H.Kernel, nhrptest.Route{Prefix: prefix("10.20.1.0/24"), NextHop: addr(s2Protocol), Tunnel: true}))
			c.Run(2 * time.Second)
			refused := c.S2.Machine.Snapshot(c.Now).Servers[0].Refused
			want(t, "refused", fmt.Sprint(refused), fmt.Sprint([]string{site}))
			ask(c, "10.20.1.5")
			has(t, c, "S1", "10.20.1.0/24")
		}},
		{"SM-05: not what another member has registered a part of, nor where the underlay is", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) {
				c.Networks = append(c.Networks, prefix(site), prefix("192.0.0.0/16"))
				c.Summaries = []netip.Prefix{prefix(site), prefix("192.0.0.0/16")}
			})
			b.n.SetKernel(append(b.n.Kernel, append(links, nhrptest.Route{Prefix: prefix("192.0.9.0/24")})...))
			answered := func(when, destination, expected string) {
				t.Helper()
				x := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, destination))
				if want(t, when+": type", x.p.Type, wire.ResolutionReply); len(x.p.CIEs) == 1 {
					want(t, when, x.p.CIEs[0].Prefix(addr(destination)), prefix(expected))
				}
			}
			answered("at first", "10.20.1.5", site)
			answered("on the underlay", "192.0.9.5", "192.0.9.0/24")
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.20.8.0/24"), NextHop: addr(s2Protocol), Tunnel: true}))
			answered("a client's", "10.20.1.5", "10.20.1.0/24")
		}},
		{"SO-01: who serves only asks for nothing, is reached directly, and forgets the shortcuts that it had", func(t *testing.T) {
			c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), nil)
			c.Run(2 * time.Second)
			c.Stream(3*time.Second, 100*time.Millisecond, 1400)
			want(t, "shortcuts before", len(c.S1.Machine.Snapshot(c.Now).Shortcuts), 1)
			state := c.S1.Kill()
			c.S1.Config.Shortcut = false
			c.S1.Start(state)
			c.Run(time.Second)
			want(t, "shortcuts after", len(c.S1.Machine.Snapshot(c.Now).Shortcuts), 0)
			n := len(c.Traced("S1   sends Resolution Request"))
			want(t, "lost", len(c.Stream(30*time.Second, 100*time.Millisecond, 1400)), 0)
			paths(t, c, "S1 H S2", "S2 S1")
			want(t, "requests", len(c.Traced("S1   sends Resolution Request"))-n, 0)
		}},
	})
}
