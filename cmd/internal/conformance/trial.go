// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"fmt"
	"time"

	"dmvpn/nhrpd/wire"
)

// trial is one run of a case. Its methods that judge end the case by a panic that run takes.
type trial struct {
	s        *suite
	c        *Case
	stations []*station
	given    int
	server   *server // against a client
	notes    []string
}

// end is how a case ends before its end.
type end struct {
	verdict Verdict
	detail  string
}

func (t *trial) end(v Verdict, format string, args ...any) {
	panic(end{v, fmt.Sprintf(format, args...)})
}

// fail says what is wrong. Where it is no more than a habit, the target differs.
func (t *trial) fail(format string, args ...any) {
	if t.c.Level == Habit {
		t.end(Differs, format, args...)
	}
	t.end(Fail, format, args...)
}

// differ is for what the RFC allows, and the list has otherwise.
func (t *trial) differ(format string, args ...any) { t.end(Differs, format, args...) }

// skip says why the case does not apply.
func (t *trial) skip(format string, args ...any) { t.end(NotApplicable, format, args...) }

// doubt says why nothing can be said.
func (t *trial) doubt(format string, args ...any) { t.end(Inconclusive, format, args...) }

// note is kept for the end: the target differs, and the case goes on.
func (t *trial) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); len(t.notes) == 0 || t.notes[len(t.notes)-1] != s {
		t.notes = append(t.notes, s)
	}
}

// must fails unless ok.
func (t *trial) must(ok bool, format string, args ...any) {
	if !ok {
		t.fail(format, args...)
	}
}

const (
	patience = 6 * time.Second // for the control station's answer, which is asked for each second
	tries    = 2

	errorPause = 1100 * time.Millisecond // many send no more errors than one a second
)

// ask sends a packet, and gives the reply or the Error Indication that comes of it. There is
// none if the target, asked again, has answered the control station after each.
func (t *trial) ask(st *station, b []byte) *received {
	if t.server != nil && len(b) >= offID+4 { // a client may answer the one who asks, not the one who passed it on
		defer t.s.link.redirect(binary.BigEndian.Uint32(b[offID:]), st.inbox)()
	}
	for try := range tries {
		if try > 0 && t.s.errors.Load() {
			time.Sleep(errorPause)
		}
		st.raw(b)
		if r := st.answer(b, t.s.o.Wait/4); r != nil {
			return r
		}
		t.settle()
		if r := st.answer(b, 0); r != nil {
			return r
		}
	}
	if t.server != nil { // nothing says that it has looked at it
		return st.answer(b, max(t.s.o.Wait, 3*time.Second))
	}
	return st.answer(b, t.s.o.Wait)
}

// silent sends a packet of which nothing may come.
func (t *trial) silent(st *station, b []byte, what string) {
	st.raw(b)
	t.settle()
	if r := st.answer(b, t.s.o.Wait); r != nil {
		t.fail("%s: %s", what, r)
	}
}

// reply asks, and takes nothing but a reply of the type.
func (t *trial) reply(st *station, p *wire.Packet, want wire.Type) *wire.Packet {
	return t.replyTo(st, st.bytes(p), want, p.Type.String())
}

func (t *trial) replyTo(st *station, b []byte, want wire.Type, what string) *wire.Packet {
	r := t.ask(st, b)
	switch {
	case r == nil:
		t.fail("%s: silence", what)
	case r.Packet == nil:
		t.fail("%s: an answer that cannot be read: %v", what, r.Err)
	case r.Packet.Type != want:
		t.fail("%s: %s", what, r)
	}
	return r.Packet
}

// refused asks with what must not be processed. The RFC has an error code for it; who drops
// it in silence differs.
func (t *trial) refused(st *station, b []byte, code wire.ErrorCode, what string) *wire.Packet {
	r := t.ask(st, b)
	switch {
	case r == nil:
		t.note("%s: dropped in silence, not error %d (%v)", what, uint16(code), code)
		return nil
	case r.Packet == nil:
		t.fail("%s: an answer that cannot be read: %v", what, r.Err)
	case r.Packet.Type != wire.ErrorIndication:
		t.fail("%s: taken: %s", what, r)
	case r.Packet.ErrorCode != code:
		t.s.errors.Store(true)
		t.note("%s: error %d (%v), not %d", what, uint16(r.Packet.ErrorCode), r.Packet.ErrorCode, uint16(code))
	}
	t.s.errors.Store(true)
	return r.Packet
}

// unread asks with what cannot be answered for want of an address that can be read: silence is
// as good as an error.
func (t *trial) unread(st *station, b []byte, what string) {
	st.raw(b)
	r := st.answer(b, 0)
	if r == nil {
		t.settle()
		r = st.answer(b, 0)
	}
	if r != nil && (r.Packet == nil || r.Packet.Type != wire.ErrorIndication) {
		t.fail("%s: taken: %s", what, r)
	}
}

// owed is refused where the RFC demands the error.
func (t *trial) owed(st *station, b []byte, code wire.ErrorCode, what string) *wire.Packet {
	p := t.refused(st, b, code, what)
	if p == nil || p.ErrorCode != code {
		t.fail("%s", t.notes[len(t.notes)-1])
	}
	return p
}

// settle waits until the target has answered the control station: what was sent before has
// been looked at.
func (t *trial) settle() {
	if t.server != nil {
		t.server.wait(t.s.o.Wait, func(*received) bool { return false })
		return
	}
	if !t.s.control.answers.Load() {
		t.doubt("%v %v", t.s.o.Target, errStopped)
	}
	if err := t.s.control.roundTrip(); err != nil {
		t.doubt("%v", err)
	}
	time.Sleep(t.s.o.Wait / 3) // each address has a socket of its own: what came first may be read later
}

// until waits for a packet at a station that is as wanted; nil if none comes before the control
// station is answered.
func (t *trial) until(st *station, like func(*received) bool) *received {
	if r := st.wait(t.s.o.Wait/4, like); r != nil {
		return r
	}
	t.settle()
	return st.wait(t.s.o.Wait/4, like)
}

// String is what an answer is, in a line.
func (r *received) String() string {
	switch {
	case r.Packet == nil && r.Protocol == wire.GREProtocol:
		return fmt.Sprintf("NHRP that cannot be read: %v", r.Err)
	case r.Packet == nil:
		return fmt.Sprintf("data of %d octets", len(r.Payload))
	case r.Packet.Type == wire.ErrorIndication:
		return fmt.Sprintf("error %d (%v) at octet %d", uint16(r.Packet.ErrorCode), r.Packet.ErrorCode, r.Packet.ErrorOffset)
	case len(r.Packet.CIEs) > 0:
		return fmt.Sprintf("%v, code %d (%v)", r.Packet.Type, uint8(r.Packet.CIEs[0].Code), r.Packet.CIEs[0].Code)
	}
	return r.Packet.Type.String()
}

// station gives the next of the case's stations; the target has not heard of it.
func (t *trial) station() *station {
	t.given++
	return t.stations[t.given-1]
}

// client gives the next station, registered.
func (t *trial) client() *station {
	st := t.station()
	t.register(st, st.registration())
	return st
}

// register registers, and doubts the case where that does not succeed.
func (t *trial) register(st *station, p *wire.Packet) *wire.Packet {
	r := t.ask(st, st.bytes(p))
	switch {
	case r == nil:
		t.doubt("a plain registration is not answered")
	case r.Packet == nil || r.Packet.Type != wire.RegistrationReply:
		t.doubt("a plain registration: %s", r)
	case r.Packet.CIEs[0].Code != 0:
		t.doubt("a plain registration is refused: %s", r)
	}
	st.registered = true
	return r.Packet
}
