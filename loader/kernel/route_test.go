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
