// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"

	"dmvpn/loader/kernel"
)

// beside lets routes of ours stand beside FRR's of the same prefix: as its two halves, which
// are more specific. A single address has none: its route stands in the table that the kernel
// asks before the main one, and that zebra does not look at. The service's loop alone calls it.
//
// Zebra's route of a prefix is not seen where ours of it was first. So where zebra has any route
// by the device, all of ours stand as if it had theirs too.
type beside struct {
	host   *kernel.Host
	zebra  func(netip.Prefix) bool // it has a route of that prefix
	busy   func() bool             // it has any route by the device
	routes map[netip.Prefix]netip.Addr
	first  map[netip.Prefix]bool       // of routes: in the table before the main one
	halved map[netip.Prefix]bool       // of routes
	left   map[netip.Prefix]netip.Addr // of the run before, until someone says something of them; nil: not read yet
}

func newBeside(h *kernel.Host, zebra func(netip.Prefix) bool, busy func() bool) *beside {
	return &beside{
		host: h, zebra: zebra, busy: busy,
		routes: map[netip.Prefix]netip.Addr{}, first: map[netip.Prefix]bool{}, halved: map[netip.Prefix]bool{},
	}
}

// shared says whether zebra has a route of the prefix, or may have one that ours would hide.
func (b *beside) shared(p netip.Prefix) bool { return b.busy() || b.zebra(p) }

// halves gives the two that make up a prefix.
func halves(p netip.Prefix) [2]netip.Prefix {
	bits := p.Bits()
	upper := p.Masked().Addr().AsSlice()
	upper[bits/8] |= 0x80 >> (bits % 8)
	a, _ := netip.AddrFromSlice(upper)
	return [2]netip.Prefix{netip.PrefixFrom(p.Masked().Addr(), bits+1), netip.PrefixFrom(a, bits+1)}
}

// origin gives the prefix that a route of ours is a half of, or its own.
func (b *beside) origin(p netip.Prefix) netip.Prefix {
	if _, own := b.routes[p]; own && !b.halved[p] || p.Bits() == 0 {
		return p
	}
	wider, _ := p.Addr().Prefix(p.Bits() - 1)
	if _, before := b.left[p]; b.halved[wider] || before && b.leftHalved(wider) {
		return wider
	}
	return p
}

// take takes over what the run before left of a prefix, and says whether that are its halves.
func (b *beside) take(p netip.Prefix, ifindex int) (bool, error) {
	if b.left == nil {
		routes, err := b.host.OwnRoutes(ifindex)
		if err != nil {
			return false, err
		}
		b.left = map[netip.Prefix]netip.Addr{}
		for _, r := range routes {
			b.left[r.Prefix] = r.NextHop
		}
	}
	halved := b.leftHalved(p)
	if delete(b.left, p); halved {
		for _, h := range halves(p) {
			delete(b.left, h)
		}
	}
	return halved, nil
}

// leftHalved says whether the run before left a prefix as its halves: both by one next hop, or
// one beside zebra's.
func (b *beside) leftHalved(p netip.Prefix) bool {
	if p.IsSingleIP() {
		return false
	}
	h := halves(p)
	lower, one := b.left[h[0]]
	upper, other := b.left[h[1]]
	switch {
	case one && other:
		return lower == upper
	case one:
		return b.zebra(h[1])
	case other:
		return b.zebra(h[0])
	}
	return false
}

// install installs a route, or puts another next hop into it.
func (b *beside) install(p netip.Prefix, nextHop netip.Addr, ifindex int) error {
	p = p.Masked()
	before, err := b.take(p, ifindex)
	if err != nil {
		return err
	}
	b.routes[p] = nextHop
	was, is := b.halved[p] || before, !p.IsSingleIP() && b.shared(p)
	if delete(b.halved, p); is {
		b.halved[p] = true
	}
	if delete(b.first, p); p.IsSingleIP() && b.shared(p) {
		b.first[p] = true
	}
	// What is to stand comes before what is to go: no packet finds neither.
	switch {
	case is:
		h := halves(p)
		return b.settle(ifindex, h[0], h[1], p)
	case was:
		h := halves(p)
		return b.settle(ifindex, p, h[0], h[1])
	}
	return b.settle(ifindex, p)
}

// standing gives the prefixes by which the kernel has a route of ours alone.
func (b *beside) standing(p netip.Prefix) []netip.Prefix {
	p = p.Masked()
	if !b.halved[p] {
		return []netip.Prefix{p}
	}
	h := halves(p)
	return slices.DeleteFunc(h[:], func(q netip.Prefix) bool {
		_, own := b.routes[q]
		return own || b.zebra(q)
	})
}

// remove removes a route, also one of the daemon before.
func (b *beside) remove(p netip.Prefix, ifindex int) error {
	p = p.Masked()
	before, err := b.take(p, ifindex)
	if err != nil {
		return err
	}
	was := b.halved[p] || before
	delete(b.routes, p)
	delete(b.halved, p)
	delete(b.first, p)
	if !was {
		return b.settle(ifindex, p)
	}
	h := halves(p)
	return b.settle(ifindex, p, h[0], h[1])
}

// settle makes the kernel's routes of prefixes what they are to be, in order.
func (b *beside) settle(ifindex int, list ...netip.Prefix) error {
	for _, p := range list {
		if err := b.settleOne(p, ifindex); err != nil {
			return err
		}
	}
	return nil
}

// settleOne: a route's own next hop comes before that of a wider one's half, and a half gives
// way to zebra's route, which is more specific than the whole.
func (b *beside) settleOne(p netip.Prefix, ifindex int) error {
	nextHop, ok := b.routes[p]
	if ok = ok && !b.halved[p]; !ok && p.Bits() > 0 {
		wider, _ := p.Addr().Prefix(p.Bits() - 1)
		nextHop, ok = b.routes[wider], b.halved[wider] && !b.zebra(p)
	}
	switch {
	case ok && p.IsSingleIP() && b.shared(p):
		return b.host.InstallRouteFirst(p, nextHop, ifindex)
	case ok:
		return b.host.InstallRoute(p, nextHop, ifindex)
	}
	return b.host.RemoveRoute(p, ifindex)
}

// whole puts halves together again in what the kernel has. What stands as if zebra had no route
// of the prefix, and it has now, is left out, so that it is installed again.
func (b *beside) whole(installed map[netip.Prefix]netip.Addr) {
	for p := range b.routes {
		if !b.halved[p] && !b.first[p] && b.shared(p) {
			delete(installed, p)
		}
	}
	for p := range b.halved {
		complete := true
		for _, h := range halves(p) {
			if _, own := b.routes[h]; own || b.zebra(h) {
				continue
			}
			complete = complete && installed[h] == b.routes[p]
			delete(installed, h)
		}
		if complete {
			installed[p] = b.routes[p]
		}
	}
}
