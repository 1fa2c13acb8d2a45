// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Traffic Indication: section 15 of the case list.
func TestCasesOfRedirect(t *testing.T) {
	rows(t, []row{
		{"TI-01, TI-02, TI-03: to who sent the packet: code 0, the issuer, the packet's source and beginning", func(t *testing.T) {
			b := hub(t)
			data := append(inner("10.10.1.5", "10.10.2.5"), make([]byte, 1000)...)
			b.n.Input(engine.Redirect{Data: data})
			r := b.one()
			want(t, "to", r.to, s1NBMA)
			want(t, "type and code", r.p.Type == wire.TrafficIndication && r.p.ErrorCode == 0 && r.p.ErrorOffset == 0, true)
			want(t, "issuer", r.p.SourceProtocol == addr(hubProtocol) && r.p.SourceNBMA == addr(hubNBMA), true)
			want(t, "destination field", r.p.DestinationProtocol, addr("10.10.1.5"))
			want(t, "contents", len(r.p.Contents) == 68 && bytes.HasPrefix(data, r.p.Contents), true)
			want(t, "hop count", r.p.HopCount, uint8(255))
		}},
		{"TI-02: the packet's destination or its source in the field: the same request", func(t *testing.T) {
			for _, field := range []string{"10.10.2.5", "10.10.1.5", s1Protocol} {
				b := spoke(t)
				b.from(hubNBMA, indication("10.10.1.5", "10.10.2.5", field))
				r := b.one().p
				want(t, field, r.Type == wire.ResolutionRequest && r.DestinationProtocol == addr("10.10.2.5"), true)
			}
		}},
		{"TI-03: off by configuration", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Redirect = false })
			b.n.Input(engine.Redirect{Data: inner("10.10.1.5", "10.10.2.5")})
			b.silent()
		}},
		{"TI-04: one in 8 s for a pair, and a cap for all", func(t *testing.T) {
			b := hub(t)
			for range 900 {
				b.n.Input(engine.Redirect{Data: inner("10.10.1.5", "10.10.2.5")})
				b.run(10 * time.Millisecond)
			}
			want(t, "in 9 s", len(b.take()), 2)
			for i := range 1000 {
				b.n.Input(engine.Redirect{Data: inner(fmt.Sprintf("10.10.1.%d", 1+i%250), fmt.Sprintf("10.10.2.%d", 1+i/250))})
			}
			want(t, "at once", len(b.take()), 256)
		}},
		{"TI-05: not for what has no shorter way", func(t *testing.T) {
			b := hub(t)
			unreachable := inner("10.10.1.5", "10.10.2.5")
			unreachable[9], unreachable[20] = 1, 3
			for name, data := range map[string][]byte{
				"multicast":              inner("10.10.1.5", "224.0.0.5"),
				"broadcast":              inner("10.10.1.5", "255.255.255.255"),
				"the overlay's":          inner("10.10.1.5", "10.0.0.255"),
				"link-local":             inner("10.10.1.5", "169.254.0.1"),
				"from link-local":        inner("169.254.0.1", "10.10.2.5"),
				"from nowhere":           inner("0.0.0.0", "10.10.2.5"),
				"an ICMP error":          unreachable,
				"to us":                  inner("10.10.1.5", hubProtocol),
				"to our LAN":             inner("10.10.1.5", "10.10.0.5"),
				"to an unknown place":    inner("10.10.1.5", "10.77.0.1"),
				"from an unknown place":  inner("10.77.0.1", "10.10.2.5"),
				"back to where it was":   inner("10.10.1.5", "10.10.1.6"),
				"half a header":          inner("10.10.1.5", "10.10.2.5")[:19],
				"nothing":                nil,
				"of an unknown protocol": {0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
			} {
				b.n.Input(engine.Redirect{Data: data})
				for _, x := range b.take() {
					t.Errorf("%s: %v", name, x.p)
				}
			}
		}},
		{"TI-06: whatever is wrong with it, nothing is answered", func(t *testing.T) {
			for _, spoil := range []func(p *wire.Packet){
				func(p *wire.Packet) { p.Contents = nil },
				func(p *wire.Packet) { p.Contents = p.Contents[:19] },
				func(p *wire.Packet) { p.Contents[0] = 0x60 },
				func(p *wire.Packet) { p.Contents = append([]byte{0x60}, make([]byte, 60)...) },
				func(p *wire.Packet) {
					p.Extensions = append(p.Extensions, wire.Extension{Type: 0x3801, Compulsory: true})
				},
			} {
				b := spoke(t)
				p := indication("10.10.1.5", "10.10.2.5", "10.10.2.5")
				spoil(p)
				b.from(hubNBMA, p)
				for _, x := range b.take() {
					want(t, "at most a request", x.p.Type, wire.ResolutionRequest)
				}
			}
			b := spoke(t)
			p := indication("10.10.1.5", "10.10.2.5", "10.10.2.5")
			p.ErrorCode = 7
			b.from(hubNBMA, p)
			want(t, "of code 7", b.one().p.Type, wire.ResolutionRequest)
		}},
		{"TI-07: from a configured server only", func(t *testing.T) {
			b := spoke(t)
			b.shortcut()
			b.from(s2NBMA, indication("10.10.1.5", "10.10.3.5", "10.10.3.5"))
			b.from("203.0.113.33", indication("10.10.1.5", "10.10.3.5", "10.10.3.5"))
			b.silent()
			want(t, "counted", b.counted("dropped-indication-from-stranger"), uint64(2))
		}},
		{"TI-08: of a packet that is ours, to somewhere else", func(t *testing.T) {
			b := spoke(t)
			b.from(hubNBMA, indication("10.10.2.5", "10.10.3.5", "10.10.3.5"))
			b.from(hubNBMA, indication("10.10.1.5", "10.10.1.6", "10.10.1.6"))
			b.from(hubNBMA, indication("10.10.1.5", s1Protocol, s1Protocol))
			b.silent()
			want(t, "counted", b.counted("dropped-indication-of-others"), uint64(1))
			for range 5000 {
				b.from(hubNBMA, indication("10.10.2.5", "10.10.3.5", "10.10.3.5"))
			}
			b.silent()
			want(t, "the hub's renewals are served", b.snapshot().Servers[0].State, engine.Up)
		}},
		{"TI-09: one request for a destination; with a shortcut there, it is only checked", func(t *testing.T) {
			b := spoke(t)
			b.resolve("10.10.2.5")
			for range 99 {
				b.indicate("10.10.2.5")
			}
			b.silent()
			b = spoke(t)
			b.shortcut()
			b.indicate("10.10.2.5")
			b.silent() // it was under way when the shortcut came
			b.run(15 * time.Second)
			r := b.resolve("10.10.2.9")
			want(t, "what is checked", r.DestinationProtocol, addr("10.10.2.5"))
			want(t, "A", r.Flags&wire.FlagAuthoritative != 0, true)
			want(t, "the shortcut stays", b.n.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
		}},
		{"TI-10: both ends are told, ask at the same time, and have their shortcuts", func(t *testing.T) {
			c := nhrptest.NewCloud(1, false, nil)
			c.Run(time.Second)
			c.Ping(100)
			c.Run(time.Second)
			paths(t, c, "S1 S2", "S2 S1")
			want(t, "requests", len(c.Traced("S1   sends Resolution Request")) == 1 && len(c.Traced("S2   sends Resolution Request")) == 1, true)
		}},
	})
}

// Phases and shortcuts, several hubs: sections 16 and 17 of the case list.
func TestCasesOfShortcuts(t *testing.T) {
	rows(t, []row{
		{"SC-01: phase 1: no request, no shortcut, indications are ignored", func(t *testing.T) {
			b := spoke(t, func(c *engine.Config) { c.Shortcut = false })
			b.indicate("10.10.2.5")
			b.n.Input(engine.Miss{NextHop: addr(s2Protocol)})
			b.silent()
			want(t, "answers all the same", b.ask(hubNBMA, resolution("10.0.0.13", "203.0.113.33", "10.10.1.5")).p.CIEs[0].Code, wire.CodeSuccess)
		}},
		{"SC-02: phase 2: a next hop without a peer is asked for, and needs no route", func(t *testing.T) {
			b := spoke(t)
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.2.0/24"), NextHop: addr(s2Protocol), Tunnel: true}))
			b.take()
			b.n.Input(engine.Miss{NextHop: addr(s2Protocol), Data: inner("10.10.1.5", "10.10.2.5")})
			r := b.one()
			want(t, "asked", r.to == hubNBMA && r.p.DestinationProtocol == addr(s2Protocol), true)
			b.answered(r.p, owner(32, s2Protocol, s2NBMA))
			want(t, "bound", b.n.Bound[addr(s2Protocol)].NBMA, addr(s2NBMA))
			want(t, "routes", len(b.n.Installed), 1)
		}},
		{"SC-02: phase 2: a server is not asked for itself, whatever is routed by it", func(t *testing.T) {
			b := spoke(t)
			b.take()
			b.n.Input(engine.Miss{NextHop: addr(hubProtocol), Data: inner("10.10.1.5", "10.10.2.5")})
			b.silent()
			want(t, "counted", b.counted("miss-of-server"), uint64(1))
		}},
		{"SC-03: make before break: the peer, then the route", func(t *testing.T) {
			b := spoke(t)
			b.w.Trace = nil
			b.shortcut()
			binds, installs := b.w.Traced("binds "+s2Protocol), b.w.Traced("installs 10.10.2.0/24")
			if len(binds) != 1 || len(installs) != 1 || slices.Index(b.w.Trace, binds[0]) > slices.Index(b.w.Trace, installs[0]) {
				t.Errorf("%q", b.w.Trace)
			}
		}},
		{"SC-04, CA-07: renewed at two thirds if used, with A; a refusal ends it", func(t *testing.T) {
			b := spoke(t)
			c := owner(24, s2Protocol, s2NBMA)
			c.HoldingTime = 300
			b.answered(b.resolve("10.10.2.5"), c)
			b.run(199 * time.Second)
			b.silent()
			b.run(1500 * time.Millisecond)
			r := b.one()
			want(t, "asked", r.to == hubNBMA && r.p.DestinationProtocol == addr("10.10.2.5") && r.p.Flags&wire.FlagAuthoritative != 0, true)
			b.answered(r.p, wire.CIE{Code: wire.CodeNoBinding})
			want(t, "route", b.n.Installed[prefix("10.10.2.0/24")].IsValid(), false)
			want(t, "by the hub", b.n.Installed[prefix("10.10.0.0/16")], addr(hubProtocol))
		}},
		{"SC-06: a shortcut of one side is whole", func(t *testing.T) {
			c := nhrptest.NewCloud(1, false, func(hub, s1, s2 *engine.Config) { s2.Shortcut = false })
			c.Run(time.Second)
			c.Ping(100)
			c.Run(time.Second)
			paths(t, c, "S1 S2", "S2 H S1")
			want(t, "lost", len(c.Stream(time.Minute, time.Second, 1400)), 0)
		}},
		{"SC-07: what is local is never asked for", func(t *testing.T) {
			b := spoke(t)
			for _, a := range []string{"10.10.1.77", "198.51.100.77", "8.8.8.8"} {
				b.indicate(a)
			}
			b.silent()
		}},
		{"SC-09: a route of our own ends it; a more specific one too; another next hop asks again", func(t *testing.T) {
			for name, x := range map[string]struct {
				route nhrptest.Route
				stays bool
			}{
				"a LAN":          {nhrptest.Route{Prefix: prefix("10.10.2.0/24")}, false},
				"more specific":  {nhrptest.Route{Prefix: prefix("10.10.2.0/25"), NextHop: addr("10.0.0.13"), Tunnel: true}, false},
				"elsewhere":      {nhrptest.Route{Prefix: prefix("10.10.2.128/25"), NextHop: addr("10.0.0.13"), Tunnel: true}, true},
				"another by hop": {nhrptest.Route{Prefix: prefix("10.10.2.0/24"), NextHop: addr("10.0.0.13"), Tunnel: true}, true},
			} {
				b := spoke(t)
				b.shortcut()
				b.n.SetKernel(append(b.n.Kernel, x.route))
				want(t, name, b.n.Installed[prefix("10.10.2.0/24")].IsValid(), x.stays)
				if name == "another by hop" {
					r := b.one().p
					want(t, "asked again", r.Type == wire.ResolutionRequest && r.DestinationProtocol == addr("10.10.2.5"), true)
				}
			}
		}},
		{"SC-11: an NHS that does not know the way, as one without memory, ends no shortcut that was to be renewed; its peer does", func(t *testing.T) {
			for _, x := range []struct {
				name  string
				stays bool
				say   func(b *bench, request *wire.Packet)
			}{
				{"NAK 12 of the NHS", true, func(b *bench, q *wire.Packet) {
					b.from(hubNBMA, reply(q, wire.ResolutionReply, hubProtocol, hubNBMA, wire.CIE{Code: wire.CodeNoBinding}))
				}},
				{"error 6 of the NHS", true, func(b *bench, q *wire.Packet) {
					b.from(hubNBMA, errorAbout(q, wire.ErrorProtocolAddressUnreachable, hubProtocol, hubNBMA))
				}},
				{"NAK 4 of the NHS", false, func(b *bench, q *wire.Packet) {
					b.from(hubNBMA, reply(q, wire.ResolutionReply, hubProtocol, hubNBMA, wire.CIE{Code: wire.CodeAdministrativelyProhibited}))
				}},
				{"NAK 12 of its peer", false, func(b *bench, q *wire.Packet) { b.answered(q, wire.CIE{Code: wire.CodeNoBinding}) }},
			} {
				b := spoke(t)
				b.shortcut()
				b.run(30 * time.Second)
				b.indicate("10.10.2.5")
				request := b.one().p
				want(t, x.name+": renewed", request.Type, wire.ResolutionRequest)
				x.say(b, request)
				want(t, x.name+": the shortcut stays", b.n.Installed[prefix("10.10.2.0/24")] == addr(s2Protocol), x.stays)
			}
		}},
		{"SC-11: the last hub goes: shortcuts live on, and nobody is asked", func(t *testing.T) {
			c := nhrptest.NewCloud(1, false, func(hub, s1, s2 *engine.Config) { s1.HoldingTime, s2.HoldingTime = 100*time.Second, 100*time.Second })
			c.Run(50 * time.Second)
			c.Ping(100)
			c.Run(time.Second)
			c.H.Kill()
			want(t, "lost", len(c.Stream(95*time.Second, time.Second, 1400)), 0)
			paths(t, c, "S1 S2", "S2 S1")
			want(t, "hub", c.S1.Fallback.IsValid(), false)
			before := len(c.Traced("S1   sends Resolution Request"))
			c.S1.Input(engine.Miss{NextHop: addr("10.0.0.77")})
			want(t, "requests", len(c.Traced("S1   sends Resolution Request")), before)
		}},
		{"HU-05: servers that point at each other: error 3 with records, 15 without, and the requester hears of it", func(t *testing.T) {
			for _, records := range []bool{true, false} {
				w, h, s1 := circle(t)
				errors := map[wire.ErrorCode]int{}
				w.Seen = func(from *nhrptest.Node, to engine.Endpoint, p *wire.Packet) {
					if p.Type == wire.ErrorIndication && to.NBMA == s1.NBMA {
						errors[p.ErrorCode]++
					}
				}
				p := resolution(s1Protocol, s1NBMA, "10.66.0.5")
				expect := wire.ErrorLoopDetected
				if !records {
					p.Extensions, expect = nil, wire.ErrorHopCountExceeded
				}
				data, err := p.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				h.Input(engine.Packet{From: engine.Endpoint{NBMA: s1.NBMA}, Data: data})
				w.Run(10 * time.Second)
				want(t, "errors at S1", fmt.Sprint(errors), fmt.Sprint(map[wire.ErrorCode]int{expect: 1}))
			}
		}},
		{"HU-07: who forwards for the tunnel does not resolve for it", func(t *testing.T) {
			b := hub(t)
			b.n.Input(engine.Miss{NextHop: addr("10.0.0.77"), Data: inner("10.10.1.5", "10.10.7.5")})
			b.silent()
		}},
	})
}

// circle is three servers, each of which has a route to 10.66.0.0/16 by the
// next, and S1 at the first:
//
//	S1 ── H 10.0.0.1 → H2 10.0.0.2 → H3 10.0.0.3 → H
func circle(t *testing.T) (w *nhrptest.World, h, s1 *nhrptest.Node) {
	w = nhrptest.New(1)
	w.Reimport = strings.HasSuffix(t.Name(), exported)
	var servers []*nhrptest.Node
	for i := range 3 {
		c := nhrptest.HubConfig()
		c.Address = prefix(fmt.Sprintf("10.0.0.%d/24", i+1))
		c.Networks, c.Limits.PacketsPerPeer = nil, 1000
		for j := range 3 {
			if i != j {
				c.NHS = append(c.NHS, engine.NHS{NBMA: fmt.Sprintf("192.0.2.%d", j+1), Protocol: addr(fmt.Sprintf("10.0.0.%d", j+1))})
			}
		}
		servers = append(servers, w.Add(fmt.Sprint("H", i+1), fmt.Sprintf("192.0.2.%d", i+1), c))
	}
	s1 = w.Add("S1", s1NBMA, spokeConfig())
	w.Run(10 * time.Second)
	for i, n := range servers {
		n.SetKernel(append(n.Kernel, nhrptest.Route{Prefix: prefix("10.66.0.0/16"), NextHop: addr(fmt.Sprintf("10.0.0.%d", (i+1)%3+1)), Tunnel: true}))
	}
	return w, servers[0], s1
}
