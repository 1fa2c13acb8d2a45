// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"cmp"
	"sync"
	"time"
)

// bucket lets rate events a second by, and burst at once after a pause.
type bucket struct {
	rate  float64
	burst float64 // 0: rate

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func (b *bucket) take(now time.Time) bool { return b.takeMany(now, 1) }

// takeMany lets n events by together, or none. They may be more than a burst: what is
// missing is waited for afterwards.
func (b *bucket) takeMany(now time.Time, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	burst := cmp.Or(b.burst, b.rate)
	if b.last.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	}
	b.last = now
	if b.tokens < min(float64(n), burst) {
		return false
	}
	b.tokens -= float64(n)
	return true
}
