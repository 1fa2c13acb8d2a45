// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// hostileCases are chapter 18, as far as a server is concerned.
var hostileCases = []Case{
	{ID: "SE-03", Section: "-", Level: Habit, Text: "forged errors and purges do no harm", stations: 3, run: func(t *trial) {
		st, enemy, third := t.client(), t.client(), t.client()
		for _, code := range []wire.ErrorCode{wire.ErrorProtocolAddressUnreachable, wire.ErrorAuthenticationFailure} {
			enemy.send(enemy.failure(code, t.s.o.Server.Addr(), st.bytes(st.registration())))
		}
		p := enemy.purge(host(st.Protocol), t.s.o.Server.Masked())
		for i := range 200 {
			p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: uint8(st.Protocol.BitLen()), Protocol: nth(enemy.Network, uint32(i+1), st.Protocol.BitLen())})
			if len(enemy.bytes(p)) > 1300 {
				break
			}
		}
		p.SourceProtocol = st.Protocol
		enemy.send(p)
		t.settle()
		t.standing(third, st, "after errors and a purge in its name")
	}},
	{ID: "SE-04", Section: "-", Level: Habit, Text: "one client cannot fill the table: code 5 from some number on, others unharmed", stations: 2, run: func(t *trial) {
		st, other := t.client(), t.station()
		const each, most = 20, 20
		full := false
		for n := 0; n < most && !full; n++ {
			p := st.registration()
			p.CIEs = nil
			for i := range each {
				a := nth(st.Network, uint32(n*each+i+1)%250+1, st.Protocol.BitLen())
				p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: uint8(a.BitLen()), HoldingTime: holding, Protocol: a})
			}
			r := t.reply(st, p, wire.RegistrationReply)
			if n == 0 && r.CIEs[0].Code == wire.CodeAdministrativelyProhibited {
				t.skip("it takes no prefixes")
			}
			full = slices.ContainsFunc(r.CIEs, func(c wire.CIE) bool { return c.Code == wire.CodeInsufficientResources })
		}
		t.must(full, "one client registers 250 hosts")
		r := t.reply(other, other.registration(), wire.RegistrationReply)
		other.registered = true
		t.must(r.CIEs[0].Code == 0, "another client gets code %d", r.CIEs[0].Code)
	}},
	{ID: "SE-05", Section: "-", Level: Habit, Text: "no amplifier: one answer, hardly larger than the question", run: func(t *trial) {
		st := t.client()
		const room = 200
		for _, b := range [][]byte{st.bytes(st.registration()), st.bytes(st.resolution(t.egress())), st.bytes(st.purge(st.Network))} {
			r := t.ask(st, b)
			if r == nil {
				continue
			}
			t.must(len(r.Payload) <= len(b)+room, "%d octets are answered with %d", len(b), len(r.Payload))
		}
		b := set(st.bytes(st.registration()), offVersion, 9)
		if r := t.ask(st, b); r != nil {
			t.must(len(r.Payload) <= len(b)+room, "%d octets are answered with an error of %d", len(b), len(r.Payload))
			t.must(st.answer(b, t.s.o.Wait) == nil, "one packet earns two errors")
		}
	}},
	{ID: "SE-06", Section: "-", Level: Habit, Text: "addresses that cannot be a client's are refused", run: func(t *trial) {
		st := t.client()
		overlay := t.s.o.Server.Masked()
		list := append(nonsense(st.Protocol)[1:], overlay.Addr(), t.s.o.Server.Addr())
		if overlay.Addr().Is4() {
			list = append(list, last(overlay))
		}
		for _, a := range list {
			p := st.registration(host(a))
			r := t.ask(st, st.bytes(p))
			t.must(r == nil || r.Packet == nil || r.Packet.Type == wire.ErrorIndication || r.Packet.CIEs[0].Code != 0, "%v is registered", a)
			p = st.registration()
			p.SourceProtocol = a
			r = t.ask(st, st.bytes(p))
			t.must(r == nil || r.Packet == nil || r.Packet.Type == wire.ErrorIndication || r.Packet.CIEs[0].Code != 0, "a client calls itself %v", a)
		}
	}},
	{ID: "SE-07", Section: "-", Level: Habit, Text: "its own packets, sent back to it, do nothing", run: func(t *trial) {
		st := t.client()
		b := st.bytes(st.registration())
		r := t.ask(st, b)
		t.must(r != nil && r.Packet != nil, "no reply to send back")
		st.raw(r.Payload)
		t.settle()
		t.must(st.answer(b, t.s.o.Wait) == nil, "its own reply is answered")
		p := st.registration()
		p.SourceProtocol, p.SourceNBMA, p.DestinationProtocol = t.s.o.Server.Addr(), t.s.o.Target, t.s.o.Server.Addr()
		a := t.ask(st, st.bytes(p))
		t.must(a == nil || a.Packet == nil || a.Packet.Type == wire.ErrorIndication || a.Packet.CIEs[0].Code != 0, "a registration in its own name is taken")
	}},
	{ID: "SE-08", Section: "-", Level: Habit, Text: "no octets stop it: 300 packets, changed at random", run: func(t *trial) {
		st := t.client()
		random := rand.New(rand.NewPCG(2332, 300))
		seeds := [][]byte{st.bytes(st.registration()), st.bytes(st.resolution(t.egress())), st.bytes(st.purge(st.Network)),
			st.bytes(st.failure(wire.ErrorProtocolError, t.s.o.Server.Addr(), st.bytes(st.registration()))), {0}, make([]byte, 1400), slices.Repeat([]byte{0xFF}, 1400)}
		for n := range 300 {
			b := slices.Clone(seeds[random.IntN(len(seeds))])
			for range 1 + random.IntN(4) {
				if at := random.IntN(len(b)); at < offChecksum-6 || at > offChecksum+1 {
					b[at] = byte(random.Uint32())
				}
			}
			if b = b[:max(1, len(b)-random.IntN(4)*random.IntN(20))]; len(b) >= fixedHeader && n%4 != 0 {
				b = resized(b, len(b))
			}
			st.raw(b)
			if n%20 == 19 {
				time.Sleep(time.Millisecond)
			}
		}
		t.settle()
		other := *st
		other.Protocol = t.s.nobody()
		r := t.reply(&other, other.registration(), wire.RegistrationReply)
		t.must(r.CIEs[0].Code == 0, "afterwards a registration has code %d", r.CIEs[0].Code)
		other.send(other.purge(host(other.Protocol)))
	}},
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
