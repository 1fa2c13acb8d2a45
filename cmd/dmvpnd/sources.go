// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"sync"

	"dmvpn/loader/tables"
)

// sources says which inner addresses the peers of a protected tunnel may send from, so that
// none speaks for another one: its own, and those that are routed to it. A server passes on
// what others send; and what a spoke reaches by a server alone may be behind any of its peers. Its methods are safe for concurrent use; a verdict is kept until next
// hops or routes change.
type sources struct {
	mu       sync.RWMutex
	verdicts map[sourceKey]bool
	warned   map[tables.PeerID]bool
	changes  uint64
}

type sourceKey struct {
	peer   tables.PeerID
	source netip.Addr
}

// maxVerdicts bounds what peers can make us remember.
const maxVerdicts = 1 << 16

// changed forgets every verdict.
func (c *sources) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	clear(c.verdicts)
}

// gone forgets a peer: its id will be another one's.
func (c *sources) gone(id tables.PeerID) {
	c.changed()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.warned, id)
}

// known gives a verdict that was passed before, and what to hand to keep otherwise.
func (c *sources) known(k sourceKey) (verdict, ok bool, changes uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	verdict, ok = c.verdicts[k]
	return verdict, ok, c.changes
}

// keep remembers a verdict unless something changed since known. It says whether it is the
// first one against the peer.
func (c *sources) keep(k sourceKey, verdict bool, changes uint64) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verdicts == nil {
		c.verdicts, c.warned = map[sourceKey]bool{}, map[tables.PeerID]bool{}
	}
	if c.changes == changes {
		if len(c.verdicts) >= maxVerdicts {
			clear(c.verdicts)
		}
		c.verdicts[k] = verdict
	}
	if verdict || c.warned[k.peer] || len(c.warned) >= maxVerdicts {
		return false
	}
	c.warned[k.peer] = true
	return true
}

// permitted says whether a peer may send from an inner address. The pump's readers call it.
func (s *secure) permitted(id tables.PeerID, source netip.Addr) bool {
	k := sourceKey{id, source}
	verdict, ok, changes := s.sources.known(k)
	if ok {
		return verdict
	}
	verdict = s.judge(id, source)
	if s.sources.keep(k, verdict, changes) {
		s.tunnel.log.Warn().Stringer("source", source).Str("peer", s.nameOf(id)).
			Msg("dropped: the peer sends from an address that is not routed to it; further ones are counted as spoofed")
	}
	return verdict
}

func (s *secure) judge(id tables.PeerID, source netip.Addr) bool {
	route, routed := s.tunnel.daemon.mirror.In(s.tunnel.table).Lookup(source)
	if routed && route.Local {
		return false // it is our own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.ids[id]
	if e == nil {
		return false
	}
	if e.passesOn {
		return true
	}
	if s.tunnel.config.InCloud(source) {
		return e.own[source]
	}
	if source.Is6() && source.IsLinkLocalUnicast() { // it stays on the tunnel
		o := s.owners[source]
		return o == nil || o == e
	}
	if !routed || route.Unreachable || route.IfIndex != s.plain.tunnel || !route.NextHop.IsValid() {
		return false
	}
	if e.own[route.NextHop] {
		return true
	}
	// What a spoke has no shortcut to, it does not know whose it is.
	o := s.hops[route.NextHop]
	return o != nil && o.server > 0
}

func (s *secure) nameOf(id tables.PeerID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.ids[id]; e != nil {
		return e.identity
	}
	return ""
}
