// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Protocol marks the routes that we install: `dmvpn`, NHRP's IP protocol number.
const Protocol = 54

// metric6 is that of our IPv6 routes, and of those of a second tunnel one more; the kernel makes 1024 of 0,
// routing daemons have 20.
const metric6 = 5

// unreachableMetric stands behind every route that anyone would write.
const unreachableMetric = 0xff000000 + Protocol

// Route is what the kernel says of a destination.
type Route struct {
	Prefix      netip.Prefix
	NextHop     netip.Addr // gateway; the destination itself if on link; invalid without a device
	IfIndex     int        // of the device by which it leaves; 0: none
	Local       bool       // one of our own addresses
	NHRP        bool       // we installed it (protocol 54)
	Unreachable bool       // unreachable, prohibit or blackhole: no device
}

// InstallRoute installs PREFIX via NEXTHOP on the tunnel device (protocol 54,
// onlink, metric 0, of IPv6 5, in front of others of the prefix) and then removes ours of
// the same prefix on that device, so that no packet finds neither. Those on other devices stay: of
// IPv4 the newest is in front, of IPv6 the oldest, which has the lowest metric. A route that
// stands already is no error.
func (h *Host) InstallRoute(prefix netip.Prefix, nextHop netip.Addr, ifindex int) error {
	return h.installRoute(prefix, nextHop, ifindex, h.table.id())
}

// InstallRouteFirst is InstallRoute into the table local, which the kernel asks before the
// main one, and which routing daemons do not look at. Before another table (In) there is none: it
// is InstallRoute then.
func (h *Host) InstallRouteFirst(prefix netip.Prefix, nextHop netip.Addr, ifindex int) error {
	return h.installRoute(prefix, nextHop, ifindex, h.table.first())
}

func (h *Host) installRoute(prefix netip.Prefix, nextHop netip.Addr, ifindex, table int) error {
	prefix = prefix.Masked()
	route := &netlink.Route{
		Family: familyOf(prefix.Addr()), Dst: ipNet(prefix), Gw: nextHop.AsSlice(), LinkIndex: ifindex,
		Protocol: Protocol, Table: table, Flags: int(netlink.FLAG_ONLINK),
	}
	h.placed.mu.Lock()
	defer h.placed.mu.Unlock()
	before, err := h.placedOf(ifindex, prefix)
	if err != nil {
		return fmt.Errorf("kernel: install route %s via %s: %w", prefix, nextHop, err)
	}
	// Without NLM_F_EXCL, NLM_F_REPLACE and NLM_F_APPEND the kernel puts the
	// route in front of those of the same prefix and metric, which stay.
	add, six := h.nl.RouteAddEcmp, prefix.Addr().Is6()
	if six {
		// Routes of one metric would be paths of one route here. This one is in front of
		// what anyone else installs, and replaced in one step, whatever its device.
		add, route.Priority = h.nl.RouteReplace, h.vacant6(prefix, ifindex, table)
	}
	if err := add(route); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("kernel: install route %s via %s: %w", prefix, nextHop, err)
	}
	h.note(prefix, *route)
	for _, old := range before {
		if gateway, ok := netip.AddrFromSlice(old.Gw); ok && (six || gateway.Unmap() == nextHop) && old.Table == table {
			continue
		}
		if err := h.remove(prefix, old); err != nil {
			return err
		}
	}
	return nil
}

// vacant6 is the metric that a prefix's route has on the device, or the first that none of ours has on
// another. placed.mu is held.
func (h *Host) vacant6(prefix netip.Prefix, ifindex, table int) int {
	taken := map[int]bool{}
	for index, of := range h.placed.by {
		for _, r := range of[prefix] {
			switch {
			case r.Table != table:
			case index == ifindex:
				return r.Priority
			default:
				taken[r.Priority] = true
			}
		}
	}
	metric := metric6
	for taken[metric] {
		metric++
	}
	return metric
}

// RemoveRoute removes ours of the prefix on the device; none is no error.
// Routes of others stay.
func (h *Host) RemoveRoute(prefix netip.Prefix, ifindex int) error {
	prefix = prefix.Masked()
	h.placed.mu.Lock()
	defer h.placed.mu.Unlock()
	routes, err := h.placedOf(ifindex, prefix)
	if err != nil {
		return fmt.Errorf("kernel: remove route %s: %w", prefix, err)
	}
	for _, r := range routes {
		if err := h.remove(prefix, r); err != nil {
			return err
		}
	}
	return nil
}

// InstallUnreachable stands an unreachable route under the prefix, so that its
// traffic does not follow the default route while the tunnel is away: protocol
// 54, metric 4278190134, behind every other.
func (h *Host) InstallUnreachable(prefix netip.Prefix) error {
	if err := h.nl.RouteReplace(h.unreachable(prefix)); err != nil {
		return fmt.Errorf("kernel: install unreachable %s: %w", prefix, err)
	}
	return nil
}

// RemoveUnreachable undoes InstallUnreachable; none is no error.
func (h *Host) RemoveUnreachable(prefix netip.Prefix) error { return h.delete(*h.unreachable(prefix)) }

func (h *Host) unreachable(prefix netip.Prefix) *netlink.Route {
	return &netlink.Route{
		Family: familyOf(prefix.Addr()), Dst: ipNet(prefix.Masked()), Type: unix.RTN_UNREACHABLE,
		Protocol: Protocol, Table: h.table.id(), Priority: unreachableMetric,
	}
}

// OwnRoutes lists our routes on the device.
func (h *Host) OwnRoutes(ifindex int) ([]Route, error) {
	h.placed.mu.Lock()
	defer h.placed.mu.Unlock()
	routes, err := h.list(ifindex)
	if err != nil {
		return nil, fmt.Errorf("kernel: list our routes: %w", err)
	}
	out := make([]Route, 0, len(routes))
	for _, r := range routes {
		out = append(out, entryOf(r).route)
	}
	return out, nil
}

// SweepRoutes removes our routes on the device but those to keep: what the
// daemon before left and nobody wants.
func (h *Host) SweepRoutes(ifindex int, keep func(Route) bool) error {
	h.placed.mu.Lock()
	defer h.placed.mu.Unlock()
	routes, err := h.list(ifindex)
	if err != nil {
		return fmt.Errorf("kernel: sweep our routes: %w", err)
	}
	for _, r := range routes {
		if !keep(entryOf(r).route) {
			if err := h.remove(entryOf(r).route.Prefix, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// dump lists routes of both families, again where a change broke into the listing.
func (h *Host) dump(filter *netlink.Route, mask uint64) (all []netlink.Route, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		var routes []netlink.Route
		for range 10 {
			routes, err = h.routes.RouteListFiltered(family, filter, mask)
			if !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		switch {
		case family == netlink.FAMILY_V6 && errors.Is(err, unix.EOPNOTSUPP): // a kernel without IPv6
		case err != nil:
			return nil, err
		}
		all = append(all, routes...)
	}
	return all, nil
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func (h *Host) delete(r netlink.Route) error {
	if err := h.nl.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kernel: remove route %s: %w", r.Dst, err)
	}
	return nil
}
