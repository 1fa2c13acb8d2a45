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
	var routes []Route
	for family, any := range map[int]netip.Addr{netlink.FAMILY_V4: netip.IPv4Unspecified(), netlink.FAMILY_V6: netip.IPv6Unspecified()} {
		list, err := c.Get(node).Net.RouteListFiltered(family, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("%s: routes: %w", node, err)
		}
		for _, r := range list {
			prefix := netip.PrefixFrom(any, 0)
			if r.Dst != nil {
				address, _ := netip.AddrFromSlice(r.Dst.IP)
				bits, _ := r.Dst.Mask.Size()
				prefix = netip.PrefixFrom(address.Unmap(), bits)
			}
			next, _ := netip.AddrFromSlice(r.Gw)
			routes = append(routes, Route{prefix, next.Unmap()})
		}
	}
	return routes, nil
}
