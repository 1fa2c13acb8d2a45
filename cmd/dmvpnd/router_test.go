// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
	"dmvpn/nhrpd/engine"
)

// TestWhatIsGuardedIsNoWay: an unreachable route is none to the machine, which sees that it is there.
func TestWhatIsGuardedIsNoWay(t *testing.T) {
	h, d := tunnelAlone(t)
	netnstest.Run(t, "ip route add 10.10.0.0/16 via 10.0.0.1")
	netnstest.Run(t, "ip route add unreachable 10.20.0.0/16 metric 4278190134 proto 54")
	mirror, err := h.MirrorRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	r := &router{host: h, mirror: mirror, tunnel: d.Index, beside: newBeside(h, mirror.Zebra, func() bool { return false })}
	for a, want := range map[string][2]bool{"10.10.1.1": {true, false}, "10.20.1.1": {false, true}, "10.30.1.1": {false, false}} {
		if route, ok := r.Lookup(netip.MustParseAddr(a)); ok != want[0] || route.Unreachable != want[1] {
			t.Errorf("%s: %+v, %t", a, route, ok)
		}
	}
}

// TestWhatStandsUnderAShortcut: the widest that leads into the tunnel too, but for a default route.
func TestWhatStandsUnderAShortcut(t *testing.T) {
	h, d := tunnelAlone(t)
	netnstest.Run(t, "ip link add eth0 type veth peer name eth1")
	netnstest.Run(t, "ip address add 192.0.2.1/24 dev eth0")
	netnstest.Run(t, "ip link set eth0 up")
	for _, c := range []struct{ name, routes, want string }{
		{"no other way", "", "10.10.2.0/24"},
		{"the way out in clear", "default via 192.0.2.254", "10.10.2.0/24"},
		{"the prefix itself", "default via 192.0.2.254; 10.10.2.0/24 via 10.0.0.1 proto 186 metric 20", "10.10.2.0/24"},
		{"a summary", "default via 192.0.2.254; 10.10.0.0/16 via 10.0.0.1 proto 186 metric 20", "10.10.0.0/16"},
		{"the summary in clear", "10.10.0.0/16 via 192.0.2.254", "10.10.2.0/24"},
		{"everything by the tunnel", "default via 10.0.0.1", ""},
		{"a summary under the prefix", "10.10.2.0/24 via 10.0.0.1; 10.10.0.0/16 via 10.0.0.1; unreachable 10.10.0.0/20 metric 4278190134", "10.10.0.0/16"},
	} {
		for route := range strings.SplitSeq(c.routes, "; ") {
			if route != "" {
				netnstest.Run(t, "ip route add "+route)
			}
		}
		mirror, err := h.MirrorRoutes()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		r := &router{host: h, mirror: mirror, tunnel: d.Index, beside: newBeside(h, mirror.Zebra, func() bool { return mirror.ZebraBy(d.Index) }), under: func(p netip.Prefix, _ engine.Endpoint) error {
			got = p.String()
			return nil
		}}
		if err := r.Install(netip.MustParsePrefix("10.10.2.0/24"), netip.MustParseAddr("10.0.0.12"), engine.Endpoint{}); err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("%s: under %q, want %q", c.name, got, c.want)
		}
		if err := r.Remove(netip.MustParsePrefix("10.10.2.0/24")); err != nil {
			t.Fatal(err)
		}
		mirror.Close()
		for route := range strings.SplitSeq(c.routes, "; ") {
			if route != "" {
				netnstest.Run(t, "ip route del "+route)
			}
		}
	}
}

// TestNothingStandsUnderADefaultRouteInHalves: a default route by the tunnel stands in halves beside
// the underlay's that FRR installed; what stood unreachable under a half would beat the latter.
func TestNothingStandsUnderADefaultRouteInHalves(t *testing.T) {
	for family, c := range map[string]struct{ own, address, gateway, everything, hub, site, nbma string }{
		"IPv4": {"10.0.0.11/24", "192.0.2.11/24", "192.0.2.254", "0.0.0.0/0", "10.0.0.1", "10.10.2.0/24", "198.51.100.1"},
		"IPv6": {"fd00::11/64", "2001:db8::11/64", "2001:db8::fe", "::/0", "fd00::1", "fd10:2::/64", "2001:db8:1::1"},
	} {
		t.Run(family, func(t *testing.T) {
			netnstest.Enter(t)
			netnstest.Run(t, "ip link set lo up")
			netnstest.Run(t, "ip link add eth0 type veth peer name eth1")
			netnstest.Run(t, "ip address add "+c.address+" dev eth0")
			netnstest.Run(t, "ip link set eth0 up")
			netnstest.Run(t, "ip link set eth1 up")
			netnstest.Run(t, "ip route add "+c.everything+" via "+c.gateway+" dev eth0 proto 196 metric 20")
			h, err := kernel.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			d, err := h.EnsureTunnel(kernel.TunnelSpec{Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix(c.own)}, MTU: 1400})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			mirror, err := h.MirrorRoutes()
			if err != nil {
				t.Fatal(err)
			}
			defer mirror.Close()
			everything, site, hub := netip.MustParsePrefix(c.everything), netip.MustParsePrefix(c.site), netip.MustParseAddr(c.hub)
			for _, run := range []string{"the run that installs it", "the next one"} {
				r := &router{host: h, mirror: mirror, tunnel: d.Index, six: hub.Is6(), under: func(p netip.Prefix, _ engine.Endpoint) error { return h.InstallUnreachable(p) }, beside: newBeside(h, mirror.Zebra, func() bool { return mirror.ZebraBy(d.Index) })}
				if run != "the next one" {
					if err := r.Install(everything, hub, engine.Endpoint{}); err != nil {
						t.Fatal(err)
					}
				}
				netnstest.Eventually(t, "the mirror has the halves", func() bool {
					route, ok := mirror.Around(site)
					return ok && route.IfIndex == d.Index && route.Prefix.Bits() == 1
				})
				if err := r.Install(site, hub.Next(), engine.Endpoint{}); err != nil {
					t.Fatal(err)
				}
				if out := netnstest.Run(t, "ip route show type unreachable") + netnstest.Run(t, "ip -6 route show type unreachable proto 54"); strings.Contains(out, "unreachable") {
					t.Errorf("%s: %s", run, out)
				}
				if err := r.Remove(site); err != nil {
					t.Fatal(err)
				}
			}
			link, err := h.Underlay(kernel.UnderlaySpec{Device: "eth0"})
			if err != nil && !errors.Is(err, kernel.ErrNoAddress) {
				t.Fatal(err)
			}
			if err := h.CheckRecursion(link, netip.MustParseAddr(c.nbma), func(int) bool { return false }); err != nil {
				t.Error(err)
			}
		})
	}
}

// tunnelAlone gives a namespace of the test's own with a tunnel's device in it, until the test ends.
func tunnelAlone(t *testing.T) (*kernel.Host, *kernel.Device) {
	t.Helper()
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo up")
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	d, err := h.EnsureTunnel(kernel.TunnelSpec{Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/24")}, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return h, d
}

// mirrorOf follows the kernel's routes until the test ends.
func mirrorOf(t *testing.T, h *kernel.Host) *kernel.Routes {
	t.Helper()
	mirror, err := h.MirrorRoutes()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mirror.Close() })
	return mirror
}
