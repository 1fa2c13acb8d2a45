// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"net/netip"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// mtuLifetime is how long a lowered MTU holds, as the kernel's own does.
const mtuLifetime = 10 * time.Minute

// smallestMTU is what no ICMP lowers below: 552, the kernel's own bound, less
// the headers of GRE with a key.
const smallestMTU = 524

// learn lowers the peer's MTU to what the kernel knows of the path, for ten
// minutes, so that BPF finds GSO packets too big as well.
func (p *Pump) learn(id tables.PeerID) {
	peer, ok := p.config.Tables.Peer(id)
	if !ok {
		return
	}
	c, err := p.conn(peer.Endpoint.NBMA)
	if err != nil {
		return
	}
	path, err := c.PathMTU(peer.Endpoint.NBMA)
	if err != nil {
		return
	}
	mtu := path - p.config.Header.Overhead(peer.Endpoint.NBMA)
	if a := p.secured.find(id); a != nil {
		mtu = p.inside(a, path)
	}
	p.lower(peer, mtu)
}

// inside is the largest inner packet in an outer one of path octets by an association.
func (p *Pump) inside(a *esp.Association, path int) int {
	path -= underlay.IPHeader(a.Path().Remote.Addr())
	if a.Path().Encapsulation {
		path -= udpHeader
	}
	return a.Out.Fits(path) - tunnelLength(a) - p.greLength()
}

// lower sets the peer's MTU for a while, if it is less than what holds.
func (p *Pump) lower(peer tables.Peer, mtu int) {
	id := peer.ID
	mtu = max(mtu, smallestMTU)
	if mtu >= p.mtu(peer) || p.config.Tables.Narrow(id, mtu) != nil {
		return
	}
	p.raising.Lock()
	defer p.raising.Unlock()
	if old := p.raise[id]; old != nil {
		old.Reset(mtuLifetime)
		return
	}
	p.raise[id] = time.AfterFunc(mtuLifetime, func() { p.restore(id) })
}

// narrow takes up that the path to a peer is narrower than what was sent: BPF does not
// always see it, for it asks no route where packets bear a mark.
func (p *Pump) narrow(to netip.Addr) {
	if id, known := p.config.Tables.ID(p.config.Tunnel, tables.Endpoint{NBMA: to}); known && !p.config.Protected {
		p.learn(id)
	}
}

// restore gives the peer its MTU back.
func (p *Pump) restore(id tables.PeerID) {
	p.raising.Lock()
	delete(p.raise, id)
	p.raising.Unlock()
	_ = p.config.Tables.Widen(id) // another's by now is not narrow, or for itself
}

// Forget gives every peer its MTU back: the next daemon learns anew. It is for a pump that no
// queue is run of any more.
func (p *Pump) Forget() {
	p.raising.Lock()
	var narrow []tables.PeerID
	for id, timer := range p.raise {
		if timer.Stop() {
			narrow = append(narrow, id)
		}
	}
	clear(p.raise)
	p.raising.Unlock()
	for _, id := range narrow {
		_ = p.config.Tables.Widen(id)
	}
}

// hintRate bounds how many hints are looked at in a second: each walks all associations.
const hintRate = 100

// PathHints takes what ICMP says about ESP packets that were too big for their way. It is
// safe for concurrent use.
type PathHints struct {
	database *esp.Database
	rate     bucket
}

// NewPathHints makes one.
func NewPathHints(d *esp.Database) *PathHints {
	return &PathHints{database: d, rate: bucket{rate: hintRate}}
}

// Take lowers the MTU of the peer that a hint is about to what the kernel believes of the path. The
// hint must quote a packet of one of our SAs, with the SPI and a sequence number that it has given
// out lately, on its way to where the SA's packets go: false, it does not (RFC 4301, section 8.2).
func (x *PathHints) Take(h underlay.Hint) bool {
	if len(h.Quote) < 8 || !x.rate.take(time.Now()) {
		return false
	}
	a := x.database.Outbound(esp.SPI(h.Quote), h.Remote.Addr())
	if a == nil || !a.Out.Sent(binary.BigEndian.Uint32(h.Quote[4:])) {
		return false
	}
	path, inUDP := a.Path(), h.Remote.Port() != 0
	owner, ok := a.Owner.(*Secured)
	if !ok || inUDP != path.Encapsulation || inUDP && h.Remote != path.Remote {
		return false
	}
	owner.Pump.learn(owner.Peer)
	return true
}
