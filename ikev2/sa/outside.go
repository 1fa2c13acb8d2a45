// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"
	"slices"

	"dmvpn/ikev2/wire"
)

// strange answers a message about an IKE SA that we do not have, if anything
// (sections 1.5 and 2.21.4; RFC 6290).
func (m *Machine) strange(in *Datagram, h wire.Header) {
	m.counters.Unknown++
	if h.Response || m.lostThere(in, h) || !m.mayRefuse(in) {
		return
	}
	payloads := []wire.Payload{&wire.Notify{Type: wire.InvalidIKESPI}}
	if !m.has(h) {
		payloads = append(payloads, m.token(h.SPIi, h.SPIr)...)
	}
	m.sendPlain(in, wire.Header{SPIi: h.SPIi, SPIr: h.SPIr, Exchange: h.Exchange, Initiator: !h.Initiator, Response: true, MessageID: h.MessageID}, payloads)
}

// has says whether one of a message's SPIs is one that we chose, whoever of the two the message
// says that its sender is: of an IKE SA at any stage, or of one that our rekey may yet make.
func (m *Machine) has(h wire.Header) bool {
	return m.SAs[h.SPIi] != nil || m.SAs[h.SPIr] != nil || m.index.drawn[h.SPIi]
}

// unprotected takes a message in clear about an SA of ours: a hint, unless its token
// proves that the peer has lost its state.
func (m *Machine) unprotected(s *ikeSA, in *Datagram, msg *wire.Message) {
	if s.restarted(msg.Payloads) {
		m.crashed(s)
		return
	}
	if wire.FindNotify(msg.Payloads, wire.InvalidIKESPI) != nil || wire.FindNotify(msg.Payloads, wire.InvalidSPI) != nil {
		m.hint(s)
	}
}

// lostHere tells somebody with whom we have no IKE SA that we have none for its ESP either: we
// may have restarted (section 1.5).
func (m *Machine) lostHere(in *UnknownSPI) {
	l := m.config.Limits
	if !m.Strays.take(m.now, l.ErrorsPerSecond, share{in.Remote, 1}, share{addressOf(in.Remote), l.ErrorsPerAddress}) {
		return
	}
	m.sendPlain(&Datagram{Local: in.Local, Remote: in.Remote}, wire.Header{Exchange: wire.Informational, Initiator: true},
		[]wire.Payload{&wire.Notify{Type: wire.InvalidSPI, Data: spiOctets(in.SPI)}})
}

// lostThere takes the same from a peer and says whether it is that, which is never answered.
// The IKE SPIs are zero, or any that the peer likes; the SPI of an SA that we send by makes it
// a hint.
func (m *Machine) lostThere(in *Datagram, h wire.Header) bool {
	if h.Exchange != wire.Informational || h.Response {
		return false
	}
	msg, err := wire.Parse(in.Data)
	if err != nil {
		return false
	}
	n := wire.FindNotify(msg.Payloads, wire.InvalidSPI)
	if n == nil {
		return false
	}
	if len(n.Data) != 4 {
		return true
	}
	for _, s := range m.index.at[in.Remote.Addr()] {
		if s.outbound(spiOf(n.Data)) != nil {
			m.trace(in.Local, in.Remote, false, h, msg.Payloads)
			m.hint(s)
		}
	}
	return true
}

// wrongVersion answers a message of a higher major version, in one of ours (section 2.5).
func (m *Machine) wrongVersion(in *Datagram, h wire.Header) {
	m.counters.Syntax++
	if h.Response || !m.mayRefuse(in) {
		return
	}
	m.sendPlain(in, wire.Header{SPIi: h.SPIi, SPIr: h.SPIr, Exchange: h.Exchange, Initiator: !h.Initiator, Response: true, MessageID: h.MessageID},
		[]wire.Payload{&wire.Notify{Type: wire.InvalidMajorVersion}})
}

// sendPlain answers a datagram without protection and without state.
func (m *Machine) sendPlain(in *Datagram, h wire.Header, payloads []wire.Payload) {
	b, err := (&wire.Message{Header: h, Payloads: payloads}).Append(nil)
	if err != nil {
		return
	}
	m.trace(in.Local, in.Remote, true, h, payloads)
	m.do(&Send{Local: in.Local, Remote: in.Remote, Data: b})
}

// mayRefuse says whether the sender of a datagram may be told of an error once more.
func (m *Machine) mayRefuse(in *Datagram) bool {
	l := m.config.Limits
	return m.Refused.take(m.now, l.ErrorsPerSecond, share{addressOf(in.Remote), l.ErrorsPerAddress})
}

// quota bounds what we say in clear within a second: in all, which bounds By too, and to each,
// so that a stranger does not use up what others need.
type quota struct {
	Second instant
	Used   int
	By     map[netip.AddrPort]int
}

// share is how much one endpoint may have, or all those of an address.
type share struct {
	who  netip.AddrPort
	most int
}

func addressOf(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(site(a.Addr()), 0) }

// site is what one sender is counted by: of IPv6 it has a /64 of addresses at least.
func site(a netip.Addr) netip.Addr {
	if a.Unmap().Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

func (q *quota) take(now instant, all int, shares ...share) bool {
	if q.By == nil || now >= q.Second.after(second) {
		*q = quota{Second: now, By: map[netip.AddrPort]int{}}
	}
	if q.Used >= all || slices.ContainsFunc(shares, func(s share) bool { return q.By[s.who] >= s.most }) {
		return false
	}
	q.Used++
	for _, s := range shares {
		q.By[s.who]++
	}
	return true
}
