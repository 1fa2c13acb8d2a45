// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
)

const (
	// mostEarly is how many octets of packets wait for their associations, and mostOfOne for one of
	// them; what is more is dropped. Nobody waits in a queue behind a peer that does not come back.
	mostEarly = 16 << 20
	mostOfOne = mostEarly / 8
	// earlyPause is from when there is an association until what has waited leaves by it: the
	// peer may still be about to install it, and they are many.
	earlyPause = 100 * time.Millisecond
)

// early are packets that are there before their peers' associations: those that waited in the
// queues for the daemon, whose keys have ended with the one before. It has an end: then
// they are dropped, as is what comes after them.
type early struct {
	over atomic.Bool

	mu      sync.Mutex
	octets  int
	of      map[tables.PeerID]int // octets of packets
	packets map[tables.PeerID][]earlyPacket
	next    map[tables.PeerID]*esp.Association // in the pause
	timer   *time.Timer
}

type earlyPacket struct {
	vnet vnet
	data []byte
}

// begin lets packets wait for so long from now on.
func (e *early) begin(p *Pump, patience time.Duration) {
	e.packets, e.next, e.of = map[tables.PeerID][]earlyPacket{}, map[tables.PeerID]*esp.Association{}, map[tables.PeerID]int{}
	e.over.Store(patience == 0)
	if patience > 0 {
		e.timer = time.AfterFunc(patience, p.GiveUp)
	}
}

// keep takes a copy of a packet for a peer without an association. If it has one by now, that is
// given; if it is too late to wait, or too much waits, false.
func (e *early) keep(p *Pump, id tables.PeerID, v vnet, packet inner) (a *esp.Association, kept bool) {
	if e.over.Load() {
		return nil, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if a = p.secured.find(id); a != nil || e.over.Load() {
		return a, false
	}
	n := len(packet.b)
	if e.octets+n > mostEarly || e.of[id]+n > mostOfOne {
		return nil, false
	}
	e.octets += n
	e.of[id] += n
	e.packets[id] = append(e.packets[id], earlyPacket{v, bytes.Clone(packet.b)})
	return nil, true
}

// delay says that an association must not be used yet: packets wait for it, and will leave before.
func (e *early) delay(p *Pump, id tables.PeerID, a *esp.Association) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch _, pause := e.next[id]; {
	case e.over.Load():
		return false
	case a == nil:
		delete(e.next, id)
		return false
	case pause:
		e.next[id] = a
		return true
	case len(e.packets[id]) == 0:
		return false
	}
	e.next[id] = a
	time.AfterFunc(earlyPause, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.leave(p, id)
	})
	return true
}

// leave sends what has waited for a peer's association, and gives it to the workers. e.mu is
// held.
func (e *early) leave(p *Pump, id tables.PeerID) {
	a := e.next[id]
	if a == nil {
		return
	}
	delete(e.next, id)
	s := newSealer(p)
	for _, one := range e.take(id) {
		if packet, ok := parseInner(one.data); ok {
			s.seal(id, a, one.vnet, packet)
		}
	}
	s.end()
	p.secured.set(id, a)
}

// take gives what waits for a peer. e.mu is held.
func (e *early) take(id tables.PeerID) []earlyPacket {
	all := e.packets[id]
	e.octets -= e.of[id]
	delete(e.packets, id)
	delete(e.of, id)
	return all
}

// GiveUp ends the waiting of packets for associations (Config.Patience): they are dropped.
func (p *Pump) GiveUp() {
	e := &p.early
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over.Store(true)
	if e.timer != nil {
		e.timer.Stop()
	}
	for id := range e.next {
		e.leave(p, id)
	}
	for id := range e.packets {
		for _, one := range e.take(id) {
			p.config.Tables.CountDrop(id, tables.DropNoSA, len(one.data))
		}
	}
}
