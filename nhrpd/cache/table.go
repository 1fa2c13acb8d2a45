// SPDX-License-Identifier: Apache-2.0

// Package cache holds what NHRP learns: entries per prefix, found by the longest
// match and thrown away in the order of their end (RFC 2332, section 5.2.0.1:
// what has expired is thrown away). Time is handed in, as an instant on the
// owner's clock.
package cache

import (
	"iter"
	"net/netip"
	"time"

	"github.com/gaissmai/bart"
)

// Table maps prefixes to entries with an end. Prefixes are masked, addresses
// unmapped. It is not safe for concurrent use; a Table is made by NewTable.
type Table[V any] struct {
	prefixes bart.Table[V]
	ends     *Queue[netip.Prefix]
}

// NewTable makes an empty table.
func NewTable[V any]() *Table[V] {
	return &Table[V]{ends: NewQueue(netip.Prefix.Compare)}
}

// Put stores an entry until end, in place of an earlier one of the same prefix.
func (t *Table[V]) Put(p netip.Prefix, v V, end time.Duration) {
	p = p.Masked()
	t.prefixes.Insert(p, v)
	t.ends.Set(p, end)
}

// Get finds the entry of exactly this prefix.
func (t *Table[V]) Get(p netip.Prefix) (V, bool) { return t.prefixes.Get(p.Masked()) }

// Lookup finds the entry of the longest prefix that has the address.
func (t *Table[V]) Lookup(a netip.Addr) (netip.Prefix, V, bool) {
	if !a.IsValid() {
		var none V
		return netip.Prefix{}, none, false
	}
	return t.prefixes.LookupPrefixLPM(netip.PrefixFrom(a, a.BitLen()))
}

// Delete removes the entry of exactly this prefix.
func (t *Table[V]) Delete(p netip.Prefix) {
	p = p.Masked()
	t.prefixes.Delete(p)
	t.ends.Remove(p)
}

// Expired takes out the entry that ended first, if it ended by now.
func (t *Table[V]) Expired(now time.Duration) (p netip.Prefix, v V, ok bool) {
	if p, ok = t.ends.Due(now); !ok {
		return p, v, false
	}
	v, _ = t.prefixes.Get(p)
	t.prefixes.Delete(p)
	return p, v, true
}

// First is the entry that ends first, false if the table is empty.
func (t *Table[V]) First() (p netip.Prefix, end time.Duration, ok bool) { return t.ends.Next() }

// All gives every entry, IPv4 first, in the order of the addresses. The table
// must not be changed meanwhile.
func (t *Table[V]) All() iter.Seq2[netip.Prefix, V] { return t.prefixes.AllSorted() }

// Overlapping collects the prefixes of the entries that share an address with
// p: those inside it and those around it.
func (t *Table[V]) Overlapping(p netip.Prefix) []netip.Prefix {
	var found []netip.Prefix
	p = p.Masked()
	for q := range t.prefixes.Supernets(p) {
		if q != p {
			found = append(found, q)
		}
	}
	for q := range t.prefixes.Subnets(p) {
		found = append(found, q)
	}
	return found
}

// Len is the number of entries.
func (t *Table[V]) Len() int { return t.prefixes.Size() }
