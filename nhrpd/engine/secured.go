// SPDX-License-Identifier: Apache-2.0

package engine

import "dmvpn/nhrpd/wire"

// secured tries at once what could not be sent before there was an SA: the
// registration with a server, and requests that wait for it.
func (m *Machine) secured(at Endpoint) {
	m.pathSecured(at)
	for _, s := range m.servers {
		to, ok := s.to()
		if !ok || !to.Is(at) {
			continue
		}
		if r := s.own(); !r.Registered || r.Waiting {
			m.registerNow(s)
		}
		m.serverDue(s)
	}
	for _, q := range m.requests.All() {
		if q.To.Is(at) {
			q.Next = m.now
			m.requests.Put(q.ID, q, q.Next)
		}
	}
}

// observedPort puts the UDP port that we see a client behind NAT come from into our
// own extension: Cisco's has no place for it.
func (m *Machine) observedPort(from Endpoint, p *wire.Packet) {
	if from.Port == 0 {
		return
	}
	own, _ := p.Private()
	own.Port = from.Port
	if p.SetPrivate(own) != nil {
		m.count("encode-failed")
	}
}

// translated is where a NATed system is: the public address and the port observed of
// it; but who is behind the same NAT as we are is reached by its own address.
func (m *Machine) translated(p *wire.Packet, public, private Endpoint) Endpoint {
	if public.NBMA == m.public().NBMA {
		return private
	}
	if own, ok := p.Private(); ok {
		public.Port = own.Port
	}
	return public
}
