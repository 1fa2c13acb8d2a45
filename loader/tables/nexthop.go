// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// NextHop says which peer gets what is routed to an overlay address.
type NextHop struct {
	Tunnel  int
	Address netip.Addr
	Peer    PeerID
}

func hopKey(tunnel int, nextHop netip.Addr) nextHopKey {
	return nextHopKey{NextHop: toAddress(nextHop), TunnelIfIndex: uint32(tunnel)}
}

// Bind sends data for the overlay next hop to the peer, which must be one of
// the tunnel's. A next hop that was bound elsewhere changes in one step.
func (t *Tables) Bind(tunnel int, nextHop netip.Addr, id PeerID) error {
	if !nextHop.IsValid() {
		return fmt.Errorf("tables: bind of peer %d: no next hop", id)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if peer, ok := t.peers[id]; !ok || peer.TunnelIfIndex != uint32(tunnel) {
		return fmt.Errorf("tables: bind %s on tunnel %d: peer %d: %w", nextHop, tunnel, id, ErrUnknown)
	}
	key := hopKey(tunnel, nextHop)
	if t.hops[key] == id {
		return nil
	}
	if err := t.nextHop.Put(key, uint32(id)); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapNextHop, err)
	}
	t.hops[key] = id
	return nil
}

// Unbind ends data for the next hop; what its peer sends is still accepted. A
// next hop that is not bound is no error.
func (t *Tables) Unbind(tunnel int, nextHop netip.Addr) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := hopKey(tunnel, nextHop)
	if err := absent(t.nextHop.Delete(key)); err != nil {
		return fmt.Errorf("tables: delete from %s: %w", MapNextHop, err)
	}
	delete(t.hops, key)
	return nil
}

// Bound gives the peer of the next hop, false if it has none.
func (t *Tables) Bound(tunnel int, nextHop netip.Addr) (PeerID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id, ok := t.hops[hopKey(tunnel, nextHop)]
	return id, ok
}

// NextHops gives all next hops of all tunnels, by tunnel and address.
func (t *Tables) NextHops() []NextHop {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]NextHop, 0, len(t.hops))
	for key, id := range t.hops {
		out = append(out, NextHop{int(key.TunnelIfIndex), fromAddress(key.NextHop), id})
	}
	slices.SortFunc(out, func(a, b NextHop) int {
		return cmp.Or(cmp.Compare(a.Tunnel, b.Tunnel), a.Address.Compare(b.Address))
	})
	return out
}
