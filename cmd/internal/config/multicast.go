// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// Multicast says who gets copies of what a tunnel sends to many. The zero value: nobody.
type Multicast struct {
	Dynamic   bool         // servers that are up, and the clients that registered
	Addresses []netip.Addr // and these peers, by an address in the tunnel or of the underlay
	Rate      int          // copies a second
	Burst     int          // copies at once
}

// None says that the tunnel sends none and wants none.
func (m Multicast) None() bool { return !m.Dynamic && len(m.Addresses) == 0 }

// Bounds of multicast.
const (
	DefaultMulticastRate = 10000
	maxMulticastRate     = 10_000_000
	maxMulticastPeers    = 1024
)

// multicast reads "dynamic", "none" or an array of addresses, which may have "dynamic" among
// them; own are our addresses in the tunnel.
func (t *table) multicast(own []netip.Prefix) Multicast {
	const remedy = `write "dynamic", "none", or an array of peers' addresses such as ["10.0.0.12"], which may have "dynamic" among them`
	m := Multicast{Rate: DefaultMulticastRate}
	if n, ok := t.number("multicast-rate", 1, maxMulticastRate); ok {
		m.Rate = int(n)
	}
	m.Burst = m.Rate
	if n, ok := t.number("multicast-burst", 1, maxMulticastRate); ok {
		m.Burst = int(n)
	}
	path := join(t.path, "multicast")
	switch v := t.values["multicast"].(type) {
	case nil:
		t.asked = append(t.asked, "multicast")
		m.Dynamic = true
	case []any:
		t.texts("multicast", remedy, func(at, s string) { m.add(t, at, s, own, remedy) })
		if len(v) == 0 {
			t.doc.failValue(path, "an empty array", `write "none" if nobody is to get multicast`)
		}
		if len(v) > maxMulticastPeers {
			t.doc.failValue(path, fmt.Sprintf("%d peers", len(v)), fmt.Sprintf(`write at most %d, or "dynamic"`, maxMulticastPeers))
		}
	default:
		switch s := t.text("multicast", remedy); s {
		case "dynamic":
			m.Dynamic = true
		case "none", "":
		default:
			t.doc.failValue(path, fmt.Sprintf("%q is not offered", s), remedy)
		}
	}
	return m
}

// add takes one element of the array.
func (m *Multicast) add(t *table, at, s string, own []netip.Prefix, remedy string) {
	if s == "dynamic" {
		m.Dynamic = true
		return
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil || !unicast(a):
		t.doc.failValue(at, fmt.Sprintf("%q is not the address of a peer", s), remedy)
	case slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr() == a }):
		t.doc.failValue(at, fmt.Sprintf("%v is our own address", a), "write the peer's address")
	case slices.Contains(m.Addresses, a):
		t.doc.failValue(at, fmt.Sprintf("%v is there twice", a), "leave one out")
	default:
		m.Addresses = append(m.Addresses, a)
	}
}
