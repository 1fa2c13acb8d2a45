// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// stop gives the machine a Stop and takes what it sends.
func (b *bench) stop() []sent {
	b.t.Helper()
	b.take()
	b.n.Input(engine.Stop{})
	return b.take()
}

// stopped checks whether the end is over, and that the data plane is empty then, and only then.
func (b *bench) stopped(when string, over bool) {
	b.t.Helper()
	empty := len(b.n.Bound)+len(b.n.Installed)+len(b.n.Accepted) == 0 && !b.n.Fallback.IsValid()
	_, more := b.n.Machine.Next()
	if is := b.n.Machine.Stopped(); is != over || empty != over || more == over {
		b.t.Errorf("%s: over %v, data plane empty %v, a tick wanted %v", when, is, empty, more)
	}
}

// at gives when packets were sent, since a time.
func at(list []sent, since time.Duration) string {
	var times []time.Duration
	for _, x := range list {
		times = append(times, x.at-since)
	}
	return fmt.Sprint(times)
}

// purged answers a purge as H does.
func (b *bench) purged(p *wire.Packet) {
	b.t.Helper()
	b.from(hubNBMA, reply(p, wire.PurgeReply, hubProtocol, hubNBMA))
}

// An orderly end: RG-19.
func TestCasesOfTheEnd(t *testing.T) {
	begin := func(b *bench) time.Duration { return b.w.Now.Sub(nhrptest.Start) }
	rows(t, []row{
		{"RG-19: the purge of what was registered asks for a reply; with it, the end is there", func(t *testing.T) {
			b := spoke(t)
			sent := b.stop()
			if len(sent) != 1 {
				t.Fatalf("%d packets: %v", len(sent), sent)
			}
			p := sent[0].p
			want(t, "to", sent[0].to, hubNBMA)
			want(t, "type and flags", fmt.Sprint(p.Type, p.Flags), fmt.Sprint(wire.PurgeRequest, 0))
			want(t, "what", fmt.Sprint(p.CIEs[0].Prefix(p.CIEs[0].Protocol), p.CIEs[1].Prefix(p.CIEs[1].Protocol)), "10.0.0.11/32 10.10.1.0/24")
			b.stopped("before the reply", false)
			b.from(s2NBMA, reply(p, wire.PurgeReply, hubProtocol, hubNBMA))
			b.stopped("after another's reply", false)
			b.purged(p)
			b.stopped("after the reply", true)
			b.run(time.Hour)
			b.silent()
		}},
		{"RG-19: the first one is lost, the second one answered", func(t *testing.T) {
			b := spoke(t)
			first, since := b.stop()[0], begin(b)
			b.run(300 * time.Millisecond)
			second := b.one()
			want(t, "repeated", at([]sent{second}, since), "[200ms]")
			want(t, "with the same id", second.p.RequestID, first.p.RequestID)
			b.stopped("before the reply", false)
			b.purged(second.p)
			b.stopped("after the reply", true)
			b.run(time.Hour)
			b.silent()
		}},
		{"RG-19: without any reply it is over after a second", func(t *testing.T) {
			b := spoke(t)
			b.shortcut()
			sent, since := b.stop(), begin(b)
			b.run(999 * time.Millisecond)
			b.stopped("before a second has passed", false)
			sent = append(sent, b.take()...)
			want(t, "sent", at(sent, since), "[0s 200ms 600ms]")
			b.run(time.Millisecond)
			b.stopped("after a second", true)
			want(t, "counted", b.counted("purge-unanswered"), uint64(1))
			b.run(time.Hour)
			b.silent()
		}},
		{"RG-19: several servers side by side; one is dead", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) {})
			x.uses("at first", 1, 1, 2, 3)
			x.away[2] = true
			x.s1.Input(engine.Stop{})
			x.Run(500 * time.Millisecond)
			for i, h := range x.hubs {
				want(t, fmt.Sprint(h.Name, " has it"), h.Bound[addr(s1Protocol)].NBMA.IsValid(), i+1 == 2)
			}
			want(t, "over", x.s1.Machine.Stopped(), false)
			want(t, "purges", len(x.Traced("S1", "Purge Request")), 3+1)
			x.Run(500 * time.Millisecond)
			want(t, "over", x.s1.Machine.Stopped(), true)
		}},
		{"RG-19: several servers; with the last reply it is over", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) {})
			x.s1.Input(engine.Stop{})
			x.Run(2 * x.Wire.Delay)
			want(t, "over after a round trip", x.s1.Machine.Stopped(), true)
			for _, h := range x.hubs {
				want(t, h.Name+" has it", h.Bound[addr(s1Protocol)].NBMA.IsValid(), false)
			}
		}},
		{"RG-19: the wire loses everything for 500 ms; the hub is empty all the same", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) {})
			x.away[1], x.away[2], x.away[3] = true, true, true
			x.s1.Input(engine.Stop{})
			x.Run(500 * time.Millisecond)
			clear(x.away)
			x.Run(500 * time.Millisecond)
			want(t, "over", x.s1.Machine.Stopped(), true)
			for _, h := range x.hubs {
				want(t, h.Name+" has it", h.Bound[addr(s1Protocol)].NBMA.IsValid(), false)
			}
		}},
		{"RG-19: a registration whose answer has not come yet is purged, too", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			sent := b.stop()
			if len(sent) != 1 || sent[0].p.Type != wire.PurgeRequest || sent[0].to != hubNBMA {
				t.Fatalf("sent: %v", sent)
			}
			b.purged(sent[0].p)
			b.stopped("after the reply", true)
		}},
		{"RR-04: what a server has refused is another's, and not purged", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			request := b.one().p
			r := reply(request, wire.RegistrationReply, hubProtocol, hubNBMA)
			r.CIEs[0].Code = wire.CodeAlreadyRegistered
			b.from(hubNBMA, r)
			want(t, "sent", len(b.stop()), 0)
			b.stopped("with nobody to tell", true)
		}},
		{"PU-05: who was answered is told, and awaited", func(t *testing.T) {
			b := hub(t)
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			sent := b.stop()
			if len(sent) != 1 || sent[0].to != s1NBMA || sent[0].p.Flags != 0 {
				t.Fatalf("sent: %v", sent)
			}
			b.run(300 * time.Millisecond)
			want(t, "repeated straight", b.one().to, s1NBMA)
			b.from(s1NBMA, reply(sent[0].p, wire.PurgeReply, s1Protocol, s1NBMA))
			b.stopped("after the reply", true)
		}},
		{"PU-06: a purge that is under way is sent again, and awaited", func(t *testing.T) {
			b := hub(t)
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.0.0/25"), NextHop: addr(s2Protocol), Tunnel: true}))
			b.run(20 * time.Second)
			id := b.take()[0].p.RequestID
			sent := b.stop()
			if len(sent) != 1 || sent[0].p.RequestID != id {
				t.Fatalf("sent: %v", sent)
			}
			b.stopped("before the reply", false)
			b.from(s1NBMA, reply(sent[0].p, wire.PurgeReply, s1Protocol, s1NBMA))
			b.stopped("after the reply", true)
		}},
		{"a server that says that it does not know us has answered", func(t *testing.T) {
			b := spoke(t)
			p := b.stop()[0].p
			b.from(hubNBMA, errorAbout(p, wire.ErrorProtocolAddressUnreachable, hubProtocol, hubNBMA))
			b.stopped("after the error", true)
		}},
		{"nothing is begun any more, but a purge is answered: two may stop at once", func(t *testing.T) {
			b := spoke(t)
			b.shortcut()
			b.stop()
			b.from(hubNBMA, indication("10.10.1.5", "10.10.3.5", "10.10.3.5"))
			b.from(s2NBMA, resolution(s2Protocol, s2NBMA, "10.10.1.5"))
			b.n.Input(engine.Miss{NextHop: addr("10.0.0.13")})
			b.n.Input(engine.LocalNBMA{Address: addr("198.51.100.99")})
			b.n.Input(engine.RoutesChanged{})
			b.n.Input(engine.Stop{})
			b.silent()
			want(t, "counted", b.counted("dropped-stopping"), uint64(2))
			want(t, "answer", b.ask(s2NBMA, purgeOf(s2Protocol, s2NBMA, s1Protocol, "10.10.2.0/24")).p.Type, wire.PurgeReply)
			want(t, "its shortcut", b.n.Installed[prefix("10.10.2.0/24")].IsValid(), false)
			b.stopped("meanwhile", false)
			b.run(time.Second)
			b.stopped("after a second", true)
		}},
		{"without an underlay address nobody can answer: it is over at once", func(t *testing.T) {
			b := spoke(t)
			b.n.Input(engine.LocalNBMA{Address: netip.Addr{}})
			b.stop()
			b.stopped("at once", true)
		}},
	})
}
