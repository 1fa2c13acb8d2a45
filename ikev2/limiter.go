// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"net/netip"
	"time"
)

// Implementation constants of the log.
const (
	logBurst = 20          // lines of one peer at once
	logEvery = time.Second // then one more
	logPeers = 1024        // that are told apart; all others share one allowance
)

// limiter shares the log out among peers, by their address. Warnings have an
// allowance of their own, so that chatter cannot hide them.
type limiter struct {
	peers  map[logKey]*allowance
	walked time.Time // when those were dropped that were quiet
}

type logKey struct {
	peer    netip.Addr // invalid: whoever has no place of its own
	warning bool
}

// allowance is a token bucket.
type allowance struct {
	tokens float64
	at     time.Time
	denied uint64 // since the last line
}

func newLimiter() limiter { return limiter{peers: map[logKey]*allowance{}} }

// allow says whether one more line of the peer may be written, and how many were
// left out since the last one.
func (l *limiter) allow(now time.Time, peer netip.Addr, warning bool) (ok bool, before uint64) {
	key := logKey{peer, warning}
	a := l.peers[key]
	if a == nil && len(l.peers) >= logPeers {
		if now.Sub(l.walked) >= logEvery {
			l.forget(now)
		}
		if len(l.peers) >= logPeers {
			key.peer = netip.Addr{}
			a = l.peers[key]
		}
	}
	if a == nil {
		a = &allowance{tokens: logBurst, at: now}
		l.peers[key] = a
	}
	if !a.take(now, logBurst, logEvery) {
		a.denied++
		return false, 0
	}
	before, a.denied = a.denied, 0
	return true, before
}

// forget drops those whose allowance is whole again. How many lines of theirs were left
// out is in the counter of all.
func (l *limiter) forget(now time.Time) {
	l.walked = now
	for key, a := range l.peers {
		if now.Sub(a.at) > logBurst*logEvery {
			delete(l.peers, key)
		}
	}
}

// take takes a token of at most burst, which come back one each period.
func (a *allowance) take(now time.Time, burst int, every time.Duration) bool {
	if d := now.Sub(a.at); d > 0 {
		a.tokens = min(float64(burst), a.tokens+float64(d)/float64(every))
		a.at = now
	}
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}
