// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"errors"

	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

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
		if a == nil { // a copy of multicast, or what waited for the daemon, may wait for it too
			var kept bool
			if a, kept = p.early.keep(p, peer.ID, vnet{}, packet); kept {
				return false
			}
		}
		if a == nil {
			p.config.Tables.CountDrop(peer.ID, tables.DropNoSA, len(packet.b))
			return false
		}
		return errors.Is(p.slow.send(peer.ID, a, packet.greProtocol(), packet.tos(), packet.b), underlay.ErrTooBig)
	}
	h := p.config.Header
	h.Protocol = packet.greProtocol()
	c, err := p.conn(peer.Endpoint.NBMA)
	if err == nil {
		err = c.Send(peer.Endpoint.NBMA, h, packet.tos(), packet.b)
	}
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
