// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"

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
	if s.NATRemote && !s.NATLocal && s.Remote != remote {
		m.move(s, local, remote)
	}
}

// move changes the endpoints of an IKE SA and its Child SAs.
func (m *Machine) move(s *ikeSA, local, remote netip.AddrPort) {
	m.report(s, Notice, "%s moved from %s to %s", s.RemoteID, s.Remote, remote)
	m.relocate(s, local, remote)
	for _, c := range s.Children {
		if s.Held == nil || s.Held.Inbound != c.Inbound {
			m.config.Installer.Move(c.Inbound, local, remote, c.Encapsulation)
		}
	}
	if s.Held != nil {
		s.Held.Local, s.Held.Remote = local, remote
	}
	m.touch(s)
	m.changedOf(s)
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
	if in.Remote.IsValid() {
		m.follow(s, in.Local, in.Remote)
	}
}

// readdressed makes new IKE SAs where an address of ours has become another. In transport
// mode the address is part of the SA: it cannot move.
func (m *Machine) readdressed(in *Readdressed) {
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

// mobikeRequest answers a peer that moves, in tunnel mode (RFC 4555, section 3.5).
func (m *Machine) mobikeRequest(s *ikeSA, in *Datagram, payloads, answer []wire.Payload) ([]wire.Payload, error) {
	if c := wire.FindNotify(payloads, wire.Cookie2); c != nil {
		data, err := c.CookieData()
		if err != nil {
			return nil, err
		}
		answer = append(answer, &wire.Notify{Type: wire.Cookie2, Data: data})
	}
	if wire.FindNotify(payloads, wire.NATDetectionSourceIP) != nil {
		answer = append(answer, naming(s.SPIi, s.SPIr, in.Local, in.Remote, false)...)
	}
	if wire.FindNotify(payloads, wire.UpdateSAAddresses) == nil {
		return answer, nil
	}
	if id := s.In.Next; id >= s.Update {
		s.Update = id
		h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr}
		s.detectNAT(payloads, h, in.Local, in.Remote)
		m.then(func() { m.move(s, in.Local, in.Remote) })
	}
	return answer, nil
}
