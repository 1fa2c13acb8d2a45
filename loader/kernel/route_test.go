// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"strings"
	"testing"

	"dmvpn/loader/netnstest"
)

var (
	lan   = netip.MustParsePrefix("10.10.2.0/24")
	hub   = netip.MustParseAddr("10.0.0.1")
	spoke = netip.MustParseAddr("10.0.0.12")
)

func install(t *testing.T, h *Host, p netip.Prefix, via netip.Addr, ifindex int) {
	t.Helper()
	if err := h.InstallRoute(p, via, ifindex); err != nil {
		t.Fatal(err)
	}
}

func TestARouteOfOursIsReplacedAndRemovedAndOthersStay(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	netnstest.Run(t, "ip route add 10.10.2.0/24 via 10.0.0.1 dev dmvpn0") // the operator's, same metric
	routes := func() string { return netnstest.Run(t, "ip route show 10.10.2.0/24") }

	install(t, h, lan, hub, d.Index)
	install(t, h, lan, spoke, d.Index)
	install(t, h, lan, spoke, d.Index) // twice is once
	if got := routes(); !strings.HasPrefix(got, "10.10.2.0/24 via 10.0.0.12 dev dmvpn0 proto 54 onlink") || strings.Count(got, "\n") != 2 {
		t.Errorf("ours, in front of the operator's:\n%s", got)
	}
	if got := netnstest.Run(t, "ip route get 10.10.2.1"); !strings.Contains(got, "via 10.0.0.12") {
		t.Errorf("the kernel takes another one: %s", got)
	}
	for range 2 {
		if err := h.RemoveRoute(lan, d.Index); err != nil {
			t.Fatal(err)
		}
	}
	if got := routes(); strings.Contains(got, "proto 54") || !strings.Contains(got, "via 10.0.0.1") {
		t.Errorf("only the operator's should be left:\n%s", got)
	}
}

func TestSweepRemovesWhatNobodyWants(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	other := netip.MustParsePrefix("10.10.3.0/24")
	install(t, h, lan, spoke, d.Index)
	install(t, h, other, spoke, d.Index)
	if own, err := h.OwnRoutes(d.Index); err != nil || len(own) != 2 || own[0].Prefix != lan || own[0].NextHop != spoke || !own[0].NHRP {
		t.Errorf("own routes %+v, %v", own, err)
	}
	if err := h.SweepRoutes(d.Index, func(r Route) bool { return r.Prefix == other }); err != nil {
		t.Fatal(err)
	}
	if own, err := h.OwnRoutes(d.Index); err != nil || len(own) != 1 || own[0].Prefix != other {
		t.Errorf("left %+v, %v", own, err)
	}
}

func TestAnUnreachableRouteStandsBehindEveryOther(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	for range 2 {
		if err := h.InstallUnreachable(lan); err != nil {
			t.Fatal(err)
		}
	}
	if got := netnstest.Run(t, "ip route show 10.10.2.0/24"); !strings.Contains(got, "unreachable 10.10.2.0/24 proto 54 metric 4278190134") {
		t.Errorf("got %s", got)
	}
	install(t, h, lan, spoke, d.Index)
	if got := netnstest.Run(t, "ip route get 10.10.2.1"); !strings.Contains(got, "via 10.0.0.12") {
		t.Errorf("got %s", got)
	}
	for range 2 {
		if err := h.RemoveUnreachable(lan); err != nil {
			t.Fatal(err)
		}
	}
	if got := netnstest.Run(t, "ip route show 10.10.2.0/24"); strings.Contains(got, "unreachable") {
		t.Errorf("still there: %s", got)
	}
}

func TestTwoTunnelsHaveARouteOfOnePrefix(t *testing.T) {
	h := host(t)
	one, second := spec, spec
	one.Addresses = []netip.Prefix{spec.Addresses[0], netip.MustParsePrefix("fd00::11/64")}
	first := ensure(t, h, one)
	second.Name, second.Addresses = "dmvpn1", []netip.Prefix{netip.MustParsePrefix("10.1.0.11/24"), netip.MustParsePrefix("fd01::11/64")}
	other := ensure(t, h, second)
	for _, x := range []struct {
		prefix       netip.Prefix
		show         string
		one, another netip.Addr
	}{
		{lan, "ip route show proto 54", hub, netip.MustParseAddr("10.1.0.1")},
		{netip.MustParsePrefix("fd10:0:2::/64"), "ip -6 route show proto 54", netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd01::1")},
	} {
		stand := func(when string, want int) {
			t.Helper()
			got := netnstest.Run(t, x.show+" "+x.prefix.String())
			if n := strings.Count(got, "\n"); n != want || strings.Contains(got, "nexthop") {
				t.Errorf("%s: %d routes are to stand, each by itself:\n%s", when, want, got)
			}
		}
		install(t, h, x.prefix, x.one, first.Index)
		install(t, h, x.prefix, x.another, other.Index)
		stand("one each", 2)
		for range 2 { // what each puts back
			install(t, h, x.prefix, x.one, first.Index)
			install(t, h, x.prefix, x.another, other.Index)
			stand("put back", 2)
		}
		install(t, h, x.prefix, x.another.Next(), other.Index)
		stand("another next hop", 2)
		if err := h.RemoveRoute(x.prefix, first.Index); err != nil {
			t.Fatal(err)
		}
		stand("the first one's is gone", 1)
		install(t, h, x.prefix, x.one, first.Index)
		stand("it is back", 2)
		for _, index := range []int{first.Index, other.Index} {
			if err := h.RemoveRoute(x.prefix, index); err != nil {
				t.Fatal(err)
			}
		}
		stand("none", 0)
	}
}
