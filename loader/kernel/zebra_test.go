// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"testing"

	"dmvpn/loader/netnstest"
)

func TestTheMirrorKnowsZebrasRoutes(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	for _, add := range []string{
		"10.10.1.0/24 via 10.0.0.1 dev dmvpn0 proto 186 metric 20", // BGP
		"10.10.2.0/24 via 10.0.0.1 dev dmvpn0 proto 196 metric 20", // staticd
		"10.10.3.0/24 via 10.0.0.1 dev dmvpn0 proto static",        // the operator
		"10.10.4.0/24 via 10.0.0.1 dev dmvpn0 proto 12 metric 32",  // BIRD
	} {
		netnstest.Run(t, "ip route add "+add)
	}
	r := mirror(t, h)
	for p, want := range map[string]bool{
		"10.10.1.0/24": true, "10.10.2.0/24": true, "10.10.2.0/25": false, "10.10.0.0/16": false, "10.10.3.0/24": false, "10.10.4.0/24": false,
	} {
		if got := r.Zebra(netip.MustParsePrefix(p)); got != want {
			t.Errorf("%s: %v", p, got)
		}
	}
	if !r.ZebraBy(d.Index) || r.ZebraBy(1) {
		t.Error("by which device zebra's routes are is not known")
	}
	install(t, h, netip.MustParsePrefix("10.10.1.0/25"), spoke, d.Index)
	netnstest.Run(t, "ip route del 10.10.1.0/24 proto 186 metric 20")
	netnstest.Eventually(t, "BGP's route is gone", func() bool { return !r.Zebra(netip.MustParsePrefix("10.10.1.0/24")) })
	if !r.ZebraBy(d.Index) {
		t.Error("one is left by the device")
	}
	netnstest.Run(t, "ip route replace 10.10.2.0/24 via 10.0.0.1 dev dmvpn0 proto static metric 20")
	netnstest.Eventually(t, "none of zebra's is left", func() bool { return !r.ZebraBy(d.Index) })
}

// TestARouteInFrontOfTheMainTable: it wins over one of the same prefix there, which stays.
func TestARouteInFrontOfTheMainTable(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	single := netip.PrefixFrom(spoke, 32)
	netnstest.Run(t, "ip route add 10.0.0.12 via 10.0.0.1 dev dmvpn0 proto 188")
	r := mirror(t, h)
	if err := h.InstallRouteFirst(single, spoke, d.Index); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, "it wins", func() bool { got, _ := r.Lookup(spoke); return got.NHRP && got.NextHop == spoke })
	if got, ok := r.LookupWithout(spoke); !ok || got.NextHop != hub || got.Local {
		t.Errorf("without ours: %+v", got)
	}
	if own, err := h.OwnRoutes(d.Index); err != nil || len(own) != 1 || own[0].Prefix != single || own[0].NextHop != spoke {
		t.Errorf("own routes %+v, %v", own, err)
	}
	install(t, h, single, spoke, d.Index) // from there into the main table
	if out := netnstest.Run(t, "ip route show table local proto 54"); out != "" {
		t.Errorf("it is still in the table local: %s", out)
	}
	if err := h.InstallRouteFirst(single, spoke, d.Index); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveRoute(single, d.Index); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, "it is gone", func() bool { got, _ := r.Lookup(spoke); return !got.NHRP && got.NextHop == hub })
}
