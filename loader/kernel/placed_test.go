// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"dmvpn/loader/netnstest"
)

// TestWhatIsRememberedIsWhatStands: routes change by several hosts' handles, by someone else and with the
// device, and what is installed or removed then is alone of its prefix.
func TestWhatIsRememberedIsWhatStands(t *testing.T) {
	for name, c := range map[string]struct {
		lan  netip.Prefix
		hops [3]netip.Addr
	}{
		"IPv4": {lan, [3]netip.Addr{hub, spoke, netip.MustParseAddr("10.0.0.13")}},
		"IPv6": {netip.MustParsePrefix("fd10:2::/64"), [3]netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::12"), netip.MustParseAddr("fd00::13")}},
	} {
		t.Run(name, func(t *testing.T) {
			h := host(t)
			both := spec
			both.Addresses = append(both.Addresses, netip.MustParsePrefix("fd00::11/64"))
			d := ensure(t, h, both)
			before, err := Open() // the daemon before
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			install(t, before, c.lan, c.hops[0], d.Index)
			alone := func(what string, hop netip.Addr) {
				t.Helper()
				family := "-4"
				if hop.Is6() {
					family = "-6"
				}
				got := netnstest.Run(t, "ip "+family+" route show proto 54 table all")
				if n := strings.Count(got, "via "); hop.IsValid() && (n != 1 || !strings.Contains(got, c.lan.String()+" via "+hop.String()+" ")) || !hop.IsValid() && n != 0 {
					t.Errorf("%s: want %v alone:\n%s", what, hop, got)
				}
			}
			install(t, h, c.lan, c.hops[1], d.Index)
			alone("in place of the daemon's before", c.hops[1])
			for range 3 {
				for _, hop := range c.hops {
					install(t, h, c.lan, hop, d.Index)
					alone("changed", hop)
				}
			}
			if err := h.InstallRouteFirst(c.lan, c.hops[0], d.Index); err != nil {
				t.Fatal(err)
			}
			alone("in the table before", c.hops[0])
			install(t, h, c.lan, c.hops[1], d.Index)
			alone("and back", c.hops[1])
			netnstest.Run(t, "ip -4 route flush table all proto 54")
			netnstest.Run(t, "ip -6 route flush table all proto 54")
			install(t, h, c.lan, c.hops[2], d.Index)
			alone("somebody removed it", c.hops[2])
			netnstest.Run(t, "ip link set dmvpn0 down")
			if err := h.InstallRoute(c.lan, c.hops[0], d.Index); err == nil {
				t.Error("a route by a device that is down")
			}
			netnstest.Run(t, "ip link set dmvpn0 up")
			install(t, h, c.lan, c.hops[1], d.Index)
			alone("the device was down", c.hops[1])
			install(t, before, c.lan, c.hops[0], d.Index) // behind our back
			if _, err := h.OwnRoutes(d.Index); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := h.RemoveRoute(c.lan, d.Index); err != nil {
					t.Fatal(err)
				}
				alone("removed", netip.Addr{})
			}
		})
	}
}

// BenchmarkARouteBesideTenThousand is what one more registration costs a large hub.
func BenchmarkARouteBesideTenThousand(b *testing.B) {
	netnstest.Enter(b)
	h, err := Open()
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	d, err := h.EnsureTunnel(spec)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	site := func(n int) netip.Prefix {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24|1<<23|uint32(n)<<8)
		return netip.PrefixFrom(netip.AddrFrom4(a), 24)
	}
	const others = 10000
	var lines []string
	for n := range others {
		lines = append(lines, fmt.Sprintf("route add %v via 10.0.0.12 dev dmvpn0 onlink proto 54", site(n)))
	}
	batch(lines)
	if own, err := h.OwnRoutes(d.Index); err != nil || len(own) != others {
		b.Fatalf("%d routes, %v", len(own), err)
	}
	for n := 0; b.Loop(); n++ {
		p := site(others + n%10000)
		if err := h.InstallUnreachable(p); err != nil {
			b.Fatal(err)
		}
		if err := h.InstallRoute(p, spoke, d.Index); err != nil {
			b.Fatal(err)
		}
	}
}
