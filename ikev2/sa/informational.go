// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"dmvpn/ikev2/wire"
)

// inform is one INFORMATIONAL exchange: empty as a probe, or with a notification.
type inform struct {
	Type    wire.NotifyType // 0: none
	Data    []byte
	Repeats int
}

func (t *inform) String() string {
	if t.Type == 0 {
		return "liveness check"
	}
	return t.Type.String()
}

func (t *inform) build(m *Machine, s *ikeSA) *request {
	if s.Stage != established {
		return nil
	}
	r := &request{exchange: wire.Informational, repeats: t.Repeats}
	switch t.Type {
	case 0:
	case wire.QuickCrashDetection:
		r.payloads = m.token(s.SPIi, s.SPIr) // of this IKE SA, wherever the task comes from
	default:
		r.payloads = []wire.Payload{&wire.Notify{Type: t.Type, Data: t.Data}}
	}
	return r
}

func (t *inform) process(*Machine, *ikeSA, wire.Header, []wire.Payload) bool { return false }

func (t *inform) abandon(*Machine, *ikeSA) {}

// informationalRequest answers INFORMATIONAL. An error wraps wire.ErrSyntax.
func (m *Machine) informationalRequest(s *ikeSA, in *Datagram, payloads []wire.Payload) ([]wire.Payload, error) {
	for _, p := range payloads {
		n, ok := p.(*wire.Notify)
		if !ok {
			continue
		}
		switch n.Type {
		case wire.AuthenticationFailed, wire.InvalidSyntax:
			m.then(func() {
				m.report(s, Warning, "the peer says %s", n.Type)
				m.goneBy(s, "the peer says "+n.Type.String())
			})
			return nil, nil
		case wire.InvalidSPI:
			m.peerLost(s, n.Data)
		case wire.QuickCrashDetection:
			s.readToken(payloads)
		}
	}
	answer, err := m.deleteRequest(s, payloads)
	if err != nil || !s.MOBIKE {
		return answer, err
	}
	return m.mobikeRequest(s, in, payloads, answer)
}

// peerLost heeds a verified INVALID_SPI: the peer gets ESP that it has no SA for. Unless it
// crossed a change here, a rekey finds out what is left there.
func (m *Machine) peerLost(s *ikeSA, data []byte) {
	if len(data) != 4 {
		return
	}
	if c := s.outbound(spiOf(data)); c != nil && c.Stage == active && m.now > c.Made.after(lingerInbound) {
		m.report(s, Notice, "the peer has no SA %08x", c.Outbound)
		c.RekeyAt = m.now
		m.touch(s)
	}
}

// hint asks a peer whether it lives because something says that it may not; at most once
// in a while, for hints prove nothing (section 2.4).
func (m *Machine) hint(s *ikeSA) {
	if s.Stage != established || s.Probed != 0 && m.now < s.Probed.after(hintPause) {
		return
	}
	s.Probed = m.now
	m.touch(s)
	if s.Out.Pending {
		m.repeatNow(s)
		return
	}
	s.enqueue(&inform{})
}

// unknownSPI tells a peer that we have no SA for its ESP (section 1.5): in the IKE SA with it
// or, if there is none, in clear.
func (m *Machine) unknownSPI(in *UnknownSPI) {
	near := m.index.at[in.Remote.Addr()]
	for _, s := range near {
		if !sameEnd(s.Remote, in.Remote) || s.Remote.Port() != in.Remote.Port() && s.NATRemote {
			continue
		}
		if t, ok := s.Running.(*createChild); ok && t.N != nil && t.N.Inbound == in.SPI {
			// The response is lost, and the peer uses what it made: ask for it again (section 2.8).
			m.touch(s)
			m.repeatNow(s)
			return
		}
	}
	known := false
	for _, s := range near {
		if !sameEnd(s.Remote, in.Remote) || s.Stage == halfOpen { // that one has proved nothing
			continue
		}
		known = true
		if s.Stage != established || s.Told != 0 && m.now < s.Told.after(hintPause) {
			continue
		}
		s.Told = m.now
		m.touch(s)
		s.enqueue(&inform{Type: wire.InvalidSPI, Data: spiOctets(in.SPI)})
		return
	}
	if !known {
		m.lostHere(in)
	}
}

func (m *Machine) unreachable(in *Unreachable) {
	for _, s := range m.index.at[in.Remote.Addr()] {
		if s.Remote == in.Remote {
			m.hint(s)
		}
	}
}
