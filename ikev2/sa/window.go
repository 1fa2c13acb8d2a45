// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"math"
	"net/netip"
	"time"

	"dmvpn/ikev2/wire"
)

// outgoing is our side of the window, which has room for one request (section 2.3).
type outgoing struct {
	Next    uint32 // message id of the next request
	Pending bool
	Header  wire.Header // of the request that is not answered yet
	Packets [][]byte    // the same octets each time (section 2.1)
	Repeats int
	Limit   int
	At      instant // of the next repeat
	// Fragments are those of the response. They do not push out a request's, which may
	// come at the same time.
	Fragments fragments
}

// incoming is the peer's side of it.
type incoming struct {
	Next    uint32   // message id that the next request has
	Packets [][]byte // response to the one before
	// The exchange whose response that is; 0: none was sent.
	Exchange wire.ExchangeType
	Repeats  bucket // copies of it that were answered
	// Fragments are those of the next request.
	Fragments fragments
}

// bucket bounds how often something is done in a second.
type bucket struct {
	Second instant
	Used   int
}

func (b *bucket) take(now instant, perSecond int) bool {
	if now >= b.Second.after(second) {
		b.Second, b.Used = now, 0
	}
	b.Used++
	return b.Used <= perSecond
}

// send seals a request and sends it for the first time.
func (m *Machine) send(s *ikeSA, r *request) {
	if s.Out.Next == math.MaxUint32 {
		m.die(s, "its message ids are used up")
		return
	}
	h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: r.exchange, Initiator: s.Initiator, MessageID: s.Out.Next}
	packets, err := m.seal(s, h, r.payloads)
	if err != nil {
		m.report(s, Warning, "%s: %v", r.exchange, err)
		m.die(s, "a message could not be made")
		return
	}
	o := &s.Out
	o.Next++
	m.spent(s)
	o.Pending, o.Header, o.Packets, o.Repeats, o.Limit = true, h, packets, 0, r.repeats
	if o.Limit == 0 {
		o.Limit = maxRepeats
	}
	o.At = m.at(m.repeatPause(s))
	m.transmit(s, o.Packets)
}

// spent rekeys an IKE SA long before its message ids end: they never begin again.
func (m *Machine) spent(s *ikeSA) {
	if s.Stage == established && (s.Out.Next == messageIDEnd || s.In.Next == messageIDEnd) {
		m.startRekeyIKE(s)
	}
}

// repeatPause grows with each repeat. Where somebody waits to learn whether the peer lives,
// it is short, and begins anew with that question.
func (m *Machine) repeatPause(s *ikeSA) time.Duration {
	first, n := firstRepeat, s.Out.Repeats
	if s.Out.Limit <= probeRepeats || s.Asked != 0 {
		first, n = firstProbe, max(n+probeRepeats-s.Out.Limit, 0)
	}
	return time.Duration(float64(first) * math.Pow(repeatFactor, float64(n)))
}

// repeat sends the request again, or gives the peer up (section 2.4): one that is not heard
// of at all sooner than one that has only no answer to this.
func (m *Machine) repeat(s *ikeSA) {
	o := &s.Out
	t, initial := s.Running.(*initiate)
	if o.Repeats >= o.Limit || o.Repeats >= leastRepeats && m.silent(s) {
		m.counters.PeersDead++
		if initial {
			t.unanswered(m, s)
			return
		}
		m.die(s, NoAnswer)
		return
	}
	o.Repeats++
	m.counters.Repeats++
	if initial && t.Step == stepInit && s.Initial.Renewed {
		s.Initial.Renewed = false
		n := o.Repeats
		m.advance(s, t)
		o.Repeats = n
		o.At = m.at(m.repeatPause(s))
		return
	}
	o.At = m.at(m.repeatPause(s))
	m.transmit(s, o.Packets)
}

// repeatNow sends the request again at once, without counting it.
func (m *Machine) repeatNow(s *ikeSA) {
	if s.Out.Pending {
		m.transmit(s, s.Out.Packets)
	}
}

// answered ends the wait for a response.
func (s *ikeSA) answered() {
	s.Out.Pending, s.Out.Packets, s.Out.At, s.Out.Fragments = false, nil, 0, fragments{}
}

// respond seals the response to the request that In.Next counts next, keeps it and
// sends it to where the request came from (section 2.11).
func (m *Machine) respond(s *ikeSA, exchange wire.ExchangeType, payloads []wire.Payload, local, remote netip.AddrPort) {
	h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: exchange, Initiator: s.Initiator, Response: true, MessageID: s.In.Next}
	packets, err := m.seal(s, h, payloads)
	if err != nil {
		m.report(s, Warning, "%s: %v", exchange, err)
		return
	}
	if s.In.Next++; s.In.Next == math.MaxUint32 {
		m.then(func() { m.goneBy(s, "the peer's message ids are used up") })
	}
	m.spent(s)
	s.In.Packets, s.In.Exchange, s.In.Repeats = packets, exchange, bucket{}
	m.transmitTo(local, remote, packets)
}

func (m *Machine) transmit(s *ikeSA, packets [][]byte) { m.transmitTo(s.Local, s.Remote, packets) }

func (m *Machine) transmitTo(local, remote netip.AddrPort, packets [][]byte) {
	for _, p := range packets {
		m.do(&Send{Local: local, Remote: remote, Data: p})
	}
}
