// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"errors"
	"slices"

	"dmvpn/ikev2/wire"
)

// datagram takes one IKE message.
func (m *Machine) datagram(in *Datagram) {
	h, first, err := wire.ParseHeader(in.Data)
	if errors.Is(err, wire.ErrMajorVersion) {
		m.wrongVersion(in, h)
		return
	}
	if err != nil {
		m.counters.Syntax++
		return
	}
	_ = first
	if h.SPIi.IsZero() {
		if !m.lostThere(in, h) {
			m.counters.Syntax++
		}
		return
	}
	if plain(h.Exchange) {
		m.initial(in, h)
		return
	}
	own := h.SPIi
	if h.Initiator { // the sender is the original initiator, so we are not
		own = h.SPIr
	}
	s := m.SAs[own]
	if s == nil || s.Initiator == h.Initiator || s.Keys == nil || s.SPIi != h.SPIi || s.SPIr != h.SPIr {
		m.strange(in, h)
		return
	}
	msg, err := wire.Parse(in.Data)
	if err != nil {
		// It was not verified yet: whoever sent it gets no answer (section 2.21).
		m.counters.Syntax++
		return
	}
	if _, _, ok := msg.Protected(); !ok || !skipped(msg.Payloads[:len(msg.Payloads)-1]) {
		m.unprotected(s, in, msg)
		return
	}
	m.protected(s, in, msg)
}

// skipped says whether payloads in front of SK are such that nobody need know (section 2.5).
// They are verified with it.
func skipped(payloads []wire.Payload) bool {
	return !slices.ContainsFunc(payloads, func(p wire.Payload) bool {
		_, unknown := p.(*wire.Unknown)
		return !unknown
	})
}

// initial takes a message of IKE_SA_INIT.
func (m *Machine) initial(in *Datagram, h wire.Header) {
	switch {
	case !h.Response && h.Initiator && h.SPIr.IsZero() && h.MessageID == 0:
		m.initRequest(in, h)
	case h.Response && !h.Initiator && h.MessageID == 0:
		m.initResponse(in, h)
	default:
		m.counters.Syntax++
	}
}

// protected takes a message with an SK payload.
func (m *Machine) protected(s *ikeSA, in *Datagram, msg *wire.Message) {
	h := msg.Header
	if h.Response {
		if !s.Out.Pending || h.MessageID != s.Out.Header.MessageID || h.Exchange != s.Out.Header.Exchange {
			m.counters.Replayed++
			return
		}
	} else if h.MessageID != s.In.Next && h.MessageID+1 != s.In.Next {
		m.counters.OutOfWindow++
		return
	} else if h.MessageID == s.In.Next && !s.expects(h.Exchange) {
		m.counters.OutOfWindow++
		return
	}
	text, err := m.verify(s, in.Data, msg)
	if errors.Is(err, errDrop) {
		return
	}
	// From here on the peer itself is speaking, if it is authenticated.
	if !h.Response && h.MessageID != s.In.Next {
		m.answerAgain(s, in, msg)
		return
	}
	payloads, text, inner, whole, err := m.read(s, msg, text, err)
	if errors.Is(err, errDrop) || err == nil && !whole {
		return
	}
	m.heard(s, in)
	m.trace(in.Local, in.Remote, false, h, payloads)
	if h.Response {
		m.response(s, h, payloads, text, inner, err)
		return
	}
	m.request(s, in, h, payloads, text, inner, err)
}

// expects says whether a request of this exchange is possible at this stage.
func (s *ikeSA) expects(x wire.ExchangeType) bool {
	switch s.Stage {
	case connecting, closed:
		return false
	case halfOpen:
		return x == wire.IKEAuth || x == wire.IKEIntermediate
	default:
		return x == wire.CreateChildSA || x == wire.Informational || x == wire.IKEFollowupKE
	}
}

// answerAgain repeats the response to the last request, once for all fragments
// of its copy (section 2.1; RFC 7383, section 2.6.1).
func (m *Machine) answerAgain(s *ikeSA, in *Datagram, msg *wire.Message) {
	f, fragment := msg.Payloads[len(msg.Payloads)-1].(*wire.Fragment)
	if s.In.Exchange != msg.Exchange || fragment && f.Number != 1 {
		m.counters.Replayed++
		return
	}
	m.answerOnceMore(s, in)
}

// answerOnceMore sends the last response again, to where the copy of its request came from,
// unless there were many just now: whoever has seen a request can make us send them.
func (m *Machine) answerOnceMore(s *ikeSA, in *Datagram) {
	if !s.In.Repeats.take(m.now, repeatsPerSecond) {
		m.counters.Replayed++
		return
	}
	m.counters.RepeatsAnswered++
	m.transmitTo(in.Local, in.Remote, s.In.Packets)
}

// response hands a response to the task that waits for it.
func (m *Machine) response(s *ikeSA, h wire.Header, payloads []wire.Payload, text []byte, inner wire.PayloadType, err error) {
	t := s.Running
	var critical *wire.CriticalError
	switch {
	case errors.As(err, &critical), errors.Is(err, wire.ErrSyntax):
		// The peer that we trust speaks nonsense: nothing is sure any more (section 2.21.3).
		s.answered()
		m.report(s, Warning, "%s response: %v", h.Exchange, err)
		m.farewell(s, &wire.Delete{Protocol: wire.ProtocolIKE})
		m.die(s, "the peer's response makes no sense")
		return
	case err != nil:
		return
	}
	if h.Exchange != wire.IKEAuth && wire.FindNotify(payloads, wire.InvalidSyntax) != nil && m.misunderstood(s, h) {
		return
	}
	if i := s.Initial; i != nil && h.Exchange == wire.IKEIntermediate {
		i.Text, i.Inner = text, inner // for AUTH; the task reads them
	}
	s.answered()
	if t == nil {
		return
	}
	if t.process(m, s, h, payloads) && m.SAs[s.own()] == s {
		m.advance(s, t)
		return
	}
	if s.Running == t && !s.Out.Pending {
		s.Running = nil
	}
}

// misunderstood heeds INVALID_SYNTAX in a response, and says whether the IKE SA is gone. Who
// says so has deleted it (section 2.21.3), unless it is about the values in a
// CREATE_CHILD_SA (section 3.10.1): that must be asked.
func (m *Machine) misunderstood(s *ikeSA, h wire.Header) bool {
	if h.Exchange != wire.Informational {
		s.enqueueFirst(&inform{Repeats: probeRepeats})
		return false
	}
	s.answered()
	m.report(s, Warning, "the peer says %s", wire.InvalidSyntax)
	m.die(s, "the peer says "+wire.InvalidSyntax.String())
	return true
}

// request answers a request of the peer.
func (m *Machine) request(s *ikeSA, in *Datagram, h wire.Header, payloads []wire.Payload, text []byte, inner wire.PayloadType, err error) {
	var critical *wire.CriticalError
	switch {
	case errors.As(err, &critical):
		m.respond(s, h.Exchange, []wire.Payload{&wire.Notify{Type: wire.UnsupportedCriticalPayload, Data: []byte{byte(critical.Payload)}}}, in.Local, in.Remote)
		if s.Stage == halfOpen {
			m.close(s)
		}
		return
	case errors.Is(err, wire.ErrSyntax):
		m.counters.Syntax++
		m.invalidSyntax(s, in, h, err)
		return
	case err != nil:
		return
	}
	if s.Stage == established {
		m.confirm(s, true)
	}
	switch h.Exchange {
	case wire.IKEIntermediate:
		m.intermediateRequest(s, in, h, payloads, text, inner)
	case wire.IKEAuth:
		m.authRequest(s, in, h, payloads)
	case wire.CreateChildSA:
		m.answer(s, in, h, func() ([]wire.Payload, error) { return m.createChildRequest(s, payloads) })
	case wire.IKEFollowupKE:
		m.answer(s, in, h, func() ([]wire.Payload, error) { return m.followupRequest(s, payloads) })
	case wire.Informational:
		m.answer(s, in, h, func() ([]wire.Payload, error) { return m.informationalRequest(s, in, payloads) })
	}
}

// answer sends what the exchange's function says. Its error wraps wire.ErrSyntax.
func (m *Machine) answer(s *ikeSA, in *Datagram, h wire.Header, do func() ([]wire.Payload, error)) {
	payloads, err := do()
	if err != nil {
		m.after = nil // what was to follow a response that is not given
		m.invalidSyntax(s, in, h, err)
		return
	}
	m.respond(s, h.Exchange, payloads, in.Local, in.Remote)
	m.runAfter()
}

// invalidSyntax ends an SA whose verified peer breaks the format (section 2.21.3).
func (m *Machine) invalidSyntax(s *ikeSA, in *Datagram, h wire.Header, err error) {
	m.report(s, Warning, "%s request: %v", h.Exchange, err)
	m.respond(s, h.Exchange, []wire.Payload{&wire.Notify{Type: wire.InvalidSyntax}}, in.Local, in.Remote)
	m.goneBy(s, "the peer's request makes no sense")
}
