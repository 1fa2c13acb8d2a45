// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"fmt"
	"net/netip"
)

// Endpoint is where a peer is on the underlay: its NBMA address and the UDP
// port that was observed, 0 for plain GRE.
type Endpoint struct {
	NBMA netip.Addr
	Port uint16
}

// Peer is one NBMA endpoint of one tunnel.
type Peer struct {
	ID       PeerID
	Tunnel   int // index of the tunnel device
	Endpoint Endpoint
	Protocol netip.Addr // overlay address; invalid where not known
	MTU      int        // inner packets above this are too big; 0: the tunnel's
	Up       bool
}

func (e Endpoint) key(tunnel int) nbmaKey {
	return nbmaKey{NBMA: toAddress(e.NBMA), TunnelIfIndex: uint32(tunnel), Port: e.Port}
}

// key is where the peer is.
func (v peerValue) key() nbmaKey {
	return nbmaKey{NBMA: v.NBMA, TunnelIfIndex: v.TunnelIfIndex, Port: v.Port}
}

func (v peerValue) peer(id PeerID) Peer {
	return Peer{
		ID: id, Tunnel: int(v.TunnelIfIndex), Endpoint: Endpoint{fromAddress(v.NBMA), v.Port},
		Protocol: fromAddress(v.Protocol), MTU: int(v.MTU), Up: v.Flags&flagPeerUp != 0,
	}
}

// KeepMTU leaves a peer's MTU as it is; a new peer's is the tunnel's.
const KeepMTU = -1

// Admit makes the endpoint a peer of the tunnel, or changes the protocol address
// and the MTU of the peer that it is: GRE data from it is accepted from now on.
// An invalid protocol address leaves what was known, KeepMTU as well; mtu 0 is the tunnel's. A
// new peer gets the next free id and counters that begin at 0.
func (t *Tables) Admit(tunnel int, from Endpoint, protocol netip.Addr, mtu int) (PeerID, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id, known := t.ids[from.key(tunnel)]
	return t.admit(tunnel, from, protocol, mtu, id, known)
}

// AdmitAnew is Admit of a peer that is another one than whoever is at the endpoint, who
// stays a peer and is not found by the endpoint any more.
func (t *Tables) AdmitAnew(tunnel int, from Endpoint, protocol netip.Addr, mtu int) (PeerID, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.admit(tunnel, from, protocol, mtu, 0, false)
}

func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast()
}

// admit writes the peer with an id, or with one that is free if it is not known. t.mu is
// held.
func (t *Tables) admit(tunnel int, from Endpoint, protocol netip.Addr, mtu int, id PeerID, known bool) (PeerID, error) {
	if !unicast(from.NBMA) {
		return 0, fmt.Errorf("tables: peer address %s of tunnel %d is not a unicast address", from.NBMA, tunnel)
	}
	if !known {
		if id = t.nextFree(); id == 0 {
			return 0, fmt.Errorf("tables: peer %s of tunnel %d: %w (all %d are in use)", from.NBMA, tunnel, ErrFull, t.limit-1)
		}
	}
	key := from.key(tunnel)
	value := peerValue{
		NBMA: key.NBMA, Protocol: toAddress(protocol), TunnelIfIndex: key.TunnelIfIndex,
		Flags: flagPeerUp, MTU: uint32(max(mtu, 0)), Port: from.Port,
	}
	old := t.peers[id]
	if known && !protocol.IsValid() {
		value.Protocol = old.Protocol
	}
	if known && mtu == KeepMTU {
		value.MTU = old.MTU
	} else if known {
		value.MTU = t.announce(id, uint32(mtu))
	}
	if known && value == old {
		return id, nil
	}
	if !known {
		if err := t.give(id); err != nil {
			return 0, err
		}
		if err := t.clearStats(id); err != nil {
			return 0, err
		}
	}
	// The entry first, then the way to it: who finds the id finds it whole.
	if err := t.peer.Put(uint32(id), value); err != nil {
		return 0, fmt.Errorf("tables: write %s: %w", MapPeer, err)
	}
	if !known {
		if err := t.nbma.Put(key, uint32(id)); err != nil {
			_ = t.peer.Put(uint32(id), peerValue{})
			return 0, fmt.Errorf("tables: write %s: %w", MapNBMA, err)
		}
	}
	t.ids[key], t.peers[id] = id, value
	return id, nil
}

// nextFree gives the free id that comes after the last one that was given out, from 1 again
// behind the end, 0 if there is none. t.mu is held.
func (t *Tables) nextFree() PeerID {
	if PeerID(len(t.peers)) >= t.limit-1 {
		return 0
	}
	id := t.last
	for {
		if id++; id >= t.limit {
			id = 1
		}
		if _, taken := t.peers[id]; !taken {
			return id
		}
	}
}

// give notes that an id is given out, before anybody has it: no daemon after this one gives
// it out soon. The programs do not look at nobody's MTU. t.mu is held.
func (t *Tables) give(id PeerID) error {
	if err := t.peer.Put(uint32(0), peerValue{MTU: uint32(id)}); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapPeer, err)
	}
	t.last = id
	return nil
}

// Dismiss ends the peer: its next hops go first, then what it sends is refused,
// last its id is free again. A fallback that it was is nobody. An endpoint that
// is not a peer is no error.
func (t *Tables) Dismiss(tunnel int, from Endpoint) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.ids[from.key(tunnel)]; ok {
		return t.remove(id)
	}
	return nil
}

// Remove is Dismiss by id. One that is no peer's is no error.
func (t *Tables) Remove(id PeerID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.peers[id]; ok {
		return t.remove(id)
	}
	return nil
}

// remove takes the peer out in the order that Dismiss names. t.mu is held.
func (t *Tables) remove(id PeerID) error {
	value := t.peers[id]
	for hop, to := range t.hops {
		if to == id {
			if err := absent(t.nextHop.Delete(hop)); err != nil {
				return fmt.Errorf("tables: delete from %s: %w", MapNextHop, err)
			}
			delete(t.hops, hop)
		}
	}
	var tunnel tunnelValue
	if err := t.device.Lookup(value.TunnelIfIndex, &tunnel); err == nil {
		for six, fallback := range map[bool]uint32{false: tunnel.FallbackPeer, true: tunnel.Fallback6Peer} {
			if fallback != uint32(id) {
				continue
			}
			if err := t.setFallback(value.TunnelIfIndex, six, 0); err != nil {
				return err
			}
		}
	}
	if err := t.unplace(value.key(), id); err != nil {
		return err
	}
	if err := t.peer.Put(uint32(id), peerValue{}); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapPeer, err)
	}
	delete(t.peers, id)
	delete(t.inGo, id)
	delete(t.narrow, id)
	return nil
}

// ID gives the id of the endpoint, false if it is not a peer of the tunnel.
func (t *Tables) ID(tunnel int, from Endpoint) (PeerID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id, ok := t.ids[from.key(tunnel)]
	return id, ok
}

// Peer gives the peer with the id, false if there is none.
func (t *Tables) Peer(id PeerID) (Peer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	value, ok := t.peers[id]
	return value.peer(id), ok
}

// Peers gives all peers of all tunnels, lowest id first.
func (t *Tables) Peers() []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Peer, 0, len(t.peers))
	for _, id := range t.sortedIDs() {
		out = append(out, t.peers[id].peer(id))
	}
	return out
}
