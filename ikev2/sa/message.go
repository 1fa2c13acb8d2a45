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
	ID       uint32
	Response bool
	Kept     []fragment
	Octets   int
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

// fragmentSize is what is left for IKE of the largest IP packet.
func (m *Machine) fragmentSize(s *ikeSA) int {
	size := DefaultFragmentSize
	if c := m.connection(s); c != nil {
		size = c.FragmentSize
	}
	headers := 20 + 8 + 4 // IPv4, UDP, non-ESP marker
	if s.Remote.Addr().Is6() && !s.Remote.Addr().Is4In6() {
		headers += 20
	}
	return size - headers
}

// open verifies and decrypts a message that came in on an SA. whole is false while
// fragments are missing; first tells of the first fragment, or of a message that is
// none: only it makes us repeat a response (RFC 7383, section 2.6.1). errDrop
// means that nobody who knows the keys sent it.
func (m *Machine) open(s *ikeSA, b []byte, msg *wire.Message) (payloads []wire.Payload, text []byte, inner wire.PayloadType, whole bool, err error) {
	p := s.Keys.Protection(!s.Initiator)
	text, err = p.Open(b, msg)
	switch {
	case errors.Is(err, crypto.ErrIntegrity):
		m.counters.Integrity++
		return nil, nil, 0, false, errDrop
	case err != nil:
		return nil, nil, 0, false, err
	}
	inner, _, _ = msg.Protected()
	if f, ok := msg.Payloads[len(msg.Payloads)-1].(*wire.Fragment); ok {
		if !s.Fragmentation {
			return nil, nil, 0, false, errDrop
		}
		if inner, text, whole, err = s.reassemble(msg.Header, f, text, m.config.Limits.HalfOpenOctets); err != nil || !whole {
			return nil, nil, 0, false, err
		}
	} else {
		s.Fragments = fragments{}
	}
	payloads, err = wire.ParseInner(inner, text)
	return payloads, text, inner, true, err
}

var errDrop = errors.New("dropped")

// reassemble keeps a verified fragment and gives the whole when it was the last.
func (s *ikeSA) reassemble(h wire.Header, f *wire.Fragment, text []byte, limit int) (inner wire.PayloadType, all []byte, whole bool, err error) {
	k := &s.Fragments
	if len(k.Kept) > 0 && (k.ID != h.MessageID || k.Response != h.Response) {
		*k = fragments{}
	}
	if len(k.Kept) > 0 && f.Total != k.Kept[0].Total {
		if f.Total < k.Kept[0].Total {
			return 0, nil, false, nil // late
		}
		*k = fragments{} // the sender began anew with smaller ones
	}
	k.ID, k.Response = h.MessageID, h.Response
	for _, old := range k.Kept {
		if old.Number == f.Number {
			return 0, nil, false, nil
		}
	}
	if s.Stage == halfOpen && k.Octets+len(text) > limit {
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
