// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"dmvpn/loader/tables"
)

// audience is who gets copies of what the tunnel sends to many: the peers of next hops that
// NHRP says so of. It is safe for concurrent use.
type audience struct {
	mu    sync.Mutex
	hops  map[netip.Addr]tables.PeerID
	lists [2][]tables.PeerID // of IPv4's hops and of IPv6's, each once; never changed, but replaced
	stale bool               // lists are not what hops say
}

// set lets the peer of a next hop get multicast, or not. It says whether that is news to a
// peer that gets it, and which one got it before and does no more.
func (a *audience) set(hop netip.Addr, id tables.PeerID, gets bool) (joins bool, was tables.PeerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old, had := a.hops[hop]
	switch {
	case gets == had && (!gets || old == id):
		return false, 0
	case !gets:
		delete(a.hops, hop)
	default:
		if a.hops == nil {
			a.hops = map[netip.Addr]tables.PeerID{}
		}
		a.hops[hop] = id
	}
	a.stale = true
	return gets, old
}

// peers gives who gets IPv6's multicast or IPv4's, lowest id first; the caller must not
// change the list. It is made when it is asked for: thousands register at once.
func (a *audience) peers(six bool) []tables.PeerID {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stale {
		var lists [2][]tables.PeerID
		for hop, id := range a.hops {
			at := index(hop.Is6())
			lists[at] = append(lists[at], id)
		}
		for at := range lists {
			slices.Sort(lists[at])
			a.lists[at] = slices.Compact(lists[at])
		}
		a.stale = false
	}
	return a.lists[index(six)]
}

// members gives the next hops with their peers.
func (a *audience) members() map[netip.Addr]tables.PeerID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.hops)
}
