// SPDX-License-Identifier: Apache-2.0

// Package tables is the typed side of the BPF maps: tunnels, peers with their
// stable ids, next hops, counters, drops. Updates are ordered so that no packet
// ever sees a half-made peer. All methods of Tables are safe for concurrent use;
// one process at a time may write to the maps of an instance.
package tables

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
)

// Names of the maps, as in bpf/include/maps.h.
const (
	MapTunnel   = "dmvpn_tunnel"
	MapDevice   = "dmvpn_device"
	MapNBMA     = "dmvpn_nbma"
	MapNextHop  = "dmvpn_nexthop"
	MapPeer     = "dmvpn_peer"
	MapStats    = "dmvpn_stats"
	MapDrop     = "dmvpn_drop"
	MapRedirect = "dmvpn_redirect"
	MapEvents   = "dmvpn_events"
	MapESP      = "dmvpn_esp"
	MapSPI      = "dmvpn_spi"
	MapRefused  = "dmvpn_refused"
)

// ErrFull says that every peer id is taken.
var ErrFull = errors.New("tables: no free peer id")

// ErrUnknown says that there is no such tunnel, peer or next hop.
var ErrUnknown = errors.New("tables: no such entry")

// PeerID is the stable number of a peer, at least 1; 0 is nobody. It indexes
// dmvpn_peer and dmvpn_stats and survives a restart of the daemon. One that is free again
// is given out when all others have been: packets that wait in a tunnel device's queue have
// the id of whom they are for.
type PeerID uint32

// Tables is the set of maps of an instance, with what it must remember about
// them: which ids are taken and by whom.
type Tables struct {
	tunnel, device, nbma, nextHop, peer, stats, drop, esp, spi, refused *ebpf.Map

	mu    sync.Mutex
	ids   map[nbmaKey]PeerID
	peers map[PeerID]peerValue
	hops  map[nextHopKey]PeerID
	last  PeerID // the id that was given out last, as dmvpn_peer[0] has it for the next daemon
	limit PeerID // ids are below this
	inGo  map[PeerID]*statsValue

	narrow map[PeerID]narrow

	goDrop map[dropKey]*dropValue
}

// New takes over the maps, by their names, and adopts what stands in them:
// peers keep their ids, next hops their peers. What an interrupted writer left
// half made is removed. The maps stay the caller's and must outlive the Tables.
func New(maps map[string]*ebpf.Map) (*Tables, error) {
	t := &Tables{
		ids: map[nbmaKey]PeerID{}, peers: map[PeerID]peerValue{}, hops: map[nextHopKey]PeerID{},
		inGo: map[PeerID]*statsValue{}, narrow: map[PeerID]narrow{}, goDrop: map[dropKey]*dropValue{},
	}
	for name, to := range map[string]**ebpf.Map{
		MapTunnel: &t.tunnel, MapDevice: &t.device, MapNBMA: &t.nbma, MapNextHop: &t.nextHop,
		MapPeer: &t.peer, MapStats: &t.stats, MapDrop: &t.drop, MapESP: &t.esp, MapSPI: &t.spi, MapRefused: &t.refused,
	} {
		if *to = maps[name]; *to == nil {
			return nil, fmt.Errorf("tables: map %s is missing", name)
		}
	}
	t.limit = PeerID(min(t.peer.MaxEntries(), t.stats.MaxEntries()))
	if err := t.adopt(); err != nil {
		return nil, fmt.Errorf("tables: adopt pinned maps: %w", err)
	}
	return t, nil
}

// adopt reads the maps of the process before. What is wrong is collected first
// and deleted after, because a deletion disturbs the iteration.
func (t *Tables) adopt() error {
	var nobody peerValue
	if err := t.peer.Lookup(uint32(0), &nobody); err != nil {
		return err
	}
	if last := PeerID(nobody.MTU); last < t.limit {
		t.last = last
	}
	var wrong []nbmaKey
	var key nbmaKey
	var id PeerID
	it := t.nbma.Iterate()
	for it.Next(&key, &id) {
		var value peerValue
		if err := t.peer.Lookup(uint32(id), &value); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		same := value.NBMA == key.NBMA && value.TunnelIfIndex == key.TunnelIfIndex && value.Port == key.Port
		if _, taken := t.peers[id]; id == 0 || id >= t.limit || taken || !same {
			wrong = append(wrong, key)
			continue
		}
		t.ids[key], t.peers[id] = id, value
	}
	if err := it.Err(); err != nil {
		return err
	}
	var wrongHops []nextHopKey
	var hop nextHopKey
	it = t.nextHop.Iterate()
	for it.Next(&hop, &id) {
		if peer, ok := t.peers[id]; ok && peer.TunnelIfIndex == hop.TunnelIfIndex {
			t.hops[hop] = id
		} else {
			wrongHops = append(wrongHops, hop)
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	for _, hop := range wrongHops {
		if err := absent(t.nextHop.Delete(hop)); err != nil {
			return err
		}
	}
	for _, key := range wrong {
		if err := absent(t.nbma.Delete(key)); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes every tunnel, peer and next hop whose tunnel device is not
// alive: a device that was deleted and made again has another index.
func (t *Tables) Sweep(alive func(ifindex int) bool) error {
	tunnels, err := t.Tunnels()
	if err != nil {
		return err
	}
	dead := map[int]bool{}
	for _, tunnel := range tunnels {
		if !alive(tunnel.IfIndex) {
			dead[tunnel.IfIndex] = true
		}
	}
	for _, peer := range t.Peers() {
		if !alive(peer.Tunnel) {
			dead[peer.Tunnel] = true
		}
	}
	for ifindex := range dead {
		if err := t.DeleteTunnel(ifindex); err != nil {
			return err
		}
	}
	return nil
}

// absent turns "the key does not exist" of a deletion into success.
func absent(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// sortedIDs gives the ids in use, lowest first. t.mu is held.
func (t *Tables) sortedIDs() []PeerID {
	ids := make([]PeerID, 0, len(t.peers))
	for id := range t.peers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
