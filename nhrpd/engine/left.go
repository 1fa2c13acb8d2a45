// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"time"

	"dmvpn/nhrpd/wire"
)

const (
	leftFor  = time.Minute // for packets on their way
	leftKept = 4096        // clients; more forget who left first
	leftIDs  = 16 * idStep // below the purge's: so far back a registration is taken for a delayed one
)

// left is a client that has purged its own address: the registration that it had sent before may
// still be on its way, and would bind for a whole holding time.
type left struct {
	Protocol netip.Addr
	ID       uint32 // of the purge
	Until    instant
}

// leaves remembers a client's purge.
func (m *Machine) leaves(client netip.Addr, id uint32) {
	for {
		k, until, ok := m.left.First()
		if !ok || until > m.now && m.left.Len() < leftKept {
			break
		}
		m.left.Delete(k)
	}
	m.left.Put(client, &left{client, id, m.now + leftFor}, m.now+leftFor)
}

// sentBefore says that a registration was sent before the purge by which its client left. Only our own
// kind is judged: its ids grow, across restarts too. Others begin anew, with small ones, and
// what they mean must bind. Should one of ours have lost its state and have such an id by
// chance, it waits for a minute.
func (m *Machine) sentBefore(p *wire.Packet) bool {
	l, ok := m.left.Get(p.SourceProtocol)
	if !ok || l.Until <= m.now {
		return false
	}
	behind := l.ID - p.RequestID
	_, ours := p.Private()
	return ours && behind != 0 && behind < leftIDs
}
