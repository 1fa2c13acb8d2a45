// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Registration Request and Reply: sections 5 and 6 of the case list.
func TestCasesOfRegistration(t *testing.T) {
	rows(t, []row{
		{"RG-01: to the NHS's address or to one's own, the responder says who it is", func(t *testing.T) {
			b := hub(t)
			for _, destination := range []string{hubProtocol, s1Protocol} {
				p := registration(s1Protocol, s1NBMA)
				p.DestinationProtocol = addr(destination)
				r := b.ask(s1NBMA, p)
				want(t, "code", r.p.CIEs[0].Code, wire.CodeSuccess)
				responder, err := r.p.Entries(r.p.Extension(wire.ExtensionResponderAddress))
				if err != nil || len(responder) != 1 {
					t.Fatalf("responder %v %v", responder, err)
				}
				want(t, "responder", responder[0].Protocol, addr(hubProtocol))
			}
		}},
		{"RG-02: for another NHS: forwarded to it; unknown: error 6, nothing learned", func(t *testing.T) {
			b := hub(t)
			b.from("192.0.2.2", registration("10.0.0.2", "192.0.2.2"))
			p := registration("10.0.0.13", "203.0.113.33")
			p.DestinationProtocol = addr("10.0.0.2")
			r := b.ask("203.0.113.33", p)
			want(t, "to", r.to, "192.0.2.2")
			want(t, "hop count", r.p.HopCount, uint8(254))
			p.DestinationProtocol = addr("172.16.0.1")
			r = b.ask("203.0.113.33", p)
			want(t, "error", r.p.ErrorCode, wire.ErrorProtocolAddressUnreachable)
			want(t, "bindings", len(b.snapshot().Bindings), 3)
		}},
		{"RG-03: uniqueness is stored, exported, shown", func(t *testing.T) {
			b := hub(t)
			p := registration("10.0.0.13", "203.0.113.33")
			p.Flags |= wire.FlagRegistrationUnique
			b.from("203.0.113.33", p)
			b.n.Start(b.n.Kill())
			for _, x := range b.snapshot().Bindings {
				want(t, x.Protocol.String(), x.Unique, x.Protocol == addr("10.0.0.13"))
			}
		}},
		{"RG-04, RG-05: a unique address is taken from nobody; its owner refreshes it", func(t *testing.T) {
			b := hub(t)
			unique := registration("10.0.0.13", "203.0.113.33")
			unique.Flags |= wire.FlagRegistrationUnique
			b.from("203.0.113.33", unique)
			for _, flags := range []uint16{wire.FlagRegistrationUnique, 0} {
				p := registration("10.0.0.13", "203.0.113.44")
				p.Flags, p.RequestID = flags, 9000
				want(t, "code", b.ask("203.0.113.44", p).p.CIEs[0].Code, wire.CodeAlreadyRegistered)
			}
			want(t, "entry", b.n.Bound[addr("10.0.0.13")].NBMA, addr("203.0.113.33"))
			want(t, "refresh", b.ask("203.0.113.33", unique).p.CIEs[0].Code, wire.CodeSuccess)
		}},
		{"RG-06: who moved, and proves to be the same, is taken at once", func(t *testing.T) {
			b := hub(t)
			from := func(nbma, identity string, id uint32) wire.Code {
				p := registration("10.0.0.13", nbma)
				p.Flags |= wire.FlagRegistrationUnique
				p.RequestID = id
				data, err := p.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				b.take()
				b.n.Input(engine.Packet{From: engine.Endpoint{NBMA: addr(nbma), Identity: identity}, Data: data})
				return b.one().p.CIEs[0].Code
			}
			want(t, "first", from("203.0.113.33", "s3", 1), wire.CodeSuccess)
			want(t, "another", from("203.0.113.44", "s4", 2), wire.CodeAdministrativelyProhibited)
			want(t, "nobody known", from("203.0.113.44", "", 3), wire.CodeAlreadyRegistered)
			want(t, "the same", from("203.0.113.55", "s3", 4), wire.CodeSuccess)
			want(t, "moved", b.n.Bound[addr("10.0.0.13")].NBMA, addr("203.0.113.55"))
		}},
		{"RG-07: unique with two entries or a prefix is refused", func(t *testing.T) {
			b := hub(t)
			p := registration(s1Protocol, s1NBMA, wire.CIE{HoldingTime: 60}, network("10.10.1.0/24"))
			p.Flags |= wire.FlagRegistrationUnique
			for _, c := range b.ask(s1NBMA, p).p.CIEs {
				want(t, "two", c.Code, wire.CodeAdministrativelyProhibited)
			}
			p.CIEs = p.CIEs[1:]
			want(t, "prefix", b.ask(s1NBMA, p).p.CIEs[0].Code, wire.CodeAdministrativelyProhibited)
		}},
		{"RG-08: several entries are judged alone", func(t *testing.T) {
			b := hub(t)
			r := b.ask(s1NBMA, registration(s1Protocol, s1NBMA, network("10.10.1.0/24"), network("10.10.0.0/24"), network("10.77.0.0/16")))
			for i, code := range []wire.Code{0, 4, 0} {
				want(t, "code", r.p.CIEs[i].Code, code)
			}
			want(t, "CM-06: holding time of a NAK", r.p.CIEs[1].HoldingTime, uint16(0))
			want(t, "route", b.n.Installed[prefix("10.77.0.0/16")], addr(s1Protocol))
			_, installed := b.n.Installed[prefix("10.10.0.0/24")]
			want(t, "the hub's own", installed, false)
		}},
		{"RG-10, RG-11, RG-18, SE-06: what no client may register", func(t *testing.T) {
			b := hub(t)
			for _, x := range []struct {
				name, protocol, nbma string
				entry                wire.CIE
			}{
				{"another's address", s1Protocol, s1NBMA, network("10.0.0.12/32")},
				{"the hub's", hubProtocol, s1NBMA, network("10.0.0.1/32")},
				{"the hub's in an entry", s1Protocol, s1NBMA, network("10.0.0.1/32")},
				{"outside the overlay", "10.99.0.1", s1NBMA, wire.CIE{HoldingTime: 60}},
				{"the overlay's network address", "10.0.0.0", s1NBMA, wire.CIE{HoldingTime: 60}},
				{"the overlay's broadcast address", "10.0.0.255", s1NBMA, wire.CIE{HoldingTime: 60}},
				{"the overlay itself", s1Protocol, s1NBMA, network("10.0.0.0/24")},
				{"the world", s1Protocol, s1NBMA, network("128.0.0.0/1")},
				{"its own underlay", s1Protocol, s1NBMA, network("198.51.100.0/24")},
				{"the hub's underlay", s1Protocol, s1NBMA, network("192.0.2.0/24")},
				{"multicast", s1Protocol, s1NBMA, network("239.1.0.0/16")},
				{"loopback NBMA", "10.0.0.14", "127.0.0.1", wire.CIE{HoldingTime: 60}},
				{"overlay NBMA", "10.0.0.14", "10.0.0.99", wire.CIE{HoldingTime: 60}},
				{"RG-16: holding time 0", s1Protocol, s1NBMA, wire.CIE{}},
			} {
				r := b.ask(x.nbma, registration(x.protocol, x.nbma, x.entry))
				if len(r.p.CIEs) != 1 || r.p.CIEs[0].Code != wire.CodeAdministrativelyProhibited {
					t.Errorf("%s: %v", x.name, r.p)
				}
			}
			want(t, "bindings", len(b.snapshot().Bindings), 2)
		}},
		{"RG-11: a spoke is no NHS", func(t *testing.T) {
			b := spoke(t)
			want(t, "code", b.ask(s2NBMA, func() *wire.Packet {
				p := registration(s2Protocol, s2NBMA)
				p.DestinationProtocol = addr(s2Protocol)
				return p
			}()).p.CIEs[0].Code, wire.CodeAdministrativelyProhibited)
		}},
		{"RG-12, SE-04: no room is code 5, refreshes go on, others are unharmed", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Limits = engine.Limits{Bindings: 4, BindingsPerPeer: 2} })
			var codes []wire.Code
			r := b.ask(s1NBMA, registration(s1Protocol, s1NBMA, network("10.20.1.0/24"), network("10.20.2.0/24")))
			for _, c := range r.p.CIEs {
				codes = append(codes, c.Code)
			}
			want(t, "own limit", codes[0] == wire.CodeSuccess && codes[1] == wire.CodeInsufficientResources, true)
			want(t, "S2", b.ask(s2NBMA, registration(s2Protocol, s2NBMA, network("10.21.1.0/24"))).p.CIEs[0].Code, wire.CodeSuccess)
			want(t, "full", b.ask("203.0.113.33", registration("10.0.0.13", "203.0.113.33")).p.CIEs[0].Code, wire.CodeInsufficientResources)
			want(t, "refresh", b.ask(s1NBMA, registration(s1Protocol, s1NBMA)).p.CIEs[0].Code, wire.CodeSuccess)
		}},
		{"RG-13: ids go on beyond those before a crash", func(t *testing.T) {
			b := spoke(t)
			state := b.n.Machine.Export()
			highest := b.resolve("10.10.2.5").RequestID
			for i := range 50 { // not in the state that was saved
				highest = b.resolve(fmt.Sprintf("10.10.3.%d", i+1)).RequestID
			}
			b.n.Kill()
			b.run(time.Second)
			b.n.Start(state)
			b.take()
			b.indicate("10.10.4.5")
			for _, x := range b.take() {
				want(t, "greater than any before", int32(x.p.RequestID-highest) > 0, true)
			}
		}},
		{"RG-13: what was under way when the state was saved goes on with an id beyond those since", func(t *testing.T) {
			for _, way := range []struct {
				name  string
				begin func() *bench
				kind  wire.Type
			}{
				{"a registration", func() *bench { return newBench(t, s1NBMA, spokeConfig()) }, wire.RegistrationRequest},
				{"a resolution", func() *bench { b := spoke(t); b.indicate("10.10.2.5"); return b }, wire.ResolutionRequest},
				{"a purge", func() *bench {
					b := hub(t)
					b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
					b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.0.0/25"), NextHop: addr(s2Protocol), Tunnel: true}))
					return b
				}, wire.PurgeRequest},
			} {
				b := way.begin()
				before := b.one().p
				want(t, way.name, before.Type, way.kind)
				state := b.n.Machine.Export()
				b.n.Kill()
				b.n.Start(state)
				b.run(2 * time.Second)
				again := b.take()
				if len(again) == 0 || again[0].p.Type != way.kind {
					t.Fatalf("%s: it does not go on: %v", way.name, again)
				}
				for _, x := range again {
					want(t, way.name+" has an id beyond", x.p.RequestID-before.RequestID > 1000, true)
				}
				r := reply(again[0].p, way.kind+1, hubProtocol, hubNBMA)
				from, counted := hubNBMA, b.counted("dropped-unsolicited-reply")
				if way.kind == wire.PurgeRequest {
					from = s1NBMA
				}
				b.from(from, r)
				want(t, way.name+": its answer is taken", b.counted("dropped-unsolicited-reply"), counted)
			}
		}},
		{"RG-14: an older registration does not undo a newer one", func(t *testing.T) {
			b := hub(t)
			p := registration(s1Protocol, "198.51.100.99")
			p.RequestID = 8
			b.from("198.51.100.99", p)
			b.take()
			p = registration(s1Protocol, s1NBMA)
			p.RequestID = 7
			b.from(s1NBMA, p)
			b.silent()
			want(t, "stands", b.n.Bound[addr(s1Protocol)].NBMA, addr("198.51.100.99"))
		}},
		{"RG-14: a registration that its client's purge has overtaken does not bind; others' small ids do", func(t *testing.T) {
			for _, x := range []struct {
				name  string
				id    uint32 // of the registration; the purge's is 3
				after time.Duration
				ours  bool
				binds bool
			}{
				{"sent before", 2, time.Second, true, false},
				{"sent before, and the ids went round", 0xffff_fff0, time.Second, true, false},
				{"after a minute nothing is on its way any more", 2, 61 * time.Second, true, true},
				{"the next one", 4, time.Second, true, true},
				{"of one that has lost its state", 0x7000_0000, time.Second, true, true},
				{"of another kind, begun anew", 1, time.Second, false, true},
				{"of another kind, with the purge's id", 3, time.Second, false, true},
			} {
				b := hub(t)
				register := func(id uint32) {
					p := registration(s1Protocol, s1NBMA)
					p.RequestID = id
					if x.ours && p.SetPrivate(wire.Private{Probe: wire.ProbeRequester}) != nil {
						t.Fatal("no extension of ours")
					}
					b.from(s1NBMA, p)
				}
				register(1)
				want(t, x.name+": at first", b.n.Bound[addr(s1Protocol)].NBMA, addr(s1NBMA))
				p := purgeOf(s1Protocol, s1NBMA, hubProtocol, s1Protocol+"/32")
				p.RequestID = 3
				b.from(s1NBMA, p)
				want(t, x.name+": purged", b.n.Bound[addr(s1Protocol)].NBMA.IsValid(), false)
				b.n.Start(b.n.Kill())
				b.run(x.after)
				register(x.id)
				want(t, x.name, b.n.Bound[addr(s1Protocol)].NBMA.IsValid(), x.binds)
			}
		}},
		{"CM-04: prefix lengths 0, 32 and 0xFF are the same host", func(t *testing.T) {
			b := hub(t)
			for _, length := range []uint8{0, 32, 0xFF} {
				b.from(s1NBMA, registration(s1Protocol, s1NBMA, wire.CIE{PrefixLength: length, HoldingTime: 60}))
			}
			want(t, "bindings", len(b.snapshot().Bindings), 2)
		}},
		{"CM-07: served until the holding time, gone with it; routes before the next hop", func(t *testing.T) {
			b := hub(t)
			b.from(s1NBMA, registration(s1Protocol, s1NBMA, wire.CIE{HoldingTime: 60}))
			b.from(s1NBMA, registration(s1Protocol, s1NBMA, network("10.77.0.0/16")))
			b.run(59 * time.Second)
			want(t, "bound", b.n.Bound[addr(s1Protocol)].NBMA, addr(s1NBMA))
			b.w.Trace = nil
			b.run(5 * time.Second)
			want(t, "bound", b.n.Bound[addr(s1Protocol)].NBMA.IsValid(), false)
			if len(b.w.Trace) != 3 || len(b.w.Traced("removes 10.77.0.0/16")) != 1 || b.w.Trace[0] != b.w.Traced("removes 10.77.0.0/16")[0] {
				t.Errorf("order: %q", b.w.Trace)
			}
			want(t, "dismissed", b.n.Accepted[engine.Endpoint{NBMA: addr(s1NBMA)}], false)
		}},
		{"RR-01, RC-02: the reply is the request with codes and extensions filled in, the rest byte for byte", func(t *testing.T) {
			b := hub(t)
			p := registration(s1Protocol, s1NBMA, wire.CIE{Unused: 7, MTU: 1234, HoldingTime: 600, Preference: 3, PrefixLength: wire.HostPrefix, Protocol: addr(s1Protocol)})
			p.SNAP, p.Flags = [5]byte{1, 2, 3, 4, 5}, 0x7FFF
			p.Extensions = append(p.Extensions, wire.Extension{Type: 0x3801, Unused: true, Value: []byte("x")})
			r := b.ask(s1NBMA, p).p
			want(t, "type", r.Type, wire.RegistrationReply)
			responder, _ := r.Entries(r.Extension(wire.ExtensionResponderAddress))
			want(t, "RC-02: our protocol address", len(responder) == 1 && responder[0].Protocol == addr(hubProtocol), true)
			r.Type, r.Extensions[0].Value = p.Type, p.Extensions[0].Value
			got, _ := r.Marshal()
			sent, _ := p.Marshal()
			want(t, "the rest", bytes.Equal(got, sent), true)
		}},
		{"RR-02: the reply goes where the request came from, whatever the routes say", func(t *testing.T) {
			b := hub(t)
			r := b.ask("203.0.113.66", registration("10.0.0.66", "192.168.1.1"))
			want(t, "to", r.to, "203.0.113.66")
			nat, _ := r.p.Entries(r.p.Extension(wire.ExtensionNATAddress))
			if len(nat) != 1 || nat[0].NBMA != addr("203.0.113.66") {
				t.Errorf("NA-02: %v", nat)
			}
		}},
		{"RR-03, RR-04: any code but 0 is a NAK; 14 purges nothing and is tried again in minutes", func(t *testing.T) {
			for _, code := range []wire.Code{4, 5, 14, 77} {
				b := newBench(t, s1NBMA, spokeConfig())
				p := reply(b.one().p, wire.RegistrationReply, hubProtocol, hubNBMA)
				p.CIEs[0].Code = code
				b.from(hubNBMA, p)
				b.silent()
				s := b.snapshot().Servers[0]
				want(t, "state", s.State, engine.Refused)
				want(t, "reason shown", s.Reason, code.String())
				b.run(15 * time.Second)
				b.silent()
				b.run(3 * time.Minute)
				want(t, "tried again", len(b.take()) > 0, true)
			}
		}},
		{"RR-05: only for what is outstanding", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			request := b.one().p
			for name, spoil := range map[string]func(p *wire.Packet){
				"id":            func(p *wire.Packet) { p.RequestID++ },
				"source NBMA":   func(p *wire.Packet) { p.SourceNBMA = addr(s2NBMA) },
				"source":        func(p *wire.Packet) { p.SourceProtocol = addr(s2Protocol) },
				"another's NHS": func(p *wire.Packet) { p.DestinationProtocol = addr("10.0.0.2") },
			} {
				p := reply(request, wire.RegistrationReply, hubProtocol, hubNBMA)
				spoil(p)
				b.from(hubNBMA, p)
				want(t, name, b.snapshot().Servers[0].State, engine.Registering)
			}
			b.from(s2NBMA, reply(request, wire.RegistrationReply, hubProtocol, hubNBMA))
			want(t, "from elsewhere", b.snapshot().Servers[0].State, engine.Registering)
			b.from(hubNBMA, reply(request, wire.RegistrationReply, hubProtocol, hubNBMA))
			want(t, "right", b.snapshot().Servers[0].State, engine.Up)
		}},
		{"a hub that takes no prefixes keeps the spoke's own address", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			b.registered(b.one().p)
			p := reply(b.one().p, wire.RegistrationReply, hubProtocol, hubNBMA)
			p.CIEs[0].Code = wire.CodeNotUnique
			b.from(hubNBMA, p)
			s := b.snapshot().Servers[0]
			want(t, "state", s.State, engine.Up)
			want(t, "refused", len(s.Refused), 1)
		}},
		{"ER-11: an error about a registration is shown; the pauses stay", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			request := b.one().p
			for range 5 {
				b.from(hubNBMA, errorAbout(request, wire.ErrorAuthenticationFailure, hubProtocol, hubNBMA))
			}
			b.silent()
			want(t, "reason", b.snapshot().Servers[0].Reason, "authentication failure")
		}},
	})
}
