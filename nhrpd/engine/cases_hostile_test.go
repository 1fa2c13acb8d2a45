// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// Hostile input: section 18 of the case list, as far as it is the machine's.
func TestCasesOfHostileInput(t *testing.T) {
	rows(t, []row{
		{"SE-02: a reply is taken from the server or from whom it is about, with the very id", func(t *testing.T) {
			b := spoke(t, func(c *engine.Config) { c.Limits.PacketsPerPeer = 1 << 20 })
			request := b.resolve("10.10.2.5")
			b.from("203.0.113.33", reply(request, wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA)))
			want(t, "the right id from elsewhere", len(b.snapshot().Shortcuts), 0)
			p := reply(request, wire.ResolutionReply, "10.0.0.13", "203.0.113.33", owner(24, "10.0.0.13", "203.0.113.33"))
			data, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20000 {
				id := request.RequestID - 10000 + uint32(i)
				if id == request.RequestID {
					continue
				}
				data[24], data[25], data[26], data[27] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
				b.n.Machine.Handle(b.w.Now, engine.Packet{From: engine.Endpoint{NBMA: addr("203.0.113.33")}, Data: sealed(data)})
			}
			s := b.snapshot()
			want(t, "guesses", len(s.Shortcuts), 0)
			want(t, "the question stands", len(s.Requests), 1)
			b.answered(request, owner(24, s2Protocol, s2NBMA))
			want(t, "the right one", b.n.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
		}},
		{"SE-03: forged errors undo no registration", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			request := b.one().p
			b.registered(request)
			b.take()
			for _, code := range []wire.ErrorCode{wire.ErrorProtocolAddressUnreachable, wire.ErrorAuthenticationFailure} {
				for _, from := range []string{hubNBMA, "203.0.113.33"} {
					b.from(from, errorAbout(request, code, hubProtocol, hubNBMA))
				}
			}
			want(t, "state", b.snapshot().Servers[0].State, engine.Up)
			want(t, "by the hub", b.n.Installed[prefix("10.10.0.0/16")], addr(hubProtocol))
		}},
		{"SE-03, CM-09: a purge of more than a packet may hold is refused whole", func(t *testing.T) {
			b := networksHub(t)
			var all []string
			for i := range 300 {
				all = append(all, fmt.Sprintf("10.%d.%d.0/24", 20+i/256, i%256))
			}
			r := b.ask(s1NBMA, purgeOf(s1Protocol, s1NBMA, hubProtocol, all...)).p
			want(t, "error", r.ErrorCode, wire.ErrorProtocolError)
			want(t, "purged", b.n.Installed[prefix("10.20.1.0/24")].IsValid(), true)
		}},
		{"a requester that asks from ever new addresses is accepted from the last alone", func(t *testing.T) {
			b := spoke(t, func(c *engine.Config) { c.Limits.PacketsPerPeer = 1 << 20 })
			for i := range 200 {
				b.from(hubNBMA, resolution(s2Protocol, fmt.Sprintf("198.18.%d.1", i), "10.10.1.5"))
			}
			want(t, "known at once", len(b.snapshot().Told), 1)
			b.run(3 * time.Second)
			var left []string
			for _, e := range b.snapshot().Accepted {
				left = append(left, e.NBMA.String())
			}
			want(t, "accepted when all is through", fmt.Sprint(left), fmt.Sprint([]string{hubNBMA, "198.18.199.1"}))
		}},
		{"who moves again and again takes no more room than there is", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Limits = engine.Limits{Bindings: 10, Cached: 5} })
			for i := range 200 {
				b.from(fmt.Sprintf("198.18.%d.1", i), registration(s2Protocol, s2NBMA))
			}
			want(t, "accepted", len(b.snapshot().Accepted), 20)
			want(t, "S2", b.n.Bound[addr(s2Protocol)].NBMA, addr("198.18.199.1"))
			want(t, "S1", b.n.Accepted[engine.Endpoint{NBMA: addr(s1NBMA)}], true)
		}},
		{"SE-04: one peer's prefixes end at its cap, and leave room for others", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Limits.PacketsPerPeer = 1 << 20 })
			taken, refused := 0, 0
			for i := range 400 {
				var entries []wire.CIE
				for j := range 50 {
					entries = append(entries, network(fmt.Sprintf("%d.%d.%d.0/24", 20+i/200, i%200/4, i%4*50+j)))
				}
				b.from(s1NBMA, registration(s1Protocol, s1NBMA, entries...))
				for _, x := range b.take() {
					for _, c := range x.p.CIEs {
						if c.Code == wire.CodeSuccess {
							taken++
						} else {
							want(t, "code", c.Code, wire.CodeInsufficientResources)
							refused++
						}
					}
				}
			}
			want(t, "taken", taken, 63) // and its own address
			want(t, "refused", refused, 20000-63)
			want(t, "S2", b.ask(s2NBMA, registration(s2Protocol, s2NBMA, network("10.21.1.0/24"))).p.CIEs[0].Code, wire.CodeSuccess)
		}},
		{"SE-05: no amplifier: one packet for one, to where it came from, little larger", func(t *testing.T) {
			b := networksHub(t)
			p := resolution(s1Protocol, s1NBMA, "10.77.0.1")
			p.HopCount = 0
			for _, p := range []*wire.Packet{
				registration(s1Protocol, s1NBMA), registration(s1Protocol, s1NBMA, network("10.99.0.0/1")), p, resolution(s1Protocol, s1NBMA, "10.10.0.5"),
				purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.20.2.0/24"), purgeOf(s1Protocol, s1NBMA, "10.77.0.1", "10.20.2.0/24"),
				resolution("10.0.0.77", s1NBMA, "10.10.0.5"),
			} {
				r := b.ask(s1NBMA, p)
				want(t, "to", r.to, s1NBMA)
				want(t, "size", r.p.Size() <= p.Size()+80, true)
			}
		}},
		{"SE-07: our own packets that come back leave no trace", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			var ours []sent
			for range 2 {
				part := b.take()
				ours = append(ours, part...)
				for _, x := range part {
					b.registered(x.p)
				}
			}
			ours = append(ours, b.take()...)
			ours = append(ours, sent{p: b.resolve("10.10.2.5")})
			b.answered(ours[len(ours)-1].p, owner(24, s2Protocol, s2NBMA))
			b.ask(hubNBMA, resolution("10.0.0.13", "203.0.113.33", "10.10.1.5"))
			b.n.SetKernel(append(b.n.Kernel[:1:1], b.n.Kernel[2:3]...))
			ours = append(ours, b.take()...)
			before := b.snapshot()
			for _, x := range ours {
				for _, from := range []string{s1NBMA, hubNBMA, s2NBMA, "203.0.113.33"} {
					b.from(from, x.p)
				}
			}
			b.silent()
			after := b.snapshot()
			want(t, "state", fmt.Sprint(after.Bindings, after.Shortcuts, after.Told, after.Purges, after.Servers),
				fmt.Sprint(before.Bindings, before.Shortcuts, before.Told, before.Purges, before.Servers))
		}},
	})
}
