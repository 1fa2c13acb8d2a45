// SPDX-License-Identifier: Apache-2.0

package main

import "net/netip"

// linkLocal is the link-local address that goes with an IPv6 address of the overlay: routing
// daemons talk by it. All members make it in the same way, of the last 64 bits, so that whoever
// knows a member's address knows this one; invalid for an IPv4 address.
func linkLocal(a netip.Addr) netip.Addr {
	if !a.Is6() || a.IsLinkLocalUnicast() {
		return netip.Addr{}
	}
	b := a.As16()
	copy(b[:8], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
	return netip.AddrFrom16(b)
}

// global is the address of the overlay that a link-local one goes with, as members make theirs:
// routing daemons have next hops of the one kind, and NHRP speaks of the other. own is our own
// address. What belongs to nobody in the overlay's prefix stays what it is.
func global(own netip.Prefix, a netip.Addr) netip.Addr {
	if !own.Addr().Is6() || !a.Is6() || !a.IsLinkLocalUnicast() {
		return a
	}
	b, l := own.Addr().As16(), a.As16()
	copy(b[8:], l[8:])
	if g := netip.AddrFrom16(b); own.Contains(g) {
		return g
	}
	return a
}

// described is the next hop by which the tables describe a peer: none, and what they have
// stays, for a link-local one.
func described(hop netip.Addr) netip.Addr {
	if hop.Is6() && hop.IsLinkLocalUnicast() {
		return netip.Addr{}
	}
	return hop
}

// deviceAddresses are those of a tunnel's device: ours in the overlay, and the link-local one.
func deviceAddresses(own []netip.Prefix) (all []netip.Prefix) {
	for _, p := range own {
		all = append(all, p)
		if a := linkLocal(p.Addr()); a.IsValid() {
			all = append(all, netip.PrefixFrom(a, 64))
		}
	}
	return all
}
