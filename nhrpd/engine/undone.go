// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// doubts are what was asked for and not carried out: it is asked for again when it is settled
// the next time. They are not exported: after Import everything is said again.
type doubts struct {
	routes map[netip.Prefix]bool
	hops   map[netip.Addr]bool
}

func newDoubts() doubts {
	return doubts{routes: map[netip.Prefix]bool{}, hops: map[netip.Addr]bool{}}
}

// confirmation is the reply of the last Handle that says that a registration stands.
type confirmation struct {
	to    Endpoint
	reply *wire.Packet
}

// confirm sends a Registration Reply behind what it is about. It is kept until the next input,
// for undone to answer in its place.
func (m *Machine) confirm(to Endpoint, r *wire.Packet) {
	if m.transmit(to, r, true) {
		m.confirming = &confirmation{to, r}
	}
}

// undone takes what was not carried out. Where a reply was withheld, what does not stand is not
// registered: the client is told so with code 5, of these entries alone.
func (m *Machine) undone(in Undone) {
	c := m.confirming
	if m.confirming = nil; !in.Withheld {
		c = nil
	}
	for _, a := range in.Actions {
		prefix, hop := netip.Prefix{}, false
		switch a := a.(type) {
		case InstallRoute:
			m.doubts.routes[a.Prefix], prefix = true, a.Prefix
		case Bind:
			m.doubts.hops[a.NextHop], prefix, hop = true, host(a.NextHop), true
		}
		if c == nil {
			continue
		}
		if b, ok := m.bindings.Get(prefix); ok && b.host() == hop && b.To.Is(c.to) {
			m.removeBinding(b, "what it needs of the kernel could not be had")
		}
	}
	if c == nil {
		return
	}
	m.count("registration-reply-withheld")
	for i := range c.reply.CIEs {
		e := &c.reply.CIEs[i]
		if e.Code.NAK() {
			continue
		}
		prefix := e.Prefix(clientAddress(c.reply, *e))
		if b, ok := m.bindings.Get(prefix); ok && b.To.Is(c.to) {
			continue
		}
		e.Code, e.HoldingTime = wire.CodeInsufficientResources, 0
		m.count("registration-refused")
		m.complain(c.to, "registration of %v refused: what it needs of the kernel could not be had (%v)", prefix, e.Code)
	}
	m.send(c.to, c.reply)
}
