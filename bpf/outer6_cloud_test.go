// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

// over6 makes the hub reach its spokes by IPv6, as far as they are named:
//
//	a 2001:db8:a::2 ── internet ── b 2001:db8:b::2
//	                      │
//	               hub 2001:db8:1::1
func (c *cloud) over6(t testing.TB, hubToB string, a, b bool) {
	t.Helper()
	const atHub, atA, atB = "2001:db8:1::1", "2001:db8:a::2", "2001:db8:b::2"
	for _, x := range []struct {
		*node
		device, address, gateway string
	}{{c.hub, "u0", atHub, "2001:db8:1::fe"}, {c.a, "u0", atA, "2001:db8:a::fe"}, {c.b, "u0", atB, "2001:db8:b::fe"}} {
		x.address6(t, x.device, x.address+"/64")
		device := map[*node]string{c.hub: "h", c.a: "a", c.b: "b"}[x.node]
		c.internet.address6(t, device, x.gateway+"/64")
		x.via(t, "2001:db8::/32", x.gateway, "u0")
	}
	for name := range c.hub.tunnels {
		c.hub.local6(t, name, atHub)
	}
	c.a.local6(t, "dmvpn0", atA)
	c.b.local6(t, "dmvpn0", atB)
	if a {
		c.hub.at6(t, "dmvpn0", 1, atA)
		c.a.at6(t, "dmvpn0", 1, atHub)
	}
	if b {
		c.hub.at6(t, hubToB, 2, atB)
		c.b.at6(t, "dmvpn0", 1, atHub)
	}
}

// local6 gives a tunnel of the node an address of IPv6.
func (n *node) local6(t testing.TB, tunnel, address string) {
	t.Helper()
	v := n.tunnels[tunnel]
	v.Local6.Octet = addr(address)
	must(t, n.maps["dmvpn_device"].Put(v.Ifindex, v))
	for _, local := range []DmvpnIpAddr{v.Local, v.Local6} {
		must(t, n.maps["dmvpn_tunnel"].Put(DmvpnTunnelKey{Local: local, Key: v.Key, HasKey: v.Flags & flagKey}, v))
	}
}

// at6 takes a peer to an address of IPv6.
func (n *node) at6(t testing.TB, tunnel string, id uint32, nbma string) {
	t.Helper()
	var v DmvpnPeer
	must(t, n.maps["dmvpn_peer"].Lookup(id, &v))
	v.Nbma.Octet = addr(nbma)
	must(t, n.maps["dmvpn_peer"].Put(id, v))
	must(t, n.maps["dmvpn_nbma"].Put(DmvpnNbmaKey{Nbma: v.Nbma, TunnelIfindex: n.tunnels[tunnel].Ifindex}, id))
}
