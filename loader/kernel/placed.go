// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
)

// placed remembers which routes of ours stand, so that one more does not cost a listing of all: a
// hub has thousands. It begins with a listing of a device's routes, and each further one of all
// sets it right. One that somebody else removed meanwhile is removed twice, which is no error.
type placed struct {
	mu sync.Mutex // held while the kernel is told: what is remembered is in its order
	by map[int]map[netip.Prefix][]netlink.Route
}

// placedOf gives our routes of a prefix on a device. mu is held.
func (h *Host) placedOf(ifindex int, prefix netip.Prefix) ([]netlink.Route, error) {
	if h.placed.by[ifindex] == nil {
		if _, err := h.list(ifindex); err != nil {
			return nil, err
		}
	}
	return slices.Clone(h.placed.by[ifindex][prefix]), nil
}

// list lists our routes on a device, of all tables, and remembers them. mu is held.
func (h *Host) list(ifindex int) ([]netlink.Route, error) {
	filter := &netlink.Route{Protocol: Protocol, LinkIndex: ifindex} // of all tables
	all, err := h.dump(filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	of := map[netip.Prefix][]netlink.Route{}
	for _, r := range all {
		p := entryOf(r).route.Prefix
		of[p] = append(of[p], r)
	}
	h.placed.by[ifindex] = of
	return all, nil
}

// note remembers a route that stands now: of a table and next hop there is one, of IPv6 one of a
// table. mu is held.
func (h *Host) note(prefix netip.Prefix, r netlink.Route) {
	of := h.placed.by[r.LinkIndex]
	for i, old := range of[prefix] {
		if old.Table == r.Table && (prefix.Addr().Is6() || old.Gw.Equal(r.Gw)) {
			of[prefix][i] = r
			return
		}
	}
	of[prefix] = append(of[prefix], r)
}

// remove removes a route that stands, and forgets it. mu is held.
func (h *Host) remove(prefix netip.Prefix, r netlink.Route) error {
	if err := h.delete(r); err != nil {
		return err
	}
	of := h.placed.by[r.LinkIndex]
	of[prefix] = slices.DeleteFunc(of[prefix], func(o netlink.Route) bool { return o.Table == r.Table && o.Gw.Equal(r.Gw) })
	if len(of[prefix]) == 0 {
		delete(of, prefix)
	}
	return nil
}
