// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"fmt"
	"net/netip"
)

// SetMTU sets the MTU of the peer, 0 for the tunnel's: inner packets above it
// are too big. Admit sets it anew.
func (t *Tables) SetMTU(id PeerID, mtu int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	value, ok := t.peers[id]
	if !ok {
		return fmt.Errorf("tables: MTU of peer %d: %w", id, ErrUnknown)
	}
	if value.MTU == uint32(mtu) {
		return nil
	}
	value.MTU = uint32(mtu)
	return t.put(id, value)
}

// put writes the entry of a peer. t.mu is held.
func (t *Tables) put(id PeerID, value peerValue) error {
	if err := t.peer.Put(uint32(id), value); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapPeer, err)
	}
	t.peers[id] = value
	return nil
}

// Move says that the peer is at another endpoint now: it keeps its id, its next hops and
// its counters. Whoever was there before stays a peer, and is not found by the endpoint
// any more.
func (t *Tables) Move(id PeerID, to Endpoint) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	value, ok := t.peers[id]
	if !ok {
		return fmt.Errorf("tables: move peer %d: %w", id, ErrUnknown)
	}
	if !unicast(to.NBMA) {
		return fmt.Errorf("tables: move peer %d: %s is not a unicast address", id, to.NBMA)
	}
	before := value.key()
	key := to.key(int(value.TunnelIfIndex))
	if key == before && t.ids[key] == id {
		return nil
	}
	value.NBMA, value.Port = key.NBMA, key.Port
	if err := t.put(id, value); err != nil {
		return err
	}
	if err := t.nbma.Put(key, uint32(id)); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapNBMA, err)
	}
	t.ids[key] = id
	if key == before {
		return nil
	}
	return t.unplace(before, id)
}

// unplace makes an endpoint nobody's, unless another peer has taken it. t.mu is held.
func (t *Tables) unplace(key nbmaKey, id PeerID) error {
	if t.ids[key] != id {
		return nil
	}
	if err := absent(t.nbma.Delete(key)); err != nil {
		return fmt.Errorf("tables: delete from %s: %w", MapNBMA, err)
	}
	delete(t.ids, key)
	return nil
}

// Describe changes the protocol address of the peer, unless it is invalid, and its MTU, 0
// for the tunnel's.
func (t *Tables) Describe(id PeerID, protocol netip.Addr, mtu int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	value, ok := t.peers[id]
	if !ok {
		return fmt.Errorf("tables: peer %d: %w", id, ErrUnknown)
	}
	if protocol.IsValid() {
		value.Protocol = toAddress(protocol)
	}
	if value.MTU = uint32(mtu); value == t.peers[id] {
		return nil
	}
	return t.put(id, value)
}
