// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"fmt"
	"net/netip"
)

// narrow is a peer whose path takes less than it announces, 0 for the tunnel's MTU.
type narrow struct{ path, announced uint32 }

func (n narrow) mtu() uint32 {
	if n.announced == 0 {
		return n.path
	}
	return min(n.path, n.announced)
}

// Narrow lowers the peer's MTU to what its path takes: inner packets above it are too big,
// whatever Admit and Describe say, until Widen.
func (t *Tables) Narrow(id PeerID, mtu int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	value, ok := t.peers[id]
	if !ok {
		return fmt.Errorf("tables: MTU of peer %d: %w", id, ErrUnknown)
	}
	n, already := t.narrow[id]
	if !already {
		n.announced = value.MTU
	}
	n.path = uint32(mtu)
	t.narrow[id] = n
	if value.MTU == n.mtu() {
		return nil
	}
	value.MTU = n.mtu()
	return t.put(id, value)
}

// Widen takes Narrow back. A peer that is not narrow, or gone, is no error.
func (t *Tables) Widen(id PeerID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.narrow[id]
	if !ok {
		return nil
	}
	delete(t.narrow, id)
	value := t.peers[id]
	value.MTU = n.announced
	return t.put(id, value)
}

// announce gives the MTU that holds for a peer that announces this one. t.mu is held.
func (t *Tables) announce(id PeerID, mtu uint32) uint32 {
	n, ok := t.narrow[id]
	if !ok {
		return mtu
	}
	n.announced = mtu
	t.narrow[id] = n
	return n.mtu()
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
	if value.MTU = t.announce(id, uint32(mtu)); value == t.peers[id] {
		return nil
	}
	return t.put(id, value)
}
