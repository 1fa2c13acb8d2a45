// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// place is where entries of one prefix stand: in the order in which the kernel
// asks them.
type place struct {
	table  int
	prefix netip.Prefix
}

// routeTable holds the entries of several tables. The zero value is empty.
// It is searched length by length: a look-up in a hash for each length that
// there is, in a place where packets do not pass.
type routeTable struct {
	entries map[place][]entry
	lengths [2][129]int // how many places of this prefix length, of IPv4 and of IPv6
	zebras  map[int]int // how many entries zebra has by each device
}

// insert adds the entry: in front of those of its metric, behind them with
// last, in place of the first of them with replace.
func (t *routeTable) insert(e entry, last, replace bool) {
	if t.entries == nil {
		t.entries, t.zebras = map[place][]entry{}, map[int]int{}
	}
	at := place{e.table, e.route.Prefix}
	list := t.entries[at]
	if len(list) == 0 {
		*t.length(e.route.Prefix)++
	}
	i := 0
	for i < len(list) && (list[i].metric < e.metric || last && list[i].metric == e.metric) {
		i++
	}
	if replace && i < len(list) && list[i].metric == e.metric {
		t.count(list[i], -1)
		list[i] = e
		t.count(e, 1)
	} else if !slices.Contains(list, e) {
		list = slices.Insert(list, i, e)
		t.count(e, 1)
	}
	t.entries[at] = list
}

// count notes that an entry has come or gone.
func (t *routeTable) count(e entry, n int) {
	if ofZebra(e.protocol) {
		t.zebras[e.route.IfIndex] += n
	}
}

// length counts the places of a prefix's length and family.
func (t *routeTable) length(p netip.Prefix) *int {
	if p.Addr().Is4() {
		return &t.lengths[0][p.Bits()]
	}
	return &t.lengths[1][p.Bits()]
}

// remove takes the entry out, and says whether it was there.
func (t *routeTable) remove(e entry) bool {
	at := place{e.table, e.route.Prefix}
	list := t.entries[at]
	i := slices.Index(list, e)
	switch {
	case i < 0:
	case len(list) == 1:
		delete(t.entries, at)
		*t.length(e.route.Prefix)--
	default:
		t.entries[at] = slices.Delete(list, i, i+1)
	}
	if i >= 0 {
		t.count(e, -1)
	}
	return i >= 0
}

// lookup gives the route that the kernel would take among those that keep
// admits.
func (t *routeTable) lookup(order []int, destination netip.Addr, keep func(*entry) bool) (Route, bool) {
	for _, table := range order {
		e := t.longest(table, destination, keep)
		if e == nil || e.kind == unix.RTN_THROW {
			continue
		}
		route := e.route
		if !route.NextHop.IsValid() && route.IfIndex != 0 {
			route.NextHop = destination
		}
		return route, true
	}
	return Route{}, false
}

func (t *routeTable) longest(table int, destination netip.Addr, keep func(*entry) bool) *entry {
	for bits := destination.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(destination, bits).Masked()
		if *t.length(p) == 0 {
			continue
		}
		list := t.entries[place{table, p}]
		for i := range list {
			if keep(&list[i]) {
				return &list[i]
			}
		}
	}
	return nil
}

// inside gives the prefixes of the tables below p, each once; our own addresses are not among them.
func (t *routeTable) inside(order []int, p netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for at, list := range t.entries {
		if at.table == unix.RT_TABLE_LOCAL || !slices.Contains(order, at.table) || at.prefix.Bits() <= p.Bits() || !p.Contains(at.prefix.Addr()) {
			continue
		}
		// The table of a VRF has its addresses too.
		if slices.ContainsFunc(list, func(e entry) bool { return !e.route.Local }) {
			out = append(out, at.prefix)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	return slices.Compact(out)
}
