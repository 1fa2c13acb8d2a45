// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
	"dmvpn/nhrpd/engine"
)

func TestHalves(t *testing.T) {
	for p, want := range map[string]string{
		"10.10.2.0/24": "10.10.2.0/25 10.10.2.128/25", "0.0.0.0/0": "0.0.0.0/1 128.0.0.0/1",
		"10.10.2.6/31": "10.10.2.6/32 10.10.2.7/32", "2001:db8::/32": "2001:db8::/33 2001:db8:8000::/33",
	} {
		h := halves(netip.MustParsePrefix(p))
		if got := h[0].String() + " " + h[1].String(); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}

// TestOurRoutesStandBesideZebras: where FRR has a route of a prefix, ours are of others, win
// all the same, and go without a trace.
func TestOurRoutesStandBesideZebras(t *testing.T) {
	h, d := tunnelAlone(t)
	mirror := mirrorOf(t, h)
	const bgp = "proto 186 metric 20"
	for _, c := range []struct {
		name   string
		zebras []string // prefixes
		ours   []string // prefix, next hop
		want   []string // as listed
	}{
		{"no route of FRR's", nil, []string{"10.10.2.0/24 10.0.0.12"}, []string{"10.10.2.0/24 10.0.0.12"}},
		{"the same prefix", []string{"10.10.2.0/24"}, []string{"10.10.2.0/24 10.0.0.12"}, []string{"10.10.2.0/25 10.0.0.12", "10.10.2.128/25 10.0.0.12"}},
		{"a wider prefix", []string{"10.10.0.0/16"}, []string{"10.10.2.0/24 10.0.0.12"}, []string{"10.10.2.0/25 10.0.0.12", "10.10.2.128/25 10.0.0.12"}},
		{"another next hop", []string{"10.10.2.0/24"}, []string{"10.10.2.0/24 10.0.0.13", "10.10.2.0/24 10.0.0.12"}, []string{"10.10.2.0/25 10.0.0.12", "10.10.2.128/25 10.0.0.12"}},
		{"a half is one of ours too", []string{"10.10.2.0/24"}, []string{"10.10.2.0/25 10.0.0.13", "10.10.2.0/24 10.0.0.12"}, []string{"10.10.2.0/26 10.0.0.13", "10.10.2.0/25 10.0.0.12", "10.10.2.64/26 10.0.0.13", "10.10.2.128/25 10.0.0.12"}},
		{"a half is FRR's too", []string{"10.10.2.0/24", "10.10.2.0/25"}, []string{"10.10.2.0/24 10.0.0.12"}, []string{"10.10.2.128/25 10.0.0.12"}},
		{"a host", []string{"10.0.0.12/32"}, []string{"10.0.0.12/32 10.0.0.12"}, []string{"10.0.0.12/32 10.0.0.12"}},
		{"the default route", []string{"0.0.0.0/0"}, []string{"0.0.0.0/0 10.0.0.1"}, []string{"0.0.0.0/1 10.0.0.1", "128.0.0.0/1 10.0.0.1"}},
	} {
		for _, p := range c.zebras {
			netnstest.Run(t, "ip route add "+p+" via 10.0.0.1 dev dmvpn0 "+bgp)
			netnstest.Eventually(t, "the mirror has it", func() bool { return mirror.Zebra(netip.MustParsePrefix(p)) })
		}
		r := &router{host: h, mirror: mirror, tunnel: d.Index, under: func(netip.Prefix, engine.Endpoint) error { return nil }, beside: newBeside(h, mirror.Zebra, func() bool { return mirror.ZebraBy(d.Index) })}
		asked := map[netip.Prefix]netip.Addr{}
		for _, o := range c.ours {
			p, hop, _ := strings.Cut(o, " ")
			asked[netip.MustParsePrefix(p)] = netip.MustParseAddr(hop)
			if err := r.Install(netip.MustParsePrefix(p), netip.MustParseAddr(hop), engine.Endpoint{}); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		routes, err := h.OwnRoutes(d.Index)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range routes {
			got = append(got, o.Prefix.String()+" "+o.NextHop.String())
		}
		if strings.Join(got, ", ") != strings.Join(c.want, ", ") {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		installed, err := r.Installed()
		if err != nil {
			t.Fatal(err)
		}
		for p, hop := range asked {
			if installed[p] != hop {
				t.Errorf("%s: %v by %v is missing in %v", c.name, p, hop, installed)
			}
			inside := p.Addr()
			if !p.IsSingleIP() {
				inside = halves(p)[1].Addr().Next()
			}
			if to := netnstest.Run(t, "ip route get "+inside.String()); !strings.Contains(to, "via "+hop.String()) {
				t.Errorf("%s: the kernel takes another one: %s", c.name, to)
			}
		}
		if len(installed) != len(asked) {
			t.Errorf("%s: installed %v, asked for %v", c.name, installed, asked)
		}
		for p := range asked {
			if err := r.Remove(p); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if left, err := h.OwnRoutes(d.Index); err != nil || len(left) > 0 {
			t.Errorf("%s: left over: %v, %v", c.name, left, err)
		}
		for _, p := range c.zebras {
			if out := netnstest.Run(t, "ip route show "+p+" proto 186"); !strings.Contains(out, "10.0.0.1") && p != "0.0.0.0/0" {
				t.Errorf("%s: FRR's route is gone", c.name)
			}
			netnstest.Run(t, "ip route del "+p+" via 10.0.0.1 dev dmvpn0 "+bgp)
			netnstest.Eventually(t, "the mirror has it no more", func() bool { return !mirror.Zebra(netip.MustParsePrefix(p)) })
		}
	}
}

// TestHalvesOfTheRunBeforeGoWithTheirPrefix: FRR's route, beside which they stood, is gone.
func TestHalvesOfTheRunBeforeGoWithTheirPrefix(t *testing.T) {
	h, d := tunnelAlone(t)
	p := netip.MustParsePrefix
	for _, c := range []struct {
		name         string
		left, asked  string // prefixes and next hops
		zebras       []netip.Prefix
		remove, want string
	}{
		{"removed", "10.10.2.0/25 10.0.0.12, 10.10.2.128/25 10.0.0.12", "", nil, "10.10.2.0/24", ""},
		{"by another next hop", "10.10.2.0/25 10.0.0.12, 10.10.2.128/25 10.0.0.12", "10.10.2.0/24 10.0.0.13", nil, "", "10.10.2.0/24 10.0.0.13"},
		{"FRR's is there again", "10.10.2.0/25 10.0.0.12, 10.10.2.128/25 10.0.0.12", "10.10.2.0/24 10.0.0.13", []netip.Prefix{p("10.10.2.0/24")}, "", "10.10.2.0/25 10.0.0.13, 10.10.2.128/25 10.0.0.13"},
		{"beside a half of FRR's", "10.10.2.128/25 10.0.0.12", "", []netip.Prefix{p("10.10.2.0/25")}, "10.10.2.0/24", ""},
		{"routes of their own", "10.10.2.0/25 10.0.0.12, 10.10.2.128/25 10.0.0.13", "10.10.2.0/24 10.0.0.14", nil, "", "10.10.2.0/25 10.0.0.12, 10.10.2.0/24 10.0.0.14, 10.10.2.128/25 10.0.0.13"},
		{"asked for already", "10.10.2.0/25 10.0.0.12, 10.10.2.128/25 10.0.0.12", "10.10.2.0/25 10.0.0.12, 10.10.2.0/24 10.0.0.14", nil, "", "10.10.2.0/25 10.0.0.12, 10.10.2.0/24 10.0.0.14, 10.10.2.128/25 10.0.0.12"},
	} {
		each := func(list string, do func(netip.Prefix, netip.Addr) error) {
			t.Helper()
			for route := range strings.SplitSeq(list, ", ") {
				if prefix, hop, ok := strings.Cut(route, " "); ok {
					if err := do(p(prefix), netip.MustParseAddr(hop)); err != nil {
						t.Fatalf("%s: %v", c.name, err)
					}
				}
			}
		}
		each(c.left, func(q netip.Prefix, hop netip.Addr) error { return h.InstallRoute(q, hop, d.Index) })
		b := newBeside(h, func(q netip.Prefix) bool { return slices.Contains(c.zebras, q) }, func() bool { return false })
		each(c.asked, func(q netip.Prefix, hop netip.Addr) error { return b.install(q, hop, d.Index) })
		if c.remove != "" {
			if err := b.remove(p(c.remove), d.Index); err != nil {
				t.Fatal(err)
			}
		}
		routes, err := h.OwnRoutes(d.Index)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range routes {
			got = append(got, r.Prefix.String()+" "+r.NextHop.String())
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		if err := h.SweepRoutes(d.Index, func(kernel.Route) bool { return false }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestZebrasRouteThatComesLaterIsMadeRoomFor: what stands whole is reported as missing once zebra
// has a route by the device, and stands in halves when it is installed again.
func TestZebrasRouteThatComesLaterIsMadeRoomFor(t *testing.T) {
	h, d := tunnelAlone(t)
	mirror := mirrorOf(t, h)
	r := &router{host: h, mirror: mirror, tunnel: d.Index, under: func(netip.Prefix, engine.Endpoint) error { return nil },
		beside: newBeside(h, mirror.Zebra, func() bool { return mirror.ZebraBy(d.Index) })}
	hop := netip.MustParseAddr("10.0.0.12")
	asked := []netip.Prefix{netip.MustParsePrefix("10.10.2.0/24"), netip.PrefixFrom(hop, 32)}
	install := func() {
		t.Helper()
		for _, p := range asked {
			if err := r.Install(p, hop, engine.Endpoint{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	has := func(want bool) {
		t.Helper()
		installed, err := r.Installed()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range asked {
			if _, ok := installed[p]; ok != want {
				t.Errorf("%v: %v, want %v", p, ok, want)
			}
		}
	}
	install()
	has(true)
	// Zebra's own of 10.10.2.0/24 does not come while ours stands; another one does.
	netnstest.Run(t, "ip route add 10.10.0.0/24 via 10.0.0.1 dev dmvpn0 proto 186 metric 20")
	netnstest.Eventually(t, "the mirror has it", func() bool { return mirror.ZebraBy(d.Index) })
	has(false)
	install()
	has(true)
	if out := netnstest.Run(t, "ip route show proto 54"); strings.Contains(out, "10.10.2.0/24") || strings.Contains(out, hop.String()+" via") || strings.Count(out, "via") != 2 {
		t.Error(out)
	}
	netnstest.Eventually(t, "it is one route to NHRP", func() bool {
		route, ok := r.Lookup(netip.MustParseAddr("10.10.2.200"))
		return ok && route.Prefix == asked[0]
	})
	if inside := r.Inside(asked[0]); len(inside) > 0 {
		t.Errorf("inside: %v", inside)
	}
	netnstest.Run(t, "ip route del 10.10.0.0/24 via 10.0.0.1 dev dmvpn0 proto 186 metric 20")
	netnstest.Eventually(t, "zebra's is gone", func() bool { return !mirror.ZebraBy(d.Index) })
	has(true)
}
