// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"net/netip"
	"time"

	"dmvpn/cmd/internal/lab"
)

// An underlay of IPv6 has the same Internet again: the hub at 2001:db8::1, spokes at
// 2001:db8:N::1.

// NBMAOf is the underlay address of a spoke by the version of IP, 4 or 6; 0 is the hub.
func NBMAOf(version, n int) netip.Addr {
	switch {
	case version == 6:
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: byte(n), 15: 1})
	case n == 0:
		return HubNBMA()
	}
	return NBMA(n)
}

// InternetOf is the Internet's address on the wire of an underlay address.
func InternetOf(nbma netip.Addr) netip.Addr {
	b := nbma.AsSlice()
	b[len(b)-1] = 254
	a, _ := netip.AddrFromSlice(b)
	return a
}

// nbma gives the underlay addresses of a site; 0 is the hub.
func (o Options) nbma(node string, n int) (all []netip.Addr) {
	for _, version := range o.over(node) {
		all = append(all, NBMAOf(version, n))
	}
	return all
}

// over gives the versions of IP of a node's underlay, that of its server first.
func (o Options) over(node string) []int {
	if o.Over == nil {
		return []int{4}
	}
	return o.Over(node)
}

// withLength is an address with the length of its wire's prefix.
func withLength(a netip.Addr) string {
	if a.Is4() {
		return a.String() + "/24"
	}
	return a.String() + "/64"
}

// everything is the prefix that has all addresses of a version of IP.
func everything(version int) string {
	if version == 4 {
		return "0.0.0.0/0"
	}
	return "::/0"
}

// uplink joins a node to the Internet by each of its addresses, one of a version of IP.
func (c *Cloud) uplink(o Options, node *lab.Node, delay time.Duration, addresses ...netip.Addr) {
	w := &lab.Wire{
		A:     lab.End{Node: node.Name, Device: Underlay},
		B:     lab.End{Node: "internet", Device: node.Name},
		Delay: delay,
	}
	w.A.Address, w.B.Address = withLength(addresses[0]), withLength(InternetOf(addresses[0]))
	if o.Wire != nil {
		o.Wire(node.Name, w)
	}
	c.Wire(w)
	for i, a := range addresses {
		all := everything(4)
		if a.Is6() {
			all = everything(6)
			c.Internet.Sysctl("net/ipv6/conf/all/forwarding", "1")
		}
		if i > 0 {
			node.Address(Underlay, withLength(a))
			c.Internet.Address(node.Name, withLength(InternetOf(a)))
		}
		node.Route(InternetOf(a).String(), all)
	}
}
