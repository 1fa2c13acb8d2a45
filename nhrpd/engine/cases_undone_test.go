// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"slices"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// codesOf are those of a packet's entries.
func codesOf(p *wire.Packet) (list []wire.Code) {
	for _, c := range p.CIEs {
		list = append(list, c.Code)
	}
	return list
}

// TestCasesOfWhatTheKernelRefuses: who is told that it is registered is, in the kernel too.
func TestCasesOfWhatTheKernelRefuses(t *testing.T) {
	const full, ok = wire.CodeInsufficientResources, wire.CodeSuccess
	lan := func() *wire.Packet {
		return registration(s1Protocol, s1NBMA, network("10.10.1.0/24"), network("10.11.1.0/24"))
	}
	refuse := func(b *bench, p string) {
		b.n.Refuse = func(a engine.Action) bool {
			switch a := a.(type) {
			case engine.InstallRoute:
				return a.Prefix == prefix(p)
			case engine.Bind:
				return prefix(p).IsSingleIP() && a.NextHop == prefix(p).Addr()
			}
			return false
		}
	}
	codes := func(t *testing.T, b *bench, p *wire.Packet, list ...wire.Code) {
		t.Helper()
		p.RequestID = uint32(b.w.Now.Unix())
		r := b.ask(s1NBMA, p)
		want(t, "type", r.p.Type, wire.RegistrationReply)
		if got := codesOf(r.p); !slices.Equal(got, list) {
			t.Errorf("codes %v, want %v", got, list)
		}
		for _, c := range r.p.CIEs {
			want(t, "holding time", c.HoldingTime > 0, !c.Code.NAK())
		}
	}
	rows(t, []row{
		{"every action of a registration comes before its reply, the next hop before the route", func(t *testing.T) {
			b := hub(t)
			p := registration("10.0.0.13", "203.0.113.33", wire.CIE{PrefixLength: wire.HostPrefix, HoldingTime: 7200}, network("10.10.3.0/24"))
			data, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			var order []string
			for _, a := range b.n.Machine.Handle(b.w.Now, engine.Packet{From: engine.Endpoint{NBMA: addr("203.0.113.33")}, Data: data}) {
				switch a := a.(type) {
				case engine.Bind:
					order = append(order, "bind")
				case engine.InstallRoute:
					order = append(order, "route")
				case engine.Send:
					want(t, "it confirms", a.Confirms, true)
					order = append(order, "reply")
				}
			}
			if !slices.Equal(order, []string{"bind", "route", "reply"}) {
				t.Errorf("order %v", order)
			}
		}},
		{"a route: code 5 for its prefix alone, which is not registered; the next try may do", func(t *testing.T) {
			b := hub(t)
			refuse(b, "10.10.1.0/24")
			codes(t, b, lan(), full, ok)
			want(t, "bindings", len(b.snapshot().Bindings), 3)
			want(t, "the other one", b.n.Installed[prefix("10.11.1.0/24")], addr(s1Protocol))
			want(t, "withheld", b.counted("registration-reply-withheld"), uint64(1))
			b.n.Refuse = nil
			b.run(20 * time.Second)
			codes(t, b, lan(), ok, ok)
			want(t, "route", b.n.Installed[prefix("10.10.1.0/24")], addr(s1Protocol))
		}},
		{"a next hop: code 5, and nothing of the client stands", func(t *testing.T) {
			b := hub(t)
			refuse(b, "10.0.0.13/32")
			p := registration("10.0.0.13", "203.0.113.33", wire.CIE{PrefixLength: wire.HostPrefix, HoldingTime: 7200}, network("10.10.3.0/24"))
			if got := codesOf(b.ask("203.0.113.33", p).p); !slices.Equal(got, []wire.Code{full, full}) {
				t.Errorf("codes %v", got)
			}
			want(t, "bindings", len(b.snapshot().Bindings), 2)
			_, installed := b.n.Installed[prefix("10.10.3.0/24")]
			want(t, "route", installed, false)
		}},
		{"a route that was lost and cannot be put back: the renewal asks for it again", func(t *testing.T) {
			b := hub(t)
			codes(t, b, lan(), ok, ok)
			lost := engine.InstallRoute{Prefix: prefix("10.10.1.0/24"), NextHop: addr(s1Protocol)}
			delete(b.n.Installed, lost.Prefix)
			b.n.Input(engine.Undone{Actions: []engine.Action{lost}})
			b.silent()
			b.run(time.Second)
			codes(t, b, lan(), ok, ok)
			want(t, "route", b.n.Installed[lost.Prefix], addr(s1Protocol))
			delete(b.n.Installed, lost.Prefix)
			refuse(b, "10.10.1.0/24")
			b.n.Input(engine.Undone{Actions: []engine.Action{lost}})
			b.run(time.Second)
			codes(t, b, lan(), full, ok)
		}},
		{"what fails behind the reply does not answer twice", func(t *testing.T) {
			b := hub(t)
			b.from(s1NBMA, lan())
			b.take()
			b.n.Input(engine.Undone{Actions: []engine.Action{engine.InstallRoute{Prefix: prefix("10.10.1.0/24"), NextHop: addr(s1Protocol)}}})
			b.silent()
			want(t, "bindings", len(b.snapshot().Bindings), 4)
		}},
		{"a spoke tries again soon to register prefixes that the server had no room for", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			b.registered(b.one().p)
			p := b.one().p
			r := reply(p, wire.RegistrationReply, hubProtocol, hubNBMA)
			r.CIEs[0].Code = full
			b.from(hubNBMA, r)
			b.silent()
			b.run(15 * time.Second)
			b.silent()
			for range 15 {
				if b.run(time.Second); len(b.sent) > 0 {
					break
				}
			}
			again := b.one().p
			want(t, "type", again.Type, wire.RegistrationRequest)
			want(t, "another id", again.RequestID != p.RequestID, true)
			b.registered(again)
			b.run(time.Minute)
			b.silent()
		}},
	})
}
