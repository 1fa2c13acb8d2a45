// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"

	"dmvpn/ikev2"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// end is one peer, as NHRP and as IKE knows it.
type end struct {
	identity string          // "": NHRP wants whoever is at its place, and IKE has met nobody there
	at       engine.Endpoint // where IKE met it last; before, where NHRP says that it is
	hint     engine.Endpoint // where NHRP says that it is

	id       tables.PeerID                       // 0: none yet
	hops     map[netip.Addr]engine.Bind          // bound by NHRP
	server   int                                 // of hops, those that are a server's
	passesOn bool                                // it was a server's, and is admitted since: it has us registered still
	admitted map[engine.Endpoint]engine.Endpoint // by the keys that NHRP has for it
	own      map[netip.Addr]bool                 // its overlay addresses, as far as NHRP has said
	asked    *ikev2.Want                         // what IKE is asked for

	peer     uint64 // IKE's; 0: none
	up       bool
	children int // Child SAs that are installed

	trouble trouble
}

// wanted says whether NHRP wants the end.
func (e *end) wanted() bool { return len(e.hops) > 0 || len(e.admitted) > 0 }

// met says whether IKE has it.
func (e *end) met() bool { return e.up || e.children > 0 }

// directory finds ends: by their identity, wherever they are. What has none, because
// nobody has authenticated it yet or its hub is of another kind, is found by its place.
type directory struct {
	all     map[*end]struct{}
	named   map[string]*end
	claimed map[engine.Endpoint]*end // by the places that NHRP names without an identity
	places  map[engine.Endpoint]*end // where IKE met somebody: who came last
	peers   map[uint64]*end          // by IKE's number
	ids     map[tables.PeerID]*end   // those that have a place in the tables
	hops    map[netip.Addr]*end
	owners  map[netip.Addr]*end // of overlay addresses, as far as NHRP has said
	servers int                 // of hops, those that are servers'
}

func newDirectory() directory {
	return directory{
		all: map[*end]struct{}{}, named: map[string]*end{}, claimed: map[engine.Endpoint]*end{}, places: map[engine.Endpoint]*end{},
		peers: map[uint64]*end{}, ids: map[tables.PeerID]*end{}, hops: map[netip.Addr]*end{}, owners: map[netip.Addr]*end{},
	}
}

// find gives the end that NHRP means, nil for none.
func (d *directory) find(by engine.Endpoint) *end {
	if by.Identity != "" {
		return d.named[by.Identity]
	}
	if e := d.claimed[by]; e != nil {
		return e
	}
	return d.places[by]
}

// want gives the end that NHRP means, and makes it if there is none.
func (d *directory) want(by engine.Endpoint) *end {
	e := d.find(by)
	if e == nil {
		e = d.add(by.Identity)
	}
	if by.Identity == "" {
		d.claimed[by] = e
	}
	if e.hint = by.Place(); e.id == 0 {
		e.at = e.hint
	}
	return e
}

func (d *directory) add(identity string) *end {
	e := &end{identity: identity, hops: map[netip.Addr]engine.Bind{}, admitted: map[engine.Endpoint]engine.Endpoint{}, own: map[netip.Addr]bool{}}
	if d.all[e] = struct{}{}; identity != "" {
		d.named[identity] = e
	}
	return e
}

// meet gives the end that IKE has authenticated at a place. It takes over from one that
// NHRP wants there without knowing who it is, which is given too if it is another one.
func (d *directory) meet(identity string, place engine.Endpoint) (e, replaced *end) {
	e = d.named[identity]
	c := d.claimed[place]
	if c != nil && c.identity != "" {
		c = nil
	}
	switch {
	case e == nil && c != nil:
		c.identity = identity
		d.named[identity] = c
		e = c
	case e == nil:
		e = d.add(identity)
	case c != nil:
		d.merge(e, c)
		return e, c
	}
	return e, nil
}

// merge gives an end what NHRP wants of another one.
func (d *directory) merge(e, from *end) {
	for hop, b := range from.hops {
		e.hops[hop], d.hops[hop] = b, e
	}
	e.server += from.server
	e.passesOn = e.passesOn || from.passesOn
	for key, by := range from.admitted {
		e.admitted[key] = by
	}
	for address := range from.own {
		d.owns(e, address)
	}
	for place, x := range d.claimed {
		if x == from {
			d.claimed[place] = e
		}
	}
	from.hops, from.admitted, from.server = nil, nil, 0
	delete(d.all, from)
}

// own notes by which number IKE has an end, and gives the end that had it before, which has
// nothing by it any more. Child SAs are counted for who has the number.
func (d *directory) own(e *end, peer uint64) (lost *end) {
	if d.peers[peer] == e {
		return nil
	}
	if d.peers[e.peer] == e {
		delete(d.peers, e.peer)
		e.children = 0
	}
	if lost = d.peers[peer]; lost != nil {
		e.children = lost.children
		lost.peer, lost.children, lost.up = 0, 0, false
	}
	e.peer, d.peers[peer] = peer, e
	return lost
}

// place notes where IKE met an end.
func (d *directory) place(e *end, at engine.Endpoint) {
	if d.places[e.at] == e {
		delete(d.places, e.at)
	}
	e.at = at
	d.places[at] = e
	if !e.wanted() {
		e.hint = at
	}
}

// bind and unbind note which next hops NHRP wants of whom. An end that was bound is admitted
// until Dismiss: what is on its way when the next hop goes needs the SA still.
func (d *directory) bind(e *end, b engine.Bind) {
	d.unbind(b.NextHop)
	e.admitted[b.To.Key()] = b.To
	d.owns(e, b.NextHop)
	if e.hops[b.NextHop] = b; b.Server {
		e.passesOn = true
		e.server++
		d.servers++
	}
	d.hops[b.NextHop] = e
}

// maxOwn bounds the overlay addresses of one end that are remembered.
const maxOwn = 64

// owns notes an overlay address of an end: it is nobody else's then.
func (d *directory) owns(e *end, address netip.Addr) {
	if o := d.owners[address]; o == e {
		return
	} else if o != nil {
		delete(o.own, address)
	}
	if len(e.own) >= maxOwn {
		for old := range e.own {
			if d.hops[old] != e {
				delete(e.own, old)
				delete(d.owners, old)
			}
		}
	}
	e.own[address], d.owners[address] = true, e
}

func (d *directory) unbind(hop netip.Addr) *end {
	e := d.hops[hop]
	if e == nil {
		return nil
	}
	b := e.hops[hop]
	if b.Server {
		e.server--
		d.servers--
	}
	delete(e.hops, hop)
	delete(d.hops, hop)
	d.unclaim(e, b.To)
	return e
}

// unclaim forgets a place by which NHRP does not want an end any more.
func (d *directory) unclaim(e *end, by engine.Endpoint) {
	if by.Identity != "" || d.claimed[by] != e {
		return
	}
	if _, ok := e.admitted[by.Key()]; ok {
		return
	}
	for _, b := range e.hops {
		if b.To == by {
			return
		}
	}
	delete(d.claimed, by)
}

// forget takes an end out that nobody knows any more.
func (d *directory) forget(e *end) {
	delete(d.all, e)
	for address := range e.own {
		delete(d.owners, address)
	}
	if d.named[e.identity] == e {
		delete(d.named, e.identity)
	}
	if d.places[e.at] == e {
		delete(d.places, e.at)
	}
	if d.peers[e.peer] == e {
		delete(d.peers, e.peer)
	}
	delete(d.ids, e.id)
}
