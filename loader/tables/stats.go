// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Stats is what was counted for a peer since it was admitted, BPF and the slow
// path together. Octets are those of inner packets. A zero time is never.
type Stats struct {
	RxPackets, RxBytes uint64
	RxLast             time.Time
	TxPackets, TxBytes uint64
	TxLast             time.Time
}

// Stats sums the counters of the peer over the CPUs. Stamps are turned from the
// monotonic clock into times; they are exact to a few milliseconds.
func (t *Tables) Stats(id PeerID) (Stats, error) {
	var each []statsValue
	if err := t.stats.Lookup(uint32(id), &each); err != nil {
		return Stats{}, fmt.Errorf("tables: read %s of peer %d: %w", MapStats, id, err)
	}
	t.mu.Lock()
	if slow := t.inGo[id]; slow != nil {
		each = append(each, *slow)
	}
	t.mu.Unlock()
	var sum statsValue
	for _, v := range each {
		sum.RxPackets += v.RxPackets
		sum.RxBytes += v.RxBytes
		sum.RxLastNs = max(sum.RxLastNs, v.RxLastNs)
		sum.TxPackets += v.TxPackets
		sum.TxBytes += v.TxBytes
		sum.TxLastNs = max(sum.TxLastNs, v.TxLastNs)
	}
	now, mono := time.Now(), monotonic()
	return Stats{
		RxPackets: sum.RxPackets, RxBytes: sum.RxBytes, RxLast: stamp(now, mono, sum.RxLastNs),
		TxPackets: sum.TxPackets, TxBytes: sum.TxBytes, TxLast: stamp(now, mono, sum.TxLastNs),
	}, nil
}

// stamp turns a reading of the monotonic clock into a time.
func stamp(now time.Time, mono, ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return now.Add(-time.Duration(int64(mono - ns)))
}

// monotonic reads the clock of bpf_ktime_get_coarse_ns, in nanoseconds: it is the runtime's
// too, which reads it without a system call.
func monotonic() uint64 { return started.ns + uint64(time.Since(started.at)) }

// started is one moment on both.
var started = func() (s struct {
	at time.Time
	ns uint64
}) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err == nil {
		s.ns = uint64(ts.Nano())
	}
	s.at = time.Now()
	return s
}()

// clearStats sets the counters of an id to 0 on every CPU. t.mu is held.
func (t *Tables) clearStats(id PeerID) error {
	var each []statsValue
	if err := t.stats.Lookup(uint32(id), &each); err != nil {
		return fmt.Errorf("tables: read %s of peer %d: %w", MapStats, id, err)
	}
	clear(each)
	if err := t.stats.Put(uint32(id), each); err != nil {
		return fmt.Errorf("tables: write %s of peer %d: %w", MapStats, id, err)
	}
	delete(t.inGo, id)
	return nil
}

// CountReceived counts a packet that the slow path took from a peer: octets of
// the inner packet. It counts here and not in the map, whose per-CPU values
// only BPF can change without losing another's; a restart of the daemon forgets
// these few.
func (t *Tables) CountReceived(id PeerID, octets int) { t.CountReceivedMany(id, 1, octets) }

// CountReceivedMany is CountReceived for several packets, octets those of all.
func (t *Tables) CountReceivedMany(id PeerID, packets, octets int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.slow(id)
	v.RxPackets += uint64(packets)
	v.RxBytes += uint64(octets)
	v.RxLastNs = monotonic()
}

// CountSent is CountReceived for what the slow path sent.
func (t *Tables) CountSent(id PeerID, octets int) { t.CountSentMany(id, 1, octets) }

// CountSentMany is CountSent for several packets, octets those of all.
func (t *Tables) CountSentMany(id PeerID, packets, octets int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.slow(id)
	v.TxPackets += uint64(packets)
	v.TxBytes += uint64(octets)
	v.TxLastNs = monotonic()
}

// slow gives the counters of the slow path for a peer; those of an id that is
// not in use are forgotten at once. t.mu is held.
func (t *Tables) slow(id PeerID) *statsValue {
	v := t.inGo[id]
	if v == nil {
		v = new(statsValue)
		if _, ok := t.peers[id]; ok {
			t.inGo[id] = v
		}
	}
	return v
}
