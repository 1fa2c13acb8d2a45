// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Purge: section 7 of the case list.
func TestCasesOfPurge(t *testing.T) {
	networks := func(t *testing.T) *bench {
		b := hub(t)
		b.from(s1NBMA, registration(s1Protocol, s1NBMA, network("10.20.1.0/24"), network("10.20.1.128/25"), network("10.20.2.0/24")))
		b.take()
		return b
	}
	rows(t, []row{
		{"PU-01, PU-07: one's own goes at once; the reply is the request with type 6", func(t *testing.T) {
			b := networks(t)
			p := purgeOf(s1Protocol, s1NBMA, hubProtocol, s1Protocol+"/32")
			p.RequestID = 4711
			r := b.ask(s1NBMA, p)
			want(t, "to", r.to, s1NBMA)
			want(t, "type", r.p.Type, wire.PurgeReply)
			want(t, "id and flags", r.p.RequestID == 4711 && r.p.Flags == p.Flags && len(r.p.CIEs) == 1, true)
			want(t, "bound", b.n.Bound[addr(s1Protocol)].NBMA.IsValid(), false)
			want(t, "its networks go with it", len(b.snapshot().Bindings), 1)
		}},
		{"PU-02: a reply is owed even if nothing matched, but not with N", func(t *testing.T) {
			b := networks(t)
			want(t, "type", b.ask(s1NBMA, purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.77.0.0/16")).p.Type, wire.PurgeReply)
			p := purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.20.2.0/24")
			p.Flags |= wire.FlagPurgeNoReply
			b.from(s1NBMA, p)
			b.silent()
			want(t, "purged all the same", registered(b, "10.20.2.0/24"), false)
		}},
		{"PU-03: everything inside the prefix goes; an NBMA address narrows it", func(t *testing.T) {
			b := networks(t)
			p := purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.20.1.0/24")
			p.CIEs[0].NBMA = addr("198.51.100.99")
			b.ask(s1NBMA, p)
			want(t, "another NBMA", registered(b, "10.20.1.0/24") && registered(b, "10.20.1.128/25"), true)
			p.CIEs[0].NBMA = addr(s1NBMA)
			b.ask(s1NBMA, p)
			want(t, "inside", registered(b, "10.20.1.0/24") || registered(b, "10.20.1.128/25"), false)
			want(t, "beside", registered(b, "10.20.2.0/24"), true)
			want(t, "route", b.n.Installed[prefix("10.20.1.0/24")].IsValid(), false)
		}},
		{"PU-04: of no address is an error and purges nothing; several entries, one reply", func(t *testing.T) {
			b := networks(t)
			p := purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.20.1.0/24", "10.20.2.0/24")
			p.CIEs[1].Protocol = addr("0.0.0.0")
			q := p.Clone()
			q.CIEs[1].Protocol = q.CIEs[1].NBMA // none
			want(t, "error", b.ask(s1NBMA, q).p.ErrorCode, wire.ErrorProtocolError)
			want(t, "purged nothing", registered(b, "10.20.1.0/24"), true)
			p = purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.20.1.0/24", "10.77.0.0/16", "10.20.2.0/24")
			want(t, "one reply", b.ask(s1NBMA, p).p.Type, wire.PurgeReply)
			want(t, "two go", registered(b, "10.20.1.0/24") || registered(b, "10.20.2.0/24"), false)
		}},
		{"PU-05, PU-12: whoever was answered is told when the route moves, with our source and a new id", func(t *testing.T) {
			b := hub(t)
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.0.0/25"), NextHop: addr(s2Protocol), Tunnel: true}))
			r := b.one()
			want(t, "to", r.to, s1NBMA)
			want(t, "type", r.p.Type, wire.PurgeRequest)
			want(t, "source", r.p.SourceProtocol == addr(hubProtocol) && r.p.SourceNBMA == addr(hubNBMA), true)
			want(t, "destination", r.p.DestinationProtocol, addr(s1Protocol))
			want(t, "own id", r.p.RequestID != 7, true)
			want(t, "what", r.p.CIEs[0].Prefix(r.p.CIEs[0].Protocol), prefix("10.10.0.0/24"))
			want(t, "the rest of the entry is 0", r.p.CIEs[0].MTU != 0 || r.p.CIEs[0].Preference != 0 || r.p.CIEs[0].Code != 0, false)
		}},
		{"PU-12: what expires needs no purge", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.HoldingTime = time.Minute })
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			b.run(2 * time.Minute)
			b.silent()
			want(t, "told", len(b.snapshot().Told), 0)
		}},
		{"PU-06: repeated until answered", func(t *testing.T) {
			b := hub(t)
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.0.0/25"), NextHop: addr(s2Protocol), Tunnel: true}))
			first := b.one()
			b.run(3500 * time.Millisecond)
			repeats := b.take()
			want(t, "repeats", len(repeats), 2)
			for i, x := range repeats {
				want(t, "id", x.p.RequestID, first.p.RequestID)
				want(t, "pause", x.at-first.at, []time.Duration{time.Second, 3 * time.Second}[i])
			}
			b.from(s1NBMA, reply(first.p, wire.PurgeReply, s1Protocol, s1NBMA))
			b.run(time.Hour)
			b.silent()
		}},
		{"PU-06: unanswered it ends, with what it purges", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.HoldingTime = 10 * time.Second })
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.0.0/25"), NextHop: addr(s2Protocol), Tunnel: true}))
			b.run(30 * time.Second)
			for _, x := range b.take() {
				if x.at > 11*time.Second {
					t.Errorf("after %v: %v", x.at, x.p)
				}
			}
			want(t, "purges", len(b.snapshot().Purges), 0)
		}},
		{"PU-07, CM-02: an unsolicited reply is nothing", func(t *testing.T) {
			b := hub(t)
			p := reply(purgeOf(hubProtocol, hubNBMA, s1Protocol, "10.10.0.0/24"), wire.PurgeReply, s1Protocol, s1NBMA)
			b.from(s1NBMA, p)
			b.silent()
			want(t, "counted", b.counted("dropped-unsolicited-reply"), uint64(1))
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.0.0/25"), NextHop: addr(s2Protocol), Tunnel: true}))
			b.from(s2NBMA, reply(b.one().p, wire.PurgeReply, s1Protocol, s1NBMA))
			want(t, "from elsewhere ends nothing", len(b.snapshot().Purges), 1)
		}},
		{"PU-08: after a purge we ask with A, as always", func(t *testing.T) {
			b := spoke(t)
			b.shortcut()
			b.from(s2NBMA, purgeOf(s2Protocol, s2NBMA, s1Protocol, "10.10.2.0/24"))
			b.take()
			b.run(time.Second)
			want(t, "A", b.resolve("10.10.2.5").Flags&wire.FlagAuthoritative != 0, true)
		}},
		{"PU-09: to the NHS, or to one's own address", func(t *testing.T) {
			for _, destination := range []string{hubProtocol, s1Protocol} {
				b := networks(t)
				want(t, "reply", b.ask(s1NBMA, purgeOf(s1Protocol, s1NBMA, destination, "10.20.2.0/24")).p.Type, wire.PurgeReply)
				want(t, "purged", registered(b, "10.20.2.0/24"), false)
			}
		}},
		{"PU-10, SE-03: nobody purges what is another's", func(t *testing.T) {
			b := networks(t)
			r := b.ask(s2NBMA, purgeOf(s2Protocol, s2NBMA, hubProtocol, s1Protocol+"/32", "10.20.1.0/24", "10.0.0.0/8"))
			want(t, "a reply is owed", r.p.Type, wire.PurgeReply)
			want(t, "S1 and its networks", registered(b, s1Protocol+"/32") && registered(b, "10.20.1.0/24"), true)
			r = b.ask(s2NBMA, purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.20.1.0/24"))
			want(t, "in another's name", r.p.ErrorCode, wire.ErrorProtocolAddressUnreachable)
			want(t, "still there", registered(b, "10.20.1.0/24"), true)
		}},
		{"PU-10: a shortcut is purged by who it leads to and by the NHS, not by a third", func(t *testing.T) {
			b := spoke(t)
			b.shortcut()
			b.from("203.0.113.33", purgeOf("10.0.0.13", "203.0.113.33", s1Protocol, "10.10.2.0/24"))
			want(t, "a stranger", len(b.snapshot().Shortcuts), 1)
			b.from(hubNBMA, purgeOf("10.0.0.13", "203.0.113.33", s1Protocol, "10.10.2.0/24"))
			want(t, "a third by the hub", len(b.snapshot().Shortcuts), 1)
			want(t, "counted", b.counted("purge-of-others"), uint64(1))
			b.from(s2NBMA, purgeOf(s2Protocol, s2NBMA, s1Protocol, "10.10.2.0/24"))
			want(t, "S2 itself", len(b.snapshot().Shortcuts), 0)
			b.run(20 * time.Second)
			b.shortcut()
			b.from(hubNBMA, purgeOf(s2Protocol, s2NBMA, s1Protocol, "10.10.2.0/24"))
			want(t, "S2 by way of the hub", len(b.snapshot().Shortcuts), 0)
			b.run(20 * time.Second)
			b.shortcut()
			b.from(hubNBMA, purgeOf(hubProtocol, hubNBMA, s1Protocol, "10.10.0.0/16"))
			want(t, "the hub", len(b.snapshot().Shortcuts), 0)
		}},
		{"PU-10: what is a server's to purge comes from it, not by another in its name", func(t *testing.T) {
			const otherNBMA, otherProtocol = "192.0.2.2", "10.0.0.2"
			config := nhrptest.SpokeConfig("10.0.0.11/24", "10.10.1.0/24")
			config.NHS = append(config.NHS, engine.NHS{NBMA: otherNBMA, Protocol: addr(otherProtocol), Priority: 1})
			b := newBench(t, s1NBMA, config)
			for range 2 { // its own address, and its network
				for _, x := range b.take() {
					b.from(x.to, reply(x.p, wire.RegistrationReply, map[string]string{hubNBMA: hubProtocol, otherNBMA: otherProtocol}[x.to], x.to))
				}
			}
			for _, s := range b.snapshot().Servers {
				want(t, s.Protocol.String(), s.State, engine.Up)
			}
			b.shortcut()
			b.from(hubNBMA, purgeOf(otherProtocol, otherNBMA, s1Protocol, "10.10.0.0/16"))
			want(t, "by the first, in the other's name", len(b.snapshot().Shortcuts), 1)
			b.from(otherNBMA, purgeOf(otherProtocol, otherNBMA, s1Protocol, "10.10.0.0/16"))
			want(t, "by the other", len(b.snapshot().Shortcuts), 0)
		}},
		{"PU-10: what there is no shortcut to is asked for anew after a purge by who said so, was named, or is the NHS, not by a third", func(t *testing.T) {
			refuse := func(b *bench) { b.answered(b.resolve("10.10.2.5"), wire.CIE{Code: wire.CodeNoBinding}) }
			unfit := func(b *bench) { b.answered(b.resolve("10.10.2.5"), owner(24, s2Protocol, "127.0.0.1")) }
			silent := func(b *bench) {
				b.resolve("10.10.2.5")
				b.run(10 * time.Second)
			}
			for name, x := range map[string]struct {
				fails func(*bench)
				by    string
				left  int
			}{
				"S2 has refused, a third":      {refuse, "10.0.0.13", 1},
				"S2 has refused, S2":           {refuse, s2Protocol, 0},
				"S2 has refused, the NHS":      {refuse, hubProtocol, 0},
				"S2 cannot be one, a third":    {unfit, "10.0.0.13", 1},
				"S2 cannot be one, S2":         {unfit, s2Protocol, 0},
				"nobody has answered, S2":      {silent, s2Protocol, 1},
				"nobody has answered, the NHS": {silent, hubProtocol, 0},
			} {
				b := spoke(t)
				x.fails(b)
				want(t, name+": at first", len(b.snapshot().Negatives), 1)
				b.take()
				r := b.ask(hubNBMA, purgeOf(x.by, "203.0.113.33", s1Protocol, "10.0.0.0/8"))
				want(t, name+": a reply is owed", r.p.Type, wire.PurgeReply)
				want(t, name, len(b.snapshot().Negatives), x.left)
			}
		}},
		{"PU-11: the route of a purged shortcut goes before its next hop", func(t *testing.T) {
			b := spoke(t)
			b.shortcut()
			b.w.Trace = nil
			b.from(s2NBMA, purgeOf(s2Protocol, s2NBMA, s1Protocol, "10.10.2.0/24"))
			removed, unbound := b.w.Traced("removes 10.10.2.0/24"), b.w.Traced("unbinds "+s2Protocol)
			if len(removed) != 1 || len(unbound) != 1 {
				t.Fatalf("%q", b.w.Trace)
			}
			for _, line := range b.w.Trace {
				if line == unbound[0] {
					t.Errorf("the next hop goes first: %q", b.w.Trace)
				}
				if line == removed[0] {
					break
				}
			}
			want(t, "by the hub", b.n.Installed[prefix("10.10.0.0/16")], addr(hubProtocol))
		}},
		{"PU-08: an answer from before a purge that arrives after it is asked for anew; that of another is taken", func(t *testing.T) {
			b := spoke(t)
			request := b.resolve("10.10.2.5")
			b.from(hubNBMA, purgeOf(s2Protocol, s2NBMA, s1Protocol, "10.10.2.0/24"))
			want(t, "the purge is answered", b.one().p.Type, wire.PurgeReply)
			b.answered(request, owner(24, s2Protocol, s2NBMA))
			again := b.one()
			want(t, "no shortcut", len(b.snapshot().Shortcuts), 0)
			want(t, "asked anew", again.p.Type == wire.ResolutionRequest && again.p.RequestID != request.RequestID, true)
			b.answered(again.p, owner(24, s2Protocol, "203.0.113.99"))
			want(t, "its answer", b.n.Bound[addr(s2Protocol)].NBMA, addr("203.0.113.99"))
			request = b.resolve("10.10.3.5")
			b.from(hubNBMA, purgeOf(s2Protocol, s2NBMA, s1Protocol, "10.10.3.0/24"))
			b.take()
			b.from(hubNBMA, reply(request, wire.ResolutionReply, "10.0.0.13", "203.0.113.33", owner(24, "10.0.0.13", "203.0.113.33")))
			want(t, "another's answer", b.n.Installed[prefix("10.10.3.0/24")], addr("10.0.0.13"))
		}},
		{"PU-13: registration and purge with the same id are both taken", func(t *testing.T) {
			b := networks(t)
			p := registration(s1Protocol, s1NBMA)
			p.RequestID = 99
			want(t, "registration", b.ask(s1NBMA, p).p.CIEs[0].Code, wire.CodeSuccess)
			q := purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.20.2.0/24")
			q.RequestID = 99
			want(t, "purge", b.ask(s1NBMA, q).p.Type, wire.PurgeReply)
		}},
	})
}

// registered says whether a bench's machine has a prefix from a client.
func registered(b *bench, prefix string) bool {
	for _, x := range b.snapshot().Bindings {
		if x.Prefix.String() == prefix {
			return true
		}
	}
	return false
}
