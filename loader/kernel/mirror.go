// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeGroups: the kernel does not announce the routes that go with a device,
// an address or a next hop object; those come as their own messages.
var routeGroups = []uint{
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_NEXTHOP,
}

// Routes mirrors the kernel's routes, and follows them by netlink: as who sees the tables local,
// main and default, or those of another Table (In). It lags behind a change of our own by the time
// netlink takes, well under a millisecond. Routes for a type of service are not
// in it, and of several paths it names the first. Its methods may be called
// together.
type Routes struct {
	*reflection
	order []int // the tables, in the order in which the kernel asks them
}

// reflection is what is known of the tables.
type reflection struct {
	host    *Host
	tables  []int // that are mirrored
	follow  *follower
	changed chan struct{}

	mu    sync.RWMutex
	table routeTable
	err   error         // of the last listing
	moved chan struct{} // closed, and another one, with each change
}

// MirrorRoutes reads the routes, and those of further tables, and follows them until Close. After
// an overrun of the socket it reads them all again.
func (h *Host) MirrorRoutes(further ...Table) (*Routes, error) {
	r := &Routes{&reflection{host: h, tables: Table{}.order(), changed: make(chan struct{}, 1), moved: make(chan struct{})}, Table{}.order()}
	for _, t := range further {
		r.tables = append(r.tables, t.id())
	}
	ready := make(chan struct{})
	var err error
	if r.follow, err = h.follow(routeGroups, ready, r.handle); err != nil {
		return nil, err
	}
	err = r.read()
	close(ready)
	if err != nil {
		r.follow.close()
		return nil, err
	}
	return r, nil
}

// read lists all routes and takes them in place of what was known. What is
// announced meanwhile is applied after, and says the same or something newer.
func (r *reflection) read() error {
	all, err := r.host.dump(&netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return err
	}
	var table routeTable
	for _, route := range all {
		if mirrored(route.Family, route.Tos, uint32(route.Flags)) && slices.Contains(r.tables, route.Table) {
			table.insert(entryOf(route), true, false)
		}
	}
	r.mu.Lock()
	r.table = table
	r.mu.Unlock()
	return nil
}

func (r *reflection) handle(messages []syscall.NetlinkMessage, err error) {
	again := err != nil
	r.mu.Lock()
	touched := false
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			if e, ok := parseEntry(m.Data); ok && slices.Contains(r.tables, e.table) {
				touched = true
				// Paths of one IPv6 route come and go by themselves.
				if !r.apply(e, m.Header) && e.route.Prefix.Addr().Is6() {
					again = true
				}
			}
		case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_DELADDR, unix.RTM_DELNEXTHOP:
			again = true
		}
	}
	r.mu.Unlock()
	if again {
		err := r.read()
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
	}
	if again || touched {
		r.mu.Lock()
		close(r.moved)
		r.moved = make(chan struct{})
		r.mu.Unlock()
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

// apply changes the table by one message, and says whether it could. r.mu is held.
func (r *reflection) apply(e entry, header syscall.NlMsghdr) bool {
	if header.Type == unix.RTM_DELROUTE {
		return r.table.remove(e)
	}
	r.table.insert(e, header.Flags&unix.NLM_F_APPEND != 0, header.Flags&unix.NLM_F_REPLACE != 0)
	return header.Flags&unix.NLM_F_APPEND == 0
}

// In is the same mirror as another table sees it, which must be one that is mirrored. It is closed with the one that it comes from.
func (r *Routes) In(t Table) *Routes { return &Routes{r.reflection, t.order()} }

// Lookup gives the longest match, false if there is none. As in the kernel the
// local table answers first, and the lowest metric wins within a prefix.
func (r *Routes) Lookup(destination netip.Addr) (Route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.lookup(r.order, destination.Unmap(), func(*entry) bool { return true })
}

// LookupWithout is Lookup over the routes that we did not install: the routed
// path.
func (r *Routes) LookupWithout(destination netip.Addr) (Route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.lookup(r.order, destination.Unmap(), func(e *entry) bool { return !e.route.NHRP })
}

// Around gives the route that packets to a prefix take where it has none of its own, false if
// there is none. One that says unreachable is none.
func (r *Routes) Around(p netip.Prefix) (Route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.lookup(r.order, p.Addr().Unmap(), func(e *entry) bool { return e.route.Prefix.Bits() < p.Bits() && !e.route.Unreachable })
}

// By gives the route that packets take which are bound to a device, false if there is none; ours
// and what says unreachable are left out.
func (r *Routes) By(destination netip.Addr, ifindex int) (Route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.lookup(r.order, destination.Unmap(), func(e *entry) bool {
		return e.route.IfIndex == ifindex && !e.route.NHRP && !e.route.Unreachable
	})
}

// Inside gives the prefixes more specific than p and inside it, each once, by
// address and length; our own addresses are not among them.
func (r *Routes) Inside(p netip.Prefix) []netip.Prefix {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.inside(r.order, p.Masked())
}

// Has says whether a route of ours to a prefix by a next hop is known.
func (r *Routes) Has(p netip.Prefix, nextHop netip.Addr, ifindex int) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, table := range r.order {
		for _, e := range r.table.entries[place{table, p}] {
			if e.route.NHRP && e.route.NextHop == nextHop && e.route.IfIndex == ifindex {
				return true
			}
		}
	}
	return false
}

// Await waits until what is known is so, for most at the longest, and says whether it is. Of a change of
// ours it takes no longer than netlink does: the kernel announces it before it acknowledges it.
func (r *Routes) Await(most time.Duration, so func() bool) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		r.mu.RLock()
		moved := r.moved
		r.mu.RUnlock()
		if so() {
			return true
		}
		select {
		case <-moved:
		case <-timer.C:
			return so()
		}
	}
}

// Guarded says whether an unreachable route of ours stands under exactly a prefix in a table. Of
// one that is not mirrored nobody knows: true.
func (r *Routes) Guarded(t Table, p netip.Prefix) bool {
	if !slices.Contains(r.tables, t.id()) {
		return true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.ContainsFunc(r.table.entries[place{t.id(), p.Masked()}], func(e entry) bool { return e.route.NHRP && e.route.Unreachable })
}

// Err says why the routes could not be read again, nil if they could: what is
// known is old.
func (r *Routes) Err() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.err
}

// Changed receives after one or more changes, coalesced; the first is never
// lost. It is closed after Close.
func (r *Routes) Changed() <-chan struct{} { return r.changed }

// Close ends the following and waits for it.
func (r *Routes) Close() {
	r.follow.close()
	close(r.changed)
}
