// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"errors"
	"fmt"
	"net/netip"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// fragments are those of one message that is not whole yet, each verified before it
// was kept (RFC 7383, section 2.6).
type fragments struct {
	ID     uint32
	Kept   []fragment
	Octets int
}

type fragment struct {
	Number, Total uint16
	Inner         wire.PayloadType
	Text          []byte
}

// plain says whether an exchange has no SK payload.
func plain(x wire.ExchangeType) bool { return x == wire.IKESAInit }

// seal makes the datagrams of one message.
func (m *Machine) seal(s *ikeSA, h wire.Header, payloads []wire.Payload) ([][]byte, error) {
	m.trace(s.Local, s.Remote, true, h, payloads)
	if plain(h.Exchange) {
		b, err := (&wire.Message{Header: h, Payloads: payloads}).Append(nil)
		return [][]byte{b}, err
	}
	p := s.Keys.Protection(s.Initiator)
	p.Next = s.NextIV
	defer func() { s.NextIV = p.Next }()
	if !s.Fragmentation {
		b, err := p.Seal(h, payloads, m.config.Random)
		return [][]byte{b}, err
	}
	return p.SealFragments(h, payloads, m.fragmentSize(s), m.config.Random)
}

// fragmentSize is what is left for IKE of the largest IP packet. Before a responder knows
// which connection the peer means, no candidate's is exceeded.
func (m *Machine) fragmentSize(s *ikeSA) int {
	size := DefaultFragmentSize
	if c := m.connection(s); c != nil {
		size = c.FragmentSize
	} else {
		for _, c := range m.candidates(s, nil, nil) {
			size = min(size, c.FragmentSize)
		}
	}
	headers := 20 + 8 + 4 // IPv4, UDP, non-ESP marker
	if s.Remote.Addr().Is6() && !s.Remote.Addr().Is4In6() {
		headers += 20
	}
	return size - headers
}

// verify opens one datagram of an SA. errDrop means that nobody who knows the keys sent
// it; an error that wraps wire.ErrSyntax is about the padding.
func (m *Machine) verify(s *ikeSA, b []byte, msg *wire.Message) ([]byte, error) {
	keys := s.Keys
	if i := s.Initial; i != nil && i.Past != nil && !msg.Response && msg.MessageID != s.In.Next {
		keys = i.Past // of a copy of the last round
	}
	text, err := keys.Protection(!s.Initiator).Open(b, msg)
	if errors.Is(err, crypto.ErrIntegrity) {
		m.counters.Integrity++
		return nil, errDrop
	}
	return text, err
}

// read decodes what verify gave. whole is false while fragments are missing.
func (m *Machine) read(s *ikeSA, msg *wire.Message, opened []byte, bad error) (payloads []wire.Payload, text []byte, inner wire.PayloadType, whole bool, err error) {
	if bad != nil {
		return nil, nil, 0, false, bad
	}
	inner, _, _ = msg.Protected()
	kept := &s.In.Fragments
	if msg.Response {
		kept = &s.Out.Fragments
	}
	if f, ok := msg.Payloads[len(msg.Payloads)-1].(*wire.Fragment); ok {
		if !s.Fragmentation {
			return nil, nil, 0, false, errDrop
		}
		if inner, opened, whole, err = m.reassemble(s, kept, msg.MessageID, f, opened); err != nil || !whole {
			return nil, nil, 0, false, err
		}
	} else {
		*kept = fragments{}
	}
	payloads, err = wire.ParseInner(inner, opened)
	return payloads, opened, inner, true, err
}

var errDrop = errors.New("dropped")

// reassemble keeps a verified fragment and gives the whole when it was the last.
func (m *Machine) reassemble(s *ikeSA, k *fragments, id uint32, f *wire.Fragment, text []byte) (inner wire.PayloadType, all []byte, whole bool, err error) {
	if len(k.Kept) > 0 && k.ID != id {
		*k = fragments{}
	}
	if len(k.Kept) > 0 && f.Total != k.Kept[0].Total {
		if f.Total < k.Kept[0].Total { // late
			m.counters.Replayed++
			return 0, nil, false, errDrop
		}
		*k = fragments{} // the sender began anew with smaller ones
	}
	k.ID = id
	for _, old := range k.Kept {
		if old.Number == f.Number {
			m.counters.Replayed++
			return 0, nil, false, errDrop
		}
	}
	most := wire.MaxMessage
	if s.Stage == halfOpen {
		most = min(most, m.config.Limits.HalfOpenOctets)
	}
	if k.Octets+len(text) > most {
		m.counters.Syntax++
		*k = fragments{}
		return 0, nil, false, errDrop
	}
	k.Kept = append(k.Kept, fragment{f.Number, f.Total, f.Inner, text})
	k.Octets += len(text)
	if len(k.Kept) < int(f.Total) {
		return 0, nil, false, nil
	}
	var r wire.Reassembly
	for _, p := range k.Kept {
		if whole, err = r.Add(&wire.Fragment{Number: p.Number, Total: p.Total, Inner: p.Inner}, p.Text); err != nil {
			return 0, nil, false, err
		}
	}
	*k = fragments{}
	inner, all = r.Message()
	return inner, all, whole, nil
}

// report tells the log.
func (m *Machine) report(s *ikeSA, level Level, format string, args ...any) {
	r := &Report{Level: level, Message: fmt.Sprintf(format, args...)}
	if s != nil {
		r.SA, r.Remote = s.ID, s.Remote
	}
	m.do(r)
}

func (m *Machine) trace(local, remote netip.AddrPort, out bool, h wire.Header, payloads []wire.Payload) {
	if m.config.Trace == nil || !m.config.Trace(remote.Addr()) {
		return
	}
	m.do(&Trace{Local: local, Remote: remote, Out: out, Message: h.String() + " " + wire.Describe(payloads)})
}
