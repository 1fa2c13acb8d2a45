// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"container/heap"
	"time"
)

// Queue orders keys by their deadline: instants on the owner's clock. Equal
// deadlines come in the order of the keys, so that the order does not depend on
// when they were put in. It is not safe for concurrent use.
type Queue[K comparable] struct {
	compare func(a, b K) int
	items   []*item[K]
	index   map[K]*item[K]
}

type item[K comparable] struct {
	key K
	at  time.Duration
	pos int
}

// NewQueue makes an empty queue; compare is a total order of the keys.
func NewQueue[K comparable](compare func(a, b K) int) *Queue[K] {
	return &Queue[K]{compare: compare, index: make(map[K]*item[K])}
}

// Set gives a key its deadline, in place of an earlier one.
func (q *Queue[K]) Set(key K, at time.Duration) {
	if it, ok := q.index[key]; ok {
		it.at = at
		heap.Fix((*order[K])(q), it.pos)
		return
	}
	it := &item[K]{key: key, at: at}
	q.index[key] = it
	heap.Push((*order[K])(q), it)
}

// Remove forgets a key; an unknown one is nothing.
func (q *Queue[K]) Remove(key K) {
	if it, ok := q.index[key]; ok {
		heap.Remove((*order[K])(q), it.pos)
		delete(q.index, key)
	}
}

// Next is the earliest deadline and its key, false if the queue is empty.
func (q *Queue[K]) Next() (key K, at time.Duration, ok bool) {
	if len(q.items) == 0 {
		return key, 0, false
	}
	return q.items[0].key, q.items[0].at, true
}

// Due takes out the earliest key whose deadline is not after now, false if there
// is none.
func (q *Queue[K]) Due(now time.Duration) (key K, ok bool) {
	key, at, ok := q.Next()
	if !ok || at > now {
		return key, false
	}
	q.Remove(key)
	return key, true
}

// Len is the number of keys.
func (q *Queue[K]) Len() int { return len(q.items) }

// order is the queue as container/heap wants it.
type order[K comparable] Queue[K]

func (o *order[K]) Len() int { return len(o.items) }

func (o *order[K]) Less(i, j int) bool {
	a, b := o.items[i], o.items[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return o.compare(a.key, b.key) < 0
}

func (o *order[K]) Swap(i, j int) {
	o.items[i], o.items[j] = o.items[j], o.items[i]
	o.items[i].pos, o.items[j].pos = i, j
}

func (o *order[K]) Push(x any) {
	it := x.(*item[K])
	it.pos = len(o.items)
	o.items = append(o.items, it)
}

func (o *order[K]) Pop() any {
	last := o.items[len(o.items)-1]
	o.items[len(o.items)-1] = nil
	o.items = o.items[:len(o.items)-1]
	return last
}
