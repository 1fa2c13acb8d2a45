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

// natOf is the NAT before a spoke, 0 for none.
func (o Options) natOf(n int) int {
	return slices.IndexFunc(o.NATs, func(nat NAT) bool { return slices.Contains(nat.Spokes, n) }) + 1
}

func privateGateway(k int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, byte(k), 254}) }

// nat builds a NAT, whose spokes come later.
func (c *Cloud) nat(o Options, k int) *lab.Node {
	n := c.Router(fmt.Sprint("nat", k))
	c.uplink(o, n, o.SpokeDelay, NATAddress(k))
	n.Bridge(privateSide, privateGateway(k).String()+"/24")
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
	nat := c.NATs[k-1]
	c.Wire(&lab.Wire{
		A: lab.End{Node: site.Name, Device: Underlay, Address: Private(k, n).String() + "/24"},
		B: lab.End{Node: nat.Name, Device: site.Name},
	})
	nat.Plug(site.Name, privateSide)
	if o.NATs[k-1].Isolated && c.Err() == nil {
		if err := nat.Isolate(site.Name); err != nil {
			c.Fail(err)
		}
	}
	site.Route(privateGateway(k).String(), "default")
}
