// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
)

// Reason says why a packet was dropped. Once released, numbers are never reused.
type Reason uint32

// The reasons of bpf/include/drop.h; a test compares the two lists.
const (
	DropNone          Reason = 0
	DropTruncated     Reason = 1
	DropGREReserved   Reason = 2
	DropGRERouting    Reason = 3
	DropGREVersion    Reason = 4
	DropUnknownTunnel Reason = 5
	DropUnknownPeer   Reason = 6
	DropInnerProtocol Reason = 7
	DropInnerHeader   Reason = 8
	DropECN           Reason = 9
	DropNoRoute       Reason = 10
	DropNoNextHop     Reason = 11
	DropTooBig        Reason = 12
	DropAdjustRoom    Reason = 13
	DropPeerDown      Reason = 14
	DropCleartext     Reason = 15
	DropMulticast     Reason = 16
	DropRecursion     Reason = 17
	DropQueueFull     Reason = 18
	DropSlowPath      Reason = 19
	DropNoSA          Reason = 20
	DropReplay        Reason = 21
	DropIntegrity     Reason = 22
	DropUnknownSPI    Reason = 23
	DropSpoofed       Reason = 24
	DropMulticastRate Reason = 25
)

var reasonNames = []string{
	"none", "truncated", "gre-reserved", "gre-routing", "gre-version", "unknown-tunnel", "unknown-peer",
	"inner-protocol", "inner-header", "ecn", "no-route", "no-nexthop", "too-big", "adjust-room", "peer-down",
	"cleartext", "multicast", "recursion", "queue-full", "slow-path",
	"no-sa", "replay", "integrity", "unknown-spi", "spoofed", "multicast-rate",
}

// String gives the name of drop.h, in lower case with hyphens.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason-%d", uint32(r))
}

// Drop is how much was dropped, of one peer for one reason. Peer is 0 where the
// peer is not known.
type Drop struct {
	Peer           PeerID
	Reason         Reason
	Packets, Bytes uint64
}

// Drops gives every counter that is not 0, BPF and the slow path together, by
// peer and reason.
func (t *Tables) Drops() ([]Drop, error) {
	sum := map[dropKey]dropValue{}
	add := func(key dropKey, v dropValue) {
		s := sum[key]
		sum[key] = dropValue{s.Packets + v.Packets, s.Bytes + v.Bytes}
	}
	var key dropKey
	var each []dropValue
	it := t.drop.Iterate()
	for it.Next(&key, &each) {
		for _, v := range each {
			add(key, v)
		}
	}
	// The programs evict while we read: an iteration cut short gives what it saw.
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("tables: read %s: %w", MapDrop, err)
	}
	t.mu.Lock()
	for key, v := range t.goDrop {
		add(key, *v)
	}
	t.mu.Unlock()
	out := make([]Drop, 0, len(sum))
	for key, v := range sum {
		if v.Packets > 0 {
			out = append(out, Drop{PeerID(key.Peer), Reason(key.Reason), v.Packets, v.Bytes})
		}
	}
	slices.SortFunc(out, func(a, b Drop) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Reason, b.Reason))
	})
	return out, nil
}

// CountDrop counts a packet that the slow path dropped. Peers that are not
// known count as peer 0, so that the list stays bounded.
func (t *Tables) CountDrop(id PeerID, reason Reason, octets int) { t.CountDrops(id, reason, 1, octets) }

// CountDrops is CountDrop for several packets, octets those of all.
func (t *Tables) CountDrops(id PeerID, reason Reason, packets, octets int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.peers[id]; !ok {
		id = 0
	}
	key := dropKey{uint32(id), uint32(reason)}
	v := t.goDrop[key]
	if v == nil {
		v = new(dropValue)
		t.goDrop[key] = v
	}
	v.Packets += uint64(packets)
	v.Bytes += uint64(octets)
}
