// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"
)

// carry6 gives a cloud IPv6 inside, beside its IPv4:
//
//	lanA fd10:0:1::2 ── a fd00::2 ── hub fd00::1 ── b fd00::3 ── lanB fd10:0:2::2
//
// b's is fd00:1::3, and the hub's there fd00:1::1, where they have another tunnel.
func (c *cloud) carry6(t testing.TB, hubToB string) {
	t.Helper()
	b, hubB := "fd00::3", "fd00::1"
	if hubToB != "dmvpn0" {
		b, hubB = "fd00:1::3", "fd00:1::1"
		c.hub.address6(t, hubToB, hubB+"/64")
	}
	for _, x := range []struct {
		*node
		device, address string
	}{
		{c.lanA, "e0", "fd10:0:1::2/64"}, {c.a, "l0", "fd10:0:1::1/64"}, {c.a, "dmvpn0", "fd00::2/64"}, {c.hub, "dmvpn0", "fd00::1/64"},
		{c.b, "dmvpn0", b + "/64"}, {c.b, "l0", "fd10:0:2::1/64"}, {c.lanB, "e0", "fd10:0:2::2/64"},
	} {
		x.address6(t, x.device, x.address)
	}
	for _, x := range []struct {
		*node
		to, gateway, device string
	}{
		{c.lanA, "::/0", "fd10:0:1::1", "e0"}, {c.lanB, "::/0", "fd10:0:2::1", "e0"},
		{c.a, "fd10::/16", "fd00::1", "dmvpn0"}, {c.b, "fd10::/16", hubB, "dmvpn0"}, {c.b, "fd00::/16", hubB, "dmvpn0"},
		{c.hub, "fd10:0:1::/64", "fd00::2", "dmvpn0"}, {c.hub, "fd10:0:2::/64", b, hubToB},
	} {
		x.via(t, x.to, x.gateway, x.device)
	}
	c.hub.hop6(t, "dmvpn0", "fd00::2", 1)
	c.hub.hop6(t, hubToB, b, 2)
	c.a.hop6(t, "dmvpn0", "fd00::1", 1)
	c.b.hop6(t, "dmvpn0", hubB, 1)
}

// address6 gives a device of the node an address, and IPv6.
func (n *node) address6(t testing.TB, device, address string) {
	t.Helper()
	n.in(t, func() {
		allow6(t, device)
		address6(t, device, address)
	})
}

// hop6 makes a peer the one behind a next hop too.
func (n *node) hop6(t testing.TB, tunnel, overlay string, id uint32) {
	t.Helper()
	k := DmvpnNexthopKey{TunnelIfindex: n.tunnels[tunnel].Ifindex}
	k.Nexthop.Octet = addr(overlay)
	must(t, n.maps["dmvpn_nexthop"].Put(k, id))
}
