// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"iter"
	"slices"
	"time"
)

// Map is a map whose entries have a deadline. All goes through it in the order
// of the keys. It is not safe for concurrent use; a Map is made by NewMap.
type Map[K comparable, V any] struct {
	compare func(a, b K) int
	entries map[K]V
	times   *Queue[K]
}

// NewMap makes an empty map; compare is a total order of the keys.
func NewMap[K comparable, V any](compare func(a, b K) int) *Map[K, V] {
	return &Map[K, V]{compare: compare, entries: make(map[K]V), times: NewQueue(compare)}
}

// Put stores an entry and its deadline, in place of an earlier one.
func (m *Map[K, V]) Put(k K, v V, at time.Duration) {
	m.entries[k] = v
	m.times.Set(k, at)
}

// Get finds an entry.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.entries[k]
	return v, ok
}

// Delete removes an entry; an unknown one is nothing.
func (m *Map[K, V]) Delete(k K) {
	delete(m.entries, k)
	m.times.Remove(k)
}

// Due finds the earliest entry whose deadline is not after now. The entry stays:
// the caller puts it again with its next deadline, or deletes it.
func (m *Map[K, V]) Due(now time.Duration) (k K, v V, ok bool) {
	k, at, ok := m.times.Next()
	if !ok || at > now {
		return k, v, false
	}
	return k, m.entries[k], true
}

// First is the entry with the earliest deadline, false if the map is empty.
func (m *Map[K, V]) First() (k K, at time.Duration, ok bool) { return m.times.Next() }

// All gives every entry in the order of the keys. Entries may be deleted
// meanwhile.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	keys := make([]K, 0, len(m.entries))
	for k := range m.entries {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, m.compare)
	return func(yield func(K, V) bool) {
		for _, k := range keys {
			if v, ok := m.entries[k]; ok && !yield(k, v) {
				return
			}
		}
	}
}

// Len is the number of entries.
func (m *Map[K, V]) Len() int { return len(m.entries) }
