// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"
	"slices"

	"dmvpn/ikev2/wire"
)

// heard notes a fresh message that the peer itself sent, and follows it to a new
// endpoint if it is behind a NAT and we are not (section 2.23).
func (m *Machine) heard(s *ikeSA, in *Datagram) {
	m.touch(s)
	if s.Stage == halfOpen || s.Stage == connecting {
		return
	}
	s.Heard = m.now
	m.proved(s)
	m.confirm(s, false)
	if !s.MOBIKE {
		m.follow(s, in.Local, in.Remote)
	}
}

// follow moves an SA whose NATed peer comes from elsewhere.
func (m *Machine) follow(s *ikeSA, local, remote netip.AddrPort) {
	if s.NATRemote && !s.NATLocal && s.Remote != remote && !s.inTunnel(local, remote) {
		m.move(s, local, remote)
		m.moveChildren(s, local, remote)
	}
}

// move changes the endpoints of an IKE SA.
func (m *Machine) move(s *ikeSA, local, remote netip.AddrPort) {
	m.report(s, Notice, "%s moved from %s to %s", s.RemoteID, s.Remote, remote)
	m.relocate(s, local, remote)
	m.keepOpen(s)
	m.touch(s)
	m.changedOf(s)
}

// moveChildren changes those of its Child SAs.
func (m *Machine) moveChildren(s *ikeSA, local, remote netip.AddrPort) {
	for _, c := range s.Children {
		if h := s.Held; h != nil && h.Inbound == c.Inbound {
			h.Local, h.Remote, h.Encapsulation = local, remote, c.Encapsulation
			continue
		}
		m.config.Installer.Move(c.Inbound, local, remote, c.Encapsulation)
	}
}

// rewrap makes all Child SAs go where the IKE SA goes now, in UDP or not.
func (m *Machine) rewrap(s *ikeSA) {
	for _, c := range s.Children {
		c.Encapsulation = m.encapsulated(s)
	}
	m.moveChildren(s, s.Local, s.Remote)
}

// keepOpen plans the keepalives of an end that is behind a NAT (section 2.23).
func (m *Machine) keepOpen(s *ikeSA) {
	c := m.connection(s)
	switch {
	case !s.NATLocal || c.Keepalive == 0:
		s.KeepaliveAt = 0
	case s.KeepaliveAt == 0:
		s.KeepaliveAt = m.at(c.Keepalive)
	}
}

// inTunnel says whether a path would run inside the SA's own tunnel: an address of the overlay
// is none of the underlay. Where the tunnel carries everything nobody can tell.
func (s *ikeSA) inTunnel(local, remote netip.AddrPort) bool {
	for _, c := range s.Children {
		if c.Mode != Tunnel {
			continue
		}
		if carries(c.There, remote) && !carries(c.There, s.Remote) || carries(c.Here, local) && !carries(c.Here, s.Local) {
			return true
		}
	}
	return false
}

func carries(list []wire.Selector, a netip.AddrPort) bool {
	h := host(a.Addr(), 0)
	return slices.ContainsFunc(list, func(s wire.Selector) bool {
		return s.Type == h.Type && s.Start.Compare(h.Start) <= 0 && h.End.Compare(s.End) <= 0
	})
}

// arrived takes what the data plane says of ESP that was verified.
func (m *Machine) arrived(in *Arrived) {
	s, c := m.childAnywhere(in.Inbound)
	if s == nil {
		return
	}
	m.touch(s)
	s.Heard = m.now
	fresh := c.Stage == waiting && s.Contest == 0 && !c.Redundant
	m.confirm(s, true)
	if o, _ := m.current(m.Peers[s.Peer]); fresh && (o == nil || o.Origin == s.Origin) {
		// The peer has the new SA: packets may leave by it (section 2.8). Between two
		// IKE SAs it is settle that decides.
		m.use(s, c)
	}
	switch {
	case in.Raw:
		if c.Encapsulation && !s.NATLocal && !s.NATRemote {
			m.report(s, Notice, "%s sends ESP without UDP: so do we", s.RemoteID)
			s.Raw = true
			m.rewrap(s)
		}
	case !in.Remote.IsValid():
	case !s.MOBIKE:
		m.follow(s, in.Local, in.Remote)
	case s.NATRemote && !s.NATLocal && !s.inTunnel(in.Local, in.Remote):
		m.moveChildren(s, in.Local, in.Remote) // ESP alone (RFC 4555, section 3.8)
	}
}

// readdressed makes new IKE SAs where an address of ours has become another. In transport
// mode the address is part of the SA: it cannot move.
func (m *Machine) readdressed(in *Readdressed) {
	for _, w := range m.Wants {
		if w.Connect.Local.Addr() == in.Old {
			w.Connect.Local = netip.AddrPortFrom(in.New, w.Connect.Local.Port())
		}
	}
	for _, s := range m.all() {
		if s.Local.Addr() != in.Old || s.Stage == closed {
			continue
		}
		local := netip.AddrPortFrom(in.New, s.Local.Port())
		switch s.Stage {
		case connecting:
			i := s.Initial
			m.die(s, "our address has changed")
			if c := m.connections[s.Connection]; c != nil {
				m.replaceWant(s, m.attempt(c, local, s.Remote, i.Identity))
			}
		case established:
			s.Local = local
			m.again(s)
		default:
			s.Local = local
		}
	}
}

// again makes a new IKE SA with the same peer that is to replace this one: make before
// break.
func (m *Machine) again(s *ikeSA) {
	c := m.connection(s)
	if s.Remaking || s.Stage != established || c == nil {
		return
	}
	s.Remaking = true
	remote := s.Remote
	local := s.Local
	if !s.NATLocal && !s.NATRemote && remote.Port() == portNATT {
		// The path is looked at anew.
		local, remote = netip.AddrPortFrom(local.Addr(), portIKE), netip.AddrPortFrom(remote.Addr(), portIKE)
	}
	n := m.attempt(c, local, remote, s.RemoteID)
	n.Replaces, n.Remakes = s.SPIi, s.own()
}
