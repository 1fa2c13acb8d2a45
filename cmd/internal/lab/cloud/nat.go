// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"net/netip"
	"slices"

	"dmvpn/cmd/internal/lab"
)

// A NAT has one public address for all its spokes, which share a private network.
type NAT struct {
	Spokes []int // their numbers
	Ports  lab.Ports
	// Isolated spokes do not reach each other but by the Internet.
	Isolated bool
}

// privateSide is a NAT's device towards its spokes; towards the Internet it is Underlay.
const privateSide = "lan"

// NATAddress is the public address of a NAT, counted from 1.
func NATAddress(k int) netip.Addr { return netip.AddrFrom4([4]byte{198, 19, byte(k), 1}) }

// Private is the underlay address of spoke n behind NAT k.
func Private(k, n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, byte(k), byte(n)}) }

// NATAddressOf is a NAT's public address by the version of IP: 198.19.K.1, 2001:db8:190K::1.
func NATAddressOf(version, k int) netip.Addr {
	if version == 4 {
		return NATAddress(k)
	}
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: 0x19, 5: byte(k), 15: 1})
}

// PrivateOf is the underlay address of spoke n behind NAT k by the version of IP: 192.168.K.N,
// fc00:0:K::N (of RFC 4193, and none of the overlay's, which begin with fd).
func PrivateOf(version, k, n int) netip.Addr {
	if version == 4 {
		return Private(k, n)
	}
	return netip.AddrFrom16([16]byte{0: 0xfc, 5: byte(k), 15: byte(n)})
}

// natOf is the NAT before a spoke, 0 for none.
func (o Options) natOf(n int) int {
	return slices.IndexFunc(o.NATs, func(nat NAT) bool { return slices.Contains(nat.Spokes, n) }) + 1
}

func privateGateway(version, k int) netip.Addr { return PrivateOf(version, k, 254) }

// nat builds a NAT, whose spokes come later.
func (c *Cloud) nat(o Options, k int) *lab.Node {
	n := c.Router(fmt.Sprint("nat", k))
	versions := o.over(n.Name)
	var public []netip.Addr
	for _, version := range versions {
		public = append(public, NATAddressOf(version, k))
	}
	c.uplink(o, n, o.SpokeDelay, public...)
	for i, version := range versions {
		if version == 6 {
			n.Sysctl("net/ipv6/conf/all/forwarding", "1")
		}
		if gateway := withLength(privateGateway(version, k)); i == 0 {
			n.Bridge(privateSide, gateway)
		} else {
			n.Address(privateSide, gateway)
		}
	}
	ports := o.NATs[k-1].Ports
	if ports == "" {
		ports = lab.KeepPorts
	}
	if c.Err() == nil {
		if err := n.NAT(Underlay, ports); err != nil {
			c.Fail(err)
		}
	}
	return n
}

// behind joins a spoke to its NAT.
func (c *Cloud) behind(o Options, site *lab.Node, k, n int) {
	nat, versions := c.NATs[k-1], o.over(site.Name)
	c.Wire(&lab.Wire{
		A: lab.End{Node: site.Name, Device: Underlay, Address: withLength(PrivateOf(versions[0], k, n))},
		B: lab.End{Node: nat.Name, Device: site.Name},
	})
	nat.Plug(site.Name, privateSide)
	if o.NATs[k-1].Isolated && c.Err() == nil {
		if err := nat.Isolate(site.Name); err != nil {
			c.Fail(err)
		}
	}
	for i, version := range versions {
		if i > 0 {
			site.Address(Underlay, withLength(PrivateOf(version, k, n)))
		}
		site.Route(privateGateway(version, k).String(), everything(version))
	}
}
