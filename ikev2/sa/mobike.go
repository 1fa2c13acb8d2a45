// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"net/netip"

	"dmvpn/ikev2/wire"
)

// Of MOBIKE (RFC 4555) we are the responder, in tunnel mode: the peer may move. We do not, and
// do not announce it.

// mobikeRequest answers a peer that moves (section 3.5).
func (m *Machine) mobikeRequest(s *ikeSA, in *Datagram, payloads, answer []wire.Payload) ([]wire.Payload, error) {
	if c := wire.FindNotify(payloads, wire.Cookie2); c != nil {
		data, err := c.CookieData()
		if err != nil {
			return nil, err
		}
		answer = append(answer, &wire.Notify{Type: wire.Cookie2, Data: data})
	}
	if wire.FindNotify(payloads, wire.NATDetectionSourceIP) != nil {
		answer = append(answer, naming(s.SPIi, s.SPIr, in.Local, in.Remote, m.connection(s).ForceEncapsulation)...)
	}
	if wire.FindNotify(payloads, wire.UpdateSAAddresses) == nil {
		return answer, nil
	}
	if c := m.connection(s); c.Address.IsValid() && c.Address != in.Local.Addr().Unmap() || s.inTunnel(in.Local, in.Remote) {
		m.report(s, Warning, "%s wants to move to a path from %s to %s that is not allowed", s.RemoteID, in.Remote, in.Local)
		return []wire.Payload{&wire.Notify{Type: wire.UnacceptableAddresses}}, nil
	}
	if id := s.In.Next; id >= s.Update {
		s.Update = id
		s.detectNAT(payloads, wire.Header{SPIi: s.SPIi, SPIr: s.SPIr}, in.Local, in.Remote)
		local, remote := in.Local, in.Remote
		m.then(func() {
			m.move(s, local, remote)
			s.enqueue(&routability{Local: local, Remote: remote})
		})
	}
	return answer, nil
}

// routability asks whether a peer that moved is where it says before ESP goes there: whoever
// moves could point our packets at somebody else (section 3.7).
type routability struct {
	Local, Remote netip.AddrPort
	Cookie        []byte
}

func (t *routability) String() string { return "return routability check" }

func (t *routability) build(m *Machine, s *ikeSA) *request {
	if s.Stage != established || s.Local != t.Local || s.Remote != t.Remote {
		return nil // it moved again
	}
	t.Cookie = m.draw(32)
	return &request{exchange: wire.Informational, payloads: []wire.Payload{&wire.Notify{Type: wire.Cookie2, Data: t.Cookie}}}
}

func (t *routability) process(m *Machine, s *ikeSA, _ wire.Header, response []wire.Payload) bool {
	if n := wire.FindNotify(response, wire.Cookie2); n == nil || !bytes.Equal(n.Data, t.Cookie) {
		m.endSoon(s, "the peer does not return the cookie that went to its new address")
		return false
	}
	if s.Local != t.Local || s.Remote != t.Remote {
		return false // it moved again, and is asked again
	}
	m.rewrap(s)
	return false
}

func (t *routability) abandon(*Machine, *ikeSA) {}
