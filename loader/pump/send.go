// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"errors"
	"net/netip"
	"time"

	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// mtuLifetime is how long a lowered MTU holds, as the kernel's own does.
const mtuLifetime = 10 * time.Minute

// smallestMTU is what no ICMP lowers below: 552, the kernel's own bound, less
// the headers of GRE with a key.
const smallestMTU = 524

// sendAll sends the packet to the peer: as it is, cut into segments where it is
// GSO, into fragments where it is above the MTU and may be cut. What may not is
// answered and counted.
func (p *Pump) sendAll(id tables.PeerID, v vnet, packet inner) {
	peer, ok := p.config.Tables.Peer(id)
	if !ok || !peer.Up {
		p.config.Tables.CountDrop(id, tables.DropPeerDown, len(packet.b))
		return
	}
	if v.gsoType == gsoNone {
		p.sendOne(peer, packet)
		return
	}
	answered := false
	whole := packet.segment(v, nil, func(s inner) {
		if answered {
			return
		}
		answered = !p.sendOne(peer, s)
	})
	if !whole {
		p.config.Tables.CountDrop(id, tables.DropInnerHeader, len(packet.b))
	}
}

// sendOne sends a packet or its fragments; false says that it was too big and
// that the sender was told.
func (p *Pump) sendOne(peer tables.Peer, packet inner) bool {
	mtu := p.mtu(peer)
	if len(packet.b) <= mtu {
		if !p.transmit(peer, packet) {
			return true
		}
		// The path is narrower than we knew.
		p.learn(peer.ID)
		peer, _ = p.config.Tables.Peer(peer.ID)
		if mtu = min(p.mtu(peer), len(packet.b)-1); mtu < smallestMTU {
			p.config.Tables.CountDrop(peer.ID, tables.DropTooBig, len(packet.b))
			return true
		}
	}
	fragment := func(f inner) {
		if p.transmit(peer, f) {
			p.config.Tables.CountDrop(peer.ID, tables.DropTooBig, len(f.b))
		}
	}
	if !packet.mayFragment() || !packet.fragments(mtu, fragment) {
		p.config.Tables.CountDrop(peer.ID, tables.DropTooBig, len(packet.b))
		p.icmp.tooBig(packet, mtu)
		return false
	}
	return true
}

// mtu is the largest inner packet to the peer.
func (p *Pump) mtu(peer tables.Peer) int {
	if peer.MTU != 0 && (p.config.MTU == 0 || peer.MTU < p.config.MTU) {
		return peer.MTU
	}
	if p.config.MTU == 0 {
		return 0xffff
	}
	return p.config.MTU
}

// transmit puts the outer headers on, as BPF does, and counts; true says that
// the path does not take that much.
func (p *Pump) transmit(peer tables.Peer, packet inner) (tooBig bool) {
	if p.config.Protected {
		a := p.secured.find(peer.ID)
		if a == nil {
			p.config.Tables.CountDrop(peer.ID, tables.DropNoSA, len(packet.b))
			return false
		}
		return errors.Is(p.slow.send(peer.ID, a, underlay.ProtocolIPv4, packet.tos(), packet.b), underlay.ErrTooBig)
	}
	h := p.config.Header
	h.Protocol = underlay.ProtocolIPv4
	err := p.conn.Load().Send(peer.Endpoint.NBMA, h, packet.tos(), packet.b)
	switch {
	case errors.Is(err, underlay.ErrTooBig):
		return true
	case err != nil:
		p.config.Tables.CountDrop(peer.ID, tables.DropSlowPath, len(packet.b))
	default:
		p.config.Tables.CountSent(peer.ID, len(packet.b))
	}
	return false
}

// learn lowers the peer's MTU to what the kernel knows of the path, for ten
// minutes, so that BPF finds GSO packets too big as well.
func (p *Pump) learn(id tables.PeerID) {
	peer, ok := p.config.Tables.Peer(id)
	if !ok {
		return
	}
	path, err := p.conn.Load().PathMTU(peer.Endpoint.NBMA)
	if err != nil {
		return
	}
	mtu := path - p.config.Header.Overhead()
	if a := p.secured.find(id); a != nil {
		if mtu = path - ipHeader; a.Path().Encapsulation {
			mtu -= udpHeader
		}
		mtu = a.Out.Fits(mtu) - tunnelLength(a) - p.greLength()
	}
	mtu = max(mtu, smallestMTU)
	if mtu >= p.mtu(peer) || p.config.Tables.SetMTU(id, mtu) != nil {
		return
	}
	before := peer.MTU
	p.raising.Lock()
	defer p.raising.Unlock()
	if old := p.raise[id]; old != nil {
		old.Reset(mtuLifetime)
		return
	}
	p.raise[id] = time.AfterFunc(mtuLifetime, func() { p.restore(peer.Endpoint, id, before) })
}

// narrow takes up that the path to a peer is narrower than what was sent: BPF does not
// always see it, for it asks no route where packets bear a mark.
func (p *Pump) narrow(to netip.Addr) {
	if id, known := p.config.Tables.ID(p.config.Tunnel, tables.Endpoint{NBMA: to}); known && !p.config.Protected {
		p.learn(id)
	}
}

// restore gives the peer its MTU back, unless the id is another's by now.
func (p *Pump) restore(endpoint tables.Endpoint, id tables.PeerID, mtu int) {
	p.raising.Lock()
	delete(p.raise, id)
	p.raising.Unlock()
	if now, ok := p.config.Tables.ID(p.config.Tunnel, endpoint); ok && now == id {
		_ = p.config.Tables.SetMTU(id, mtu) // gone meanwhile, which is as good
	}
}

// forget gives every peer its MTU back: the next daemon learns anew.
func (p *Pump) forget() {
	p.raising.Lock()
	var restore []func()
	for id, timer := range p.raise {
		if timer.Stop() {
			restore = append(restore, func() { _ = p.config.Tables.SetMTU(id, 0) })
		}
	}
	clear(p.raise)
	p.raising.Unlock()
	for _, f := range restore {
		f()
	}
}
