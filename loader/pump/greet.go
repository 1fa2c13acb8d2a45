// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
)

const (
	greetingKinds = 16 // that are remembered
	// greetingAge is how long a packet is news to who was not there: OSPF's interval of hellos.
	greetingAge = 10 * time.Second
)

// greetings are the newest packets for groups of the link alone, one of a kind: hellos of
// routing protocols. Who gets multicast from now on, or has lost what was sealed with the
// keys of before, gets those at once. Older ones would say what is true no more.
type greetings struct {
	mu   sync.Mutex
	kept [greetingKinds]greeting
	due  map[tables.PeerID]*welcome // of peers that are about to get them
}

type welcome struct{ since, joined time.Time }

type greeting struct {
	at     time.Time // zero: none
	packet inner
}

// remember takes a copy of a packet. A part of one is nothing to begin with.
func (g *greetings) remember(now time.Time, v vnet, packet inner) {
	if v.gsoType != gsoNone || !packet.onLink() || packet.fragment()&(offsetMask|flagMF) != 0 || packet.protocol() == protocolFragment {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	place := &g.kept[0]
	for i := range g.kept {
		one := &g.kept[i]
		if !one.at.IsZero() && sameKind(one.packet, packet) {
			place = one
			break
		}
		if one.at.Before(place.at) {
			place = one
		}
	}
	place.at = now
	place.packet = inner{append(place.packet.b[:0], packet.b...), packet.header}
}

// sameKind compares addresses, protocol, and the two octets behind the header: version and type of
// OSPF, RIP and their like, the port of UDP.
func sameKind(a, b inner) bool {
	if a.six() != b.six() || a.protocol() != b.protocol() {
		return false
	}
	addresses := func(p inner) []byte {
		if p.six() {
			return p.b[8:40]
		}
		return p.b[12:20]
	}
	kind := func(p inner) []byte { return p.payload()[:min(2, len(p.payload()))] }
	return bytes.Equal(addresses(a), addresses(b)) && bytes.Equal(kind(a), kind(b))
}

// between gives copies of those that are news to who joined at a moment and was last there at
// another, the oldest first.
func (g *greetings) between(since, joined time.Time) (all []greeting) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.kept {
		if one.at.After(since) && one.at.Before(joined) && joined.Sub(one.at) < greetingAge {
			one.packet.b = slices.Clone(one.packet.b)
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b greeting) int { return a.at.Compare(b.at) })
	return all
}

// Greet sends a peer that gets multicast from now on the newest packets for groups of the link
// alone. They leave a little later, for the peer may still be about to install its SA. It is
// safe for concurrent use.
func (p *Pump) Greet(id tables.PeerID) { p.greetSince(id, time.Time{}) }

// greetAgain greets a peer that has another association: what was sealed by the one before since
// the peer was last heard may be lost, as all is that was sealed for a daemon that is gone.
func (p *Pump) greetAgain(id tables.PeerID, before *esp.Association) {
	var since time.Time
	if before != nil {
		since = before.Received()
	}
	p.greetSince(id, since)
}

func (p *Pump) greetSince(id tables.PeerID, since time.Time) {
	g, joined := &p.greetings, time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := g.due[id]; d != nil {
		if d.joined = joined; since.Before(d.since) {
			d.since = since
		}
		return
	}
	if g.due == nil {
		g.due = map[tables.PeerID]*welcome{}
	}
	d := &welcome{since, joined}
	g.due[id] = d
	time.AfterFunc(earlyPause, func() {
		g.mu.Lock()
		delete(g.due, id)
		since, joined := d.since, d.joined
		g.mu.Unlock()
		p.greet(id, since, joined)
	})
}

func (p *Pump) greet(id tables.PeerID, since, joined time.Time) {
	for _, one := range p.greetings.between(since, joined) {
		if !slices.Contains(p.config.Multicast(one.packet.six()), id) {
			continue
		}
		if !p.multicast.link.take(time.Now()) {
			p.multicast.limited.Add(1)
			p.config.Tables.CountDrop(id, tables.DropMulticastRate, len(one.packet.b))
			continue
		}
		p.multicast.copies.Add(1)
		p.sendAll(id, vnet{}, one.packet)
	}
}
