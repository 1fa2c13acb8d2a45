// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol is the protocol number of the routes that dmvpnd installs.
const RouteProtocol = 54

// A Route is one that dmvpnd installed.
type Route struct {
	Prefix  netip.Prefix
	NextHop netip.Addr
}

// Routes gives the routes of protocol 54 of a node.
func (c *Cloud) Routes(node string) ([]Route, error) {
	filter := &netlink.Route{Protocol: RouteProtocol, Table: unix.RT_TABLE_UNSPEC}
	list, err := c.Get(node).Net.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("%s: routes: %w", node, err)
	}
	var routes []Route
	for _, r := range list {
		prefix := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Dst != nil {
			address, _ := netip.AddrFromSlice(r.Dst.IP.To4())
			bits, _ := r.Dst.Mask.Size()
			prefix = netip.PrefixFrom(address, bits)
		}
		next, _ := netip.AddrFromSlice(r.Gw.To4())
		routes = append(routes, Route{prefix, next})
	}
	return routes, nil
}
