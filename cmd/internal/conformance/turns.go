// SPDX-License-Identifier: Apache-2.0

package conformance

import "sync"

// turns are of many cases that run together, or of one that runs alone. A sync.RWMutex would do, but
// in virtual time no time passes for who waits for a lock.
type turns struct {
	mu       sync.Mutex
	changed  *sync.Cond
	together int
	alone    bool
	wanted   int // by how many that want to be alone: others wait for them
}

func newTurns() *turns {
	x := &turns{}
	x.changed = sync.NewCond(&x.mu)
	return x
}

// take waits for a turn, and gives what ends it.
func (x *turns) take(alone bool) (end func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !alone {
		for x.wanted > 0 {
			x.changed.Wait()
		}
		x.together++
		return func() { x.end(func() { x.together-- }) }
	}
	for x.wanted++; x.alone || x.together > 0; {
		x.changed.Wait()
	}
	x.alone = true
	return func() { x.end(func() { x.alone, x.wanted = false, x.wanted-1 }) }
}

func (x *turns) end(change func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	change()
	x.changed.Broadcast()
}
