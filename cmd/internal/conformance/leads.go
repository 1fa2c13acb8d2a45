// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"
	"time"

	"dmvpn/nhrpd/wire"
)

// leads asks, as a station, for an address, and gives the one of the others that the target
// holds to be the way there: to which it passes the request on, or which it names in its
// answer. Nil: none of them.
func (t *trial) leads(asker *station, destination netip.Addr, others ...*station) *station {
	where, _, _ := t.way(asker, asker.resolution(destination), others...)
	return where
}

// way is leads with a request of one's own. It gives the request as the station got it, or the
// target's answer.
func (t *trial) way(asker *station, p *wire.Packet, others ...*station) (where *station, passed, answer *wire.Packet) {
	b := asker.bytes(p)
	for try := range tries {
		if try > 0 && t.s.errors.Load() {
			time.Sleep(errorPause)
		}
		asker.raw(b)
		for _, patience := range []bool{false, true} {
			if patience {
				t.settle()
			}
			for _, st := range others {
				if r := st.wait(0, ofType(wire.ResolutionRequest, p.RequestID)); r != nil {
					return st, r.Packet, nil
				}
			}
			r := asker.answer(b, 0)
			if r == nil || r.Packet == nil {
				continue
			}
			if r.Packet.Type != wire.ResolutionReply || len(r.Packet.CIEs) == 0 || r.Packet.CIEs[0].Code != 0 {
				return nil, nil, r.Packet
			}
			for _, st := range others {
				if c := r.Packet.CIEs[0]; c.NBMA == st.NBMA {
					return st, nil, r.Packet
				}
			}
			return nil, nil, r.Packet
		}
	}
	return nil, nil, nil
}

// standing fails unless a station's own address still leads to it.
func (t *trial) standing(asker, st *station, what string) {
	where, _, answer := t.way(asker, asker.resolution(st.Protocol), st)
	switch {
	case where == st:
	case answer == nil:
		t.doubt("%s: a question for %v is neither answered nor passed on to it", what, st.Protocol)
	default:
		t.fail("%s: %v does not lead to it: %s", what, st.Protocol, &received{Packet: answer, Protocol: wire.GREProtocol})
	}
}

// refusal asks for what cannot be, and gives the NAK; nil if something else comes.
func (t *trial) refusal(st *station, p *wire.Packet) *wire.Packet {
	r := t.ask(st, st.bytes(p))
	if r == nil || r.Packet == nil || r.Packet.Type != wire.ResolutionReply || len(r.Packet.CIEs) == 0 || r.Packet.CIEs[0].Code == 0 {
		return nil
	}
	return r.Packet
}

// notTaken fails if an entry of a registration is taken: a NAK and an error are as good.
func (t *trial) notTaken(st *station, p *wire.Packet, what string) {
	r := t.ask(st, st.bytes(p))
	switch {
	case r == nil:
		t.note("%s: silence", what)
	case r.Packet == nil || r.Packet.Type == wire.ErrorIndication:
	default:
		for _, c := range r.Packet.CIEs {
			t.must(c.Code != 0, "%s: taken", what)
		}
	}
}

// withNetwork registers the network behind a station, and skips the case where no prefixes are
// taken.
func (t *trial) withNetwork(st *station) {
	r := t.reply(st, st.registration(st.Network), wire.RegistrationReply)
	if code := r.CIEs[0].Code; code != 0 {
		t.skip("it takes no prefixes: code %d (%v)", code, code)
	}
}

// unique is a registration with the unique flag.
func (st *station) unique() *wire.Packet {
	p := st.registration()
	p.Flags |= wire.FlagRegistrationUnique
	return p
}

// entries are those of an extension of what came; none if it has none.
func (t *trial) entries(p *wire.Packet, kind wire.ExtensionType) []wire.CIE {
	e := p.Extension(kind)
	if e == nil {
		return nil
	}
	list, err := p.Entries(e)
	if err != nil {
		t.fail("%v: %v", kind, err)
	}
	return list
}

// nobody is an overlay address that no station has.
func (s *suite) nobody() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.client(s.next)
}

// elsewhere is an NBMA address that is not ours and could be a station's.
func (s *suite) elsewhere() netip.Addr {
	if s.o.Target.Is6() {
		return netip.MustParseAddr("2001:db8:ffff::77")
	}
	return netip.MustParseAddr("203.0.113.77")
}

// outside is an address that is not in a prefix.
func outside(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	b[(p.Bits()-1)/8] ^= 0x80 >> ((p.Bits() - 1) % 8) // the other half of what is twice as large
	b[len(b)-1] |= 7
	a, _ := netip.AddrFromSlice(b)
	return a
}
