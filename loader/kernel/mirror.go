// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeGroups: the kernel does not announce the routes that go with a device,
// an address or a next hop object; those come as their own messages.
var routeGroups = []uint{
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_NEXTHOP,
}

// Routes mirrors the kernel's routes of the tables local, main and default
// and follows them by netlink. It lags behind a change of our own by the time
// netlink takes, well under a millisecond. Routes for a type of service are not
// in it, and of several paths it names the first. Its methods may be called
// together.
type Routes struct {
	host    *Host
	follow  *follower
	changed chan struct{}

	mu    sync.RWMutex
	table routeTable
	err   error // of the last listing
}

// MirrorRoutes reads the routes and follows them until Close. After an overrun
// of the socket it reads them all again.
func (h *Host) MirrorRoutes() (*Routes, error) {
	r := &Routes{host: h, changed: make(chan struct{}, 1)}
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
func (r *Routes) read() error {
	all, err := r.host.dump(&netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return err
	}
	var table routeTable
	for _, route := range all {
		if mirrored(route.Family, route.Table, route.Tos, uint32(route.Flags)) {
			table.insert(entryOf(route), true, false)
		}
	}
	r.mu.Lock()
	r.table = table
	r.mu.Unlock()
	return nil
}

func (r *Routes) handle(messages []syscall.NetlinkMessage, err error) {
	again := err != nil
	r.mu.Lock()
	touched := false
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			if e, ok := parseEntry(m.Data); ok {
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
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

// apply changes the table by one message, and says whether it could. r.mu is held.
func (r *Routes) apply(e entry, header syscall.NlMsghdr) bool {
	if header.Type == unix.RTM_DELROUTE {
		return r.table.remove(e)
	}
	r.table.insert(e, header.Flags&unix.NLM_F_APPEND != 0, header.Flags&unix.NLM_F_REPLACE != 0)
	return header.Flags&unix.NLM_F_APPEND == 0
}

// Lookup gives the longest match, false if there is none. As in the kernel the
// local table answers first, and the lowest metric wins within a prefix.
func (r *Routes) Lookup(destination netip.Addr) (Route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.lookup(destination.Unmap(), func(*entry) bool { return true })
}

// LookupWithout is Lookup over the routes that we did not install: the routed
// path.
func (r *Routes) LookupWithout(destination netip.Addr) (Route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.lookup(destination.Unmap(), func(e *entry) bool { return !e.route.NHRP })
}

// Around gives the route that packets to a prefix take where it has none of its own, false if
// there is none. One that says unreachable is none.
func (r *Routes) Around(p netip.Prefix) (Route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.lookup(p.Addr().Unmap(), func(e *entry) bool { return e.route.Prefix.Bits() < p.Bits() && !e.route.Unreachable })
}

// By gives the route that packets take which are bound to a device, false if there is none; ours
// and what says unreachable are left out.
func (r *Routes) By(destination netip.Addr, ifindex int) (Route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.lookup(destination.Unmap(), func(e *entry) bool {
		return e.route.IfIndex == ifindex && !e.route.NHRP && !e.route.Unreachable
	})
}

// Inside gives the prefixes more specific than p and inside it, each once, by
// address and length; our own addresses are not among them.
func (r *Routes) Inside(p netip.Prefix) []netip.Prefix {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.inside(p.Masked())
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
