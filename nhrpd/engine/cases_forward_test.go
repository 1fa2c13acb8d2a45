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

// Serving and forwarding, the cache: sections 12 and 13 of the case list.
func TestCasesOfForwarding(t *testing.T) {
	rows(t, []row{
		{"FW-01, FW-09: to the next hop of the route: who owns the destination answers, even for a host that registered", func(t *testing.T) {
			b := hub(t)
			for _, destination := range []string{"10.10.2.5", s2Protocol} {
				for _, flags := range []uint16{wire.FlagAuthoritative, 0} {
					p := resolution(s1Protocol, s1NBMA, destination)
					p.Flags = p.Flags&^wire.FlagAuthoritative | flags
					r := b.ask(s1NBMA, p)
					want(t, "to", r.to, s2NBMA)
					want(t, "type", r.p.Type, wire.ResolutionRequest)
				}
			}
		}},
		{"FW-02, HD-09: the hop count goes down; at 0 error 15, but for what is ours", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.2.5")
			p.HopCount = 1
			r := b.ask(s1NBMA, p)
			want(t, "1", r.to == s2NBMA && r.p.HopCount == 0, true)
			p.HopCount = 0
			r = b.ask(s1NBMA, p)
			want(t, "0", r.to == s1NBMA && r.p.ErrorCode == wire.ErrorHopCountExceeded, true)
			p = registration(s1Protocol, s1NBMA)
			p.HopCount = 0
			r = b.ask(s1NBMA, p)
			want(t, "registration", r.p.CIEs[0].Code, wire.CodeSuccess)
			want(t, "HD-09: hop count of a reply", r.p.HopCount, uint8(255))
			p = reply(resolution(s1Protocol, s1NBMA, "10.10.2.5"), wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA))
			p.HopCount = 0
			r = b.ask(s2NBMA, p)
			want(t, "of a reply", r.to == s2NBMA && r.p.ErrorCode == wire.ErrorHopCountExceeded && r.p.DestinationProtocol == addr(s2Protocol), true)
		}},
		{"FW-03: to a client directly, whatever a route says of another server", func(t *testing.T) {
			b := hub(t)
			b.from("192.0.2.2", registration("10.0.0.2", "192.0.2.2"))
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.0.0.12/32"), NextHop: addr("10.0.0.2"), Tunnel: true}))
			want(t, "to", b.ask(s1NBMA, reply(resolution(s2Protocol, s2NBMA, "10.10.1.5"), wire.ResolutionReply, s1Protocol, s1NBMA, owner(24, s1Protocol, s1NBMA))).to, s2NBMA)
		}},
		{"FW-05: what is behind us we answer as egress", func(t *testing.T) {
			r := hub(t).ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			want(t, "entry", r.p.CIEs[0].NBMA == addr(hubNBMA) && r.p.CIEs[0].Prefix(addr("10.10.0.5")) == prefix("10.10.0.0/24"), true)
		}},
		{"FW-06: in transit nothing is touched but hop count, records and NAT address", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.2.5")
			p.Flags, p.RequestID = 0xFFFF&^wire.FlagUnique, 0xDEADBEEF
			p.SNAP = [5]byte{1, 2, 3, 4, 5}
			p.CIEs = []wire.CIE{{Code: 9, Unused: 7, PrefixLength: 28, MTU: 1234, HoldingTime: 60, Preference: 3, NBMA: addr("203.0.113.99"), Protocol: addr("10.0.0.99")}}
			p.Extensions = append(p.Extensions, wire.Extension{Type: 0x3801, Unused: true, Value: []byte("x")})
			q := b.ask(s1NBMA, p).p
			want(t, "hop count", q.HopCount, uint8(254))
			q.HopCount, q.Extensions[1].Value = p.HopCount, p.Extensions[1].Value
			a, _ := p.Marshal()
			c, _ := q.Marshal()
			want(t, "the rest", bytes.Equal(a, c), true)
		}},
		{"FW-07: not back to where it came from", func(t *testing.T) {
			b := hub(t)
			r := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.1.5"))
			want(t, "resolution", r.to == s1NBMA && r.p.CIEs[0].Code == wire.CodeNoBinding, true)
			r = b.ask(s1NBMA, purgeOf(s1Protocol, s1NBMA, "10.10.1.5", "10.10.1.0/24"))
			want(t, "purge", r.to == s1NBMA && r.p.ErrorCode == wire.ErrorProtocolAddressUnreachable, true)
		}},
		{"FW-10: a default route is no shortcut for the world", func(t *testing.T) {
			b := hub(t)
			want(t, "code", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "8.8.8.8")).p.CIEs[0].Code, wire.CodeNoBinding)
			b.n.SetKernel([]nhrptest.Route{{Prefix: prefix("10.0.0.0/24"), Tunnel: true}, {Prefix: prefix("8.0.0.0/7")}})
			want(t, "wider than a site", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "8.8.8.8")).p.CIEs[0].Code, wire.CodeNoBinding)
		}},
		{"FW-11: who is gone is not asked: NAK", func(t *testing.T) {
			b := hub(t)
			b.ask(s2NBMA, purgeOf(s2Protocol, s2NBMA, hubProtocol, s2Protocol+"/32"))
			r := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5"))
			want(t, "code", r.to == s1NBMA && r.p.CIEs[0].Code == wire.CodeNoBinding, true)
		}},
		{"FW-12, SE-04: a flood of one peer's takes nothing from others, nor from its own registration", func(t *testing.T) {
			b := hub(t)
			for range 2000 {
				b.from(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5"))
			}
			forwarded := len(b.take())
			want(t, "a second's share", forwarded <= 101, true)
			want(t, "counted", b.counted("dropped-rate"), uint64(2000-forwarded))
			want(t, "S2", b.ask(s2NBMA, registration(s2Protocol, s2NBMA)).p.CIEs[0].Code, wire.CodeSuccess)
			want(t, "S1's registration", b.ask(s1NBMA, registration(s1Protocol, s1NBMA)).p.CIEs[0].Code, wire.CodeSuccess)
			b.run(time.Second)
			want(t, "a second later", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5")).to, s2NBMA)
		}},
		{"strangers: what is not registered has nothing forwarded, requests and replies alike", func(t *testing.T) {
			b := hub(t)
			for _, p := range []*wire.Packet{
				resolution("10.0.0.13", "203.0.113.33", "10.10.2.5"),
				purgeOf("10.0.0.13", "203.0.113.33", s2Protocol, "10.10.2.0/24"),
				reply(resolution(s1Protocol, s1NBMA, "10.10.2.5"), wire.ResolutionReply, s2Protocol, "203.0.113.33", owner(24, s2Protocol, "203.0.113.33")),
				errorAbout(resolution(s1Protocol, s1NBMA, "10.10.2.5"), wire.ErrorProtocolAddressUnreachable, "10.0.0.13", "203.0.113.33"),
			} {
				b.take()
				b.from("203.0.113.33", p)
				for _, x := range b.take() {
					want(t, "only an error to itself", x.to == "203.0.113.33" && x.p.Type == wire.ErrorIndication, true)
				}
			}
		}},
	})
}

func TestCasesOfTheCache(t *testing.T) {
	rows(t, []row{
		{"CA-02, CA-03: what passes by is not cached", func(t *testing.T) {
			b := hub(t)
			before := b.snapshot()
			request := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5")).p
			b.ask(s2NBMA, reply(request, wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA)))
			s := b.snapshot()
			want(t, "entries", len(s.Bindings)+len(s.Shortcuts)+len(s.Told)+len(s.Negatives), len(before.Bindings))
			want(t, "routes", len(b.n.Installed), 0)
		}},
		{"CA-05: whom we answered is remembered, bounded", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Networks = append(c.Networks, prefix("10.30.0.0/16")) })
			var routes []nhrptest.Route
			for i := range 100 {
				routes = append(routes, nhrptest.Route{Prefix: prefix(fmt.Sprintf("10.30.%d.0/24", i))})
			}
			b.n.SetKernel(append(b.n.Kernel, routes...))
			full := 0
			for i := range 100 {
				if b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, fmt.Sprintf("10.30.%d.5", i))).p.CIEs[0].Code == wire.CodeInsufficientResources {
					full++
				}
				b.run(50 * time.Millisecond)
			}
			s := b.snapshot()
			want(t, "one requester", len(s.Told), 1)
			want(t, "what it was told and what not", len(s.Told[0].Prefixes)+full, 100)
			want(t, "bounded", full > 0, true)
		}},
		{"CA-08: a registered client hides a resolution of ours, its end uncovers it", func(t *testing.T) {
			b := newBench(t, s1NBMA, func() engine.Config { c := spokeConfig(); c.Redirect = true; return c }())
			for range 2 {
				for _, x := range b.take() {
					b.registered(x.p)
				}
			}
			b.take()
			b.shortcut()
			p := registration(s2Protocol, "203.0.113.99", wire.CIE{HoldingTime: 60})
			p.DestinationProtocol = addr(s1Protocol)
			b.from("203.0.113.99", p)
			want(t, "registered", b.n.Bound[addr(s2Protocol)].NBMA, addr("203.0.113.99"))
			b.run(61 * time.Second)
			want(t, "resolved", b.n.Bound[addr(s2Protocol)].NBMA, addr(s2NBMA))
		}},
		{"CA-08: a negative entry carries no traffic", func(t *testing.T) {
			b := spoke(t)
			b.answered(b.resolve("10.10.2.5"), wire.CIE{Code: wire.CodeNoBinding})
			want(t, "by the hub", b.n.Installed[prefix("10.10.0.0/16")] == addr(hubProtocol) && len(b.n.Installed) == 1, true)
		}},
		{"CA-09: the longest prefix wins", func(t *testing.T) {
			b := spoke(t)
			b.answered(b.resolve("10.10.2.77"), owner(32, "10.0.0.13", "203.0.113.33"))
			b.shortcut()
			for destination, hop := range map[string]string{"10.10.2.77": "10.0.0.13", "10.10.2.78": s2Protocol} {
				r, _ := b.n.Lookup(addr(destination))
				want(t, destination, r.NextHop, addr(hop))
			}
		}},
		{"CA-10: full of negative entries, a shortcut finds room; full of shortcuts, the routed path stays", func(t *testing.T) {
			b := spoke(t, func(c *engine.Config) { c.Limits.Cached = 3 })
			for i := range 5 {
				b.answered(b.resolve(fmt.Sprintf("10.10.9.%d", i+1)), wire.CIE{Code: wire.CodeNoBinding})
				for _, x := range b.take() {
					b.registered(x.p)
				}
				b.run(10 * time.Second)
			}
			for i := range 5 {
				b.answered(b.resolve(fmt.Sprintf("10.10.%d.5", i+10)), owner(24, s2Protocol, s2NBMA))
				s := b.snapshot()
				want(t, "bounded", len(s.Shortcuts)+len(s.Negatives) <= 3, true)
			}
			want(t, "shortcuts", len(b.snapshot().Shortcuts), 3)
			want(t, "routes", len(b.n.Installed), 4)
		}},
		{"CA-11: the wall clock may jump; a restart keeps the time that was left", func(t *testing.T) {
			b := hub(t)
			b.from(s1NBMA, registration(s1Protocol, s1NBMA, wire.CIE{HoldingTime: 300}))
			b.w.Now = b.w.Now.Add(-time.Hour)
			b.n.Input(engine.Tick{})
			want(t, "an hour back", b.n.Bound[addr(s1Protocol)].NBMA, addr(s1NBMA))
			b.w.Now = b.w.Now.Add(time.Hour)
			state := b.n.Kill()
			b.w.Now = b.w.Now.Add(100 * time.Second)
			b.n.Start(state)
			for _, x := range b.snapshot().Bindings {
				if x.Protocol == addr(s1Protocol) {
					want(t, "left", x.Expires.Sub(b.w.Now).Round(time.Second), 200*time.Second)
				}
			}
			b.run(201 * time.Second)
			want(t, "gone", b.n.Bound[addr(s1Protocol)].NBMA.IsValid(), false)
		}},
	})
}
