// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"fmt"
	"slices"

	"dmvpn/ikev2/wire"
)

// maxGone bounds the memory for SPIs that were deleted before we knew them.
const maxGone = 8

// deleteChild deletes a Child SA, or an SPI of ours that the peer may have taken for
// one (section 1.4.1).
type deleteChild struct{ Inbound uint32 }

func (t *deleteChild) String() string { return "delete Child SA" }

func (t *deleteChild) build(m *Machine, s *ikeSA) *request {
	if c := s.inbound(t.Inbound); c != nil {
		if c.Stage == lingering {
			return nil
		}
		c.Stage = ending
	} else if _, other := m.childAnywhere(t.Inbound); other != nil {
		return nil // its SPI is another's by now
	}
	m.changedOf(s)
	return &request{exchange: wire.Informational, payloads: []wire.Payload{&wire.Delete{Protocol: wire.ProtocolESP, SPIs: []uint32{t.Inbound}}}}
}

func (t *deleteChild) process(m *Machine, s *ikeSA, _ wire.Header, _ []wire.Payload) bool {
	m.removed(s, s.inbound(t.Inbound), "deleted")
	return false
}

func (t *deleteChild) abandon(*Machine, *ikeSA) {}

// removed ends a Child SA that both sides have deleted. Late packets still come in by
// one that was rekeyed. Where it was the last one, and the peer is wanted, another is made.
func (m *Machine) removed(s *ikeSA, c *childSA, reason string) {
	switch {
	case c == nil || c.Stage == lingering:
	case c.Successor != 0 && !c.Redundant:
		m.linger(s, c)
	default:
		m.forget(s, c, reason)
		if slices.ContainsFunc(s.wants, func(w *want) bool { return !w.Connect.Once }) {
			m.childAgain(s, reason, s.ChildTries+1)
		}
	}
}

// deleteIKE deletes the IKE SA, and its Child SAs with it.
type deleteIKE struct{ Reason string }

func (t *deleteIKE) String() string { return "delete IKE SA" }

func (t *deleteIKE) build(m *Machine, s *ikeSA) *request {
	switch s.Stage {
	case established:
		s.Stage = deleting
	case replaced:
	default:
		return nil
	}
	s.GoneAt = 0 // the answer ends it, or the lack of one
	return &request{exchange: wire.Informational, payloads: []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}}}
}

func (t *deleteIKE) process(m *Machine, s *ikeSA, _ wire.Header, _ []wire.Payload) bool {
	m.die(s, t.Reason)
	return false
}

func (t *deleteIKE) abandon(*Machine, *ikeSA) {}

// deleteRequest answers the Delete payloads of one message. An error wraps
// wire.ErrSyntax.
func (m *Machine) deleteRequest(s *ikeSA, payloads []wire.Payload) ([]wire.Payload, error) {
	var ours []uint32
	for _, p := range payloads {
		d, ok := p.(*wire.Delete)
		if !ok {
			continue
		}
		switch d.Protocol {
		case wire.ProtocolIKE:
			if len(d.SPIs) != 0 {
				return nil, fmt.Errorf("deletion of an IKE SA with an SPI: %w", wire.ErrSyntax)
			}
			m.deletedIKE(s)
			return nil, nil
		case wire.ProtocolESP:
			for _, spi := range d.SPIs {
				if own := m.deletedChild(s, spi); own != 0 && !slices.Contains(ours, own) {
					ours = append(ours, own)
				}
			}
		}
	}
	if len(ours) == 0 {
		return nil, nil
	}
	return []wire.Payload{&wire.Delete{Protocol: wire.ProtocolESP, SPIs: ours}}, nil
}

// deletedChild takes away the Child SA whose other direction the peer deletes, and gives
// the SPI of ours to answer with, 0 for none.
func (m *Machine) deletedChild(s *ikeSA, spi uint32) uint32 {
	c := s.outbound(spi)
	if c == nil {
		if s.Running != nil {
			s.Gone = append(s.Gone, spi) // perhaps of the response that has not come yet
			if len(s.Gone) > maxGone {
				s.Gone = s.Gone[1:]
			}
		}
		return 0
	}
	own := c.Inbound
	if c.Stage == ending {
		own = 0 // both deleted it: its pair was named already
	}
	if next := s.inbound(c.Successor); next != nil && next.Stage == waiting {
		m.use(s, next)
	}
	m.removed(s, c, "the peer deleted it")
	return own
}

// deletedIKE ends the IKE SA on the peer's word.
func (m *Machine) deletedIKE(s *ikeSA) {
	if x := m.SAs[s.Crossing]; x != nil && x.Stage == established {
		// The peer's rekey was the better one, and it knows already.
		s.Crossing = wire.SPI{}
		m.adopt(s, x)
	}
	m.then(func() { m.goneBy(s, "the peer deleted it") })
}
