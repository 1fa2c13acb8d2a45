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
	// away is since when peers get nothing that did, for as long as there may be a greeting from
	// before. Such a one is never for them: a hello that is from before its sender had
	// heard them says that they are not there, and ends what has come of the later ones.
	away map[tables.PeerID]time.Time
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
// alone: all, or to one that got multicast before, what came since. was is the peer that it was
// before, 0 if it was none or the same. They leave a little later, for the peer may still be about
// to install its SA. It is safe for concurrent use.
func (p *Pump) Greet(id, was tables.PeerID) {
	if was == 0 {
		was = id
	}
	p.greetSince(id, p.greetings.missed(was))
}

// Leave notes that a peer gets multicast no more. It is safe for concurrent use.
func (p *Pump) Leave(id tables.PeerID) { p.greetings.leave(id, time.Now()) }

// greetAgain greets a peer that has another association: what was sealed by the one before since
// the peer was last heard may be lost, as all is that was sealed for a daemon that is gone.
func (p *Pump) greetAgain(id tables.PeerID, before *esp.Association) {
	since := p.greetings.missed(id)
	if before != nil {
		since = before.Received()
	}
	p.greetSince(id, since)
}

// leave notes that a peer gets nothing since a moment, unless it got nothing before.
func (g *greetings) leave(id tables.PeerID, since time.Time) {
	old := time.Until(since.Add(greetingAge))
	if old <= 0 {
		return // so are the greetings from before
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if at, ok := g.away[id]; ok && !since.Before(at) {
		return
	}
	if g.away == nil {
		g.away = map[tables.PeerID]time.Time{}
	}
	g.away[id] = since
	time.AfterFunc(old, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.away[id] == since {
			delete(g.away, id)
		}
	})
}

// missed is since when a peer may have missed what was sent; zero: ever.
func (g *greetings) missed(id tables.PeerID) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.away[id]
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
		gets := p.gets(id, false) || p.gets(id, true)
		g.mu.Lock()
		if delete(g.due, id); gets {
			delete(g.away, id)
		}
		since, joined := d.since, d.joined
		g.mu.Unlock()
		p.greet(id, since, joined)
	})
}

// gets says whether a peer gets multicast of a family.
func (p *Pump) gets(id tables.PeerID, six bool) bool {
	return p.config.Multicast != nil && slices.Contains(p.config.Multicast(six), id)
}

func (p *Pump) greet(id tables.PeerID, since, joined time.Time) {
	for _, one := range p.greetings.between(since, joined) {
		if !p.gets(id, one.packet.six()) {
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
