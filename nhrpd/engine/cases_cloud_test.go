// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// regions is a hierarchy: regional hubs are spokes of the one above, and know each other's
// regions by routes. All are in one overlay, 10.0.0.0/16.
//
//	            H0 10.0.0.1
//	           ╱           ╲
//	H1 10.0.1.1             H2 10.0.2.1
//	     │                       │
//	S1 10.0.1.11            S2 10.0.2.12
//	10.11.1.0/24            10.12.1.0/24
func regions(t *testing.T, protected bool) (w *nhrptest.World, nodes map[string]*nhrptest.Node) {
	w = nhrptest.New(1)
	w.Reimport = strings.HasSuffix(t.Name(), exported)
	nodes = map[string]*nhrptest.Node{}
	add := func(name, nbma, address, lan, above string, routes ...nhrptest.Route) {
		c := engine.Config{Tunnel: "dmvpn0", Address: prefix(address + "/16"), MTU: 1400, Redirect: lan == "", Shortcut: lan != ""}
		if lan != "" {
			c.Networks = []netip.Prefix{prefix(lan)}
		}
		if above != "" {
			c.NHS = []engine.NHS{{NBMA: above, Routes: []netip.Prefix{prefix("10.8.0.0/13")}}}
		}
		nodes[name] = w.Add(name, nbma, c, func(n *nhrptest.Node) {
			if n.Kernel = append(n.Kernel, routes...); protected {
				n.Identity = name
			}
		})
	}
	by := func(p, hop string) nhrptest.Route {
		return nhrptest.Route{Prefix: prefix(p), NextHop: addr(hop), Tunnel: true}
	}
	add("H0", "192.0.2.1", "10.0.0.1", "", "", by("10.11.0.0/16", "10.0.1.1"), by("10.12.0.0/16", "10.0.2.1"), by("10.0.1.0/24", "10.0.1.1"), by("10.0.2.0/24", "10.0.2.1"))
	add("H1", "192.0.3.1", "10.0.1.1", "", "192.0.2.1")
	add("H2", "192.0.4.1", "10.0.2.1", "", "192.0.2.1")
	w.Run(time.Second)
	add("S1", s1NBMA, "10.0.1.11", "10.11.1.0/24", "192.0.3.1")
	add("S2", s2NBMA, "10.0.2.12", "10.12.1.0/24", "192.0.4.1")
	w.Run(time.Second)
	return w, nodes
}

// Clouds of several hubs and borders between clouds: section 17 of the case list.
func TestCasesOfClouds(t *testing.T) {
	rows(t, []row{
		{"HU-04: hubs share nothing: one that does not know a client passes the request on once, or says 12", func(t *testing.T) {
			config := nhrptest.HubConfig()
			b := newBench(t, hubNBMA, config)
			b.from(s1NBMA, registration(s1Protocol, s1NBMA))
			r := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, s2Protocol))
			want(t, "alone", r.p.CIEs[0].Code, wire.CodeNoBinding)

			config.NHS = []engine.NHS{{NBMA: "192.0.2.2", Protocol: addr("10.0.0.2")}}
			b = newBench(t, hubNBMA, config)
			for _, x := range append(b.take(), b.take()...) {
				b.from("192.0.2.2", reply(x.p, wire.RegistrationReply, "10.0.0.2", "192.0.2.2"))
			}
			b.from(s1NBMA, registration(s1Protocol, s1NBMA))
			r = b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, s2Protocol))
			want(t, "to the other hub", r.to, "192.0.2.2")
			want(t, "as it came", r.p.RequestID == 7 && r.p.SourceProtocol == addr(s1Protocol), true)
			r = b.ask("192.0.2.2", resolution("10.0.0.13", "203.0.113.33", "10.0.0.14"))
			want(t, "of the other hub, not back to it", r.p.CIEs[0].Code, wire.CodeNoBinding)
		}},
		{"HU-06: a request goes from region to region, one shortcut comes of it", func(t *testing.T) {
			w, nodes := regions(t, false)
			s1, s2 := nodes["S1"], nodes["S2"]
			type seen struct {
				id      uint32
				records string
			}
			var atS2 []seen
			shortcuts := map[string]int{}
			w.Seen = func(from *nhrptest.Node, to engine.Endpoint, p *wire.Packet) {
				if p.Type == wire.ResolutionRequest && to.NBMA == s2.NBMA {
					list, err := p.Entries(p.Extension(wire.ExtensionForwardTransit))
					if err != nil {
						t.Error(err)
					}
					var hops []string
					for _, c := range list {
						hops = append(hops, c.Protocol.String())
					}
					atS2 = append(atS2, seen{p.RequestID, strings.Join(hops, " ")})
				}
				if p.Type == wire.ResolutionRequest && from.Config.Redirect {
					shortcuts[p.SourceProtocol.String()]++
				}
			}
			want(t, "at first", s1.Send("10.11.1.5", "10.12.1.5", 1400).String(), "S1 H1 H0 H2 S2")
			w.Run(time.Second)
			want(t, "requests at S2", len(atS2), 1)
			if len(atS2) == 1 {
				want(t, "records", atS2[0].records, "10.0.1.1 10.0.0.1 10.0.2.1")
			}
			want(t, "then", s1.Send("10.11.1.5", "10.12.1.5", 1400).String(), "S1 S2")
			want(t, "back", s2.Send("10.12.1.5", "10.11.1.5", 1400).Dropped, "")
			w.Run(time.Second)
			want(t, "back, later", s2.Send("10.12.1.5", "10.11.1.5", 1400).String(), "S2 S1")
			want(t, "shortcuts of S1", len(s1.Machine.Snapshot(w.Now).Shortcuts), 1)
			for _, h := range []string{"H0", "H1", "H2"} {
				want(t, "shortcuts of "+h, len(nodes[h].Machine.Snapshot(w.Now).Shortcuts), 0)
			}
		}},
		{"HU-06: on a protected tunnel the hub of its region says who a spoke is, for others than its own nobody believes it", func(t *testing.T) {
			w, nodes := regions(t, true)
			s1, h0 := nodes["S1"], nodes["H0"]
			s1.Send("10.11.1.5", "10.12.1.5", 1400)
			w.Run(time.Second)
			want(t, "by", s1.Bound[addr("10.0.2.12")], engine.Endpoint{NBMA: addr(s2NBMA), Identity: "S2"})
			want(t, "accepted", nodes["S2"].Accepted[engine.Endpoint{Identity: "S1"}], true)
			p := resolution("10.0.2.12", s2NBMA, "10.12.1.5") // of the other region
			data, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			before := h0.Machine.Snapshot(w.Now).Counters["dropped-stranger"]
			h0.Input(engine.Packet{From: engine.Endpoint{NBMA: nodes["H1"].NBMA, Identity: "H1"}, Data: data})
			want(t, "a stranger there", h0.Machine.Snapshot(w.Now).Counters["dropped-stranger"], before+1)
		}},
		{"RG-18: on a protected tunnel nobody registers by way of the hub of its region, whose own registration stands", func(t *testing.T) {
			for name, allowed := range map[string]map[string]engine.Allowance{
				"who comes first": nil,
				"a list":          {"H1": {Addresses: []netip.Prefix{prefix("10.0.1.1/32")}}, "H2": {}},
			} {
				w, nodes := regions(t, true)
				h0, h1 := nodes["H0"], nodes["H1"]
				if allowed != nil {
					h0.Allowed = func(identity string) (engine.Allowance, bool) { a, ok := allowed[identity]; return a, ok }
					h0.Start(h0.Kill())
					w.Run(time.Second)
				}
				was := h0.Bound[addr("10.0.1.1")]
				want(t, name+": H1 is registered", was.Identity, "H1")
				var code wire.Code
				w.Seen = func(from *nhrptest.Node, _ engine.Endpoint, p *wire.Packet) {
					if p.Type == wire.RegistrationReply && from == h1 {
						code = p.CIEs[0].Code
					}
				}
				for i, what := range []wire.CIE{{PrefixLength: wire.HostPrefix}, {PrefixLength: 32, Protocol: addr("10.0.1.1")}} {
					what.HoldingTime = 7200
					p := registration("10.0.1.13", s1NBMA, what)
					p.DestinationProtocol, p.RequestID = addr("10.0.0.1"), uint32(100+i)
					data, err := p.Marshal()
					if err != nil {
						t.Fatal(err)
					}
					code = wire.CodeSuccess
					h1.Input(engine.Packet{From: engine.Endpoint{NBMA: addr(s1NBMA), Identity: "S1"}, Data: data})
					w.Run(time.Second)
					want(t, fmt.Sprint(name, ": code ", i), code, wire.CodeAdministrativelyProhibited)
					want(t, fmt.Sprint(name, ": H1 at H0 ", i), h0.Bound[addr("10.0.1.1")], was)
					want(t, fmt.Sprint(name, ": in H1's name ", i), h0.Bound[addr("10.0.1.13")], engine.Endpoint{})
				}
			}
		}},
		{"SE-06: the address of the hub above is no client's: its region goes on to ask it", func(t *testing.T) {
			for _, protected := range []bool{false, true} {
				w, nodes := regions(t, protected)
				h1, s1 := nodes["H1"], nodes["S1"]
				evil := engine.Endpoint{NBMA: addr("203.0.113.33")}
				if protected {
					evil.Identity = "M"
				}
				var code wire.Code
				w.Seen = func(from *nhrptest.Node, _ engine.Endpoint, p *wire.Packet) {
					if p.Type == wire.RegistrationReply && from == h1 {
						code = p.CIEs[0].Code
					}
				}
				data, err := registration("10.0.0.1", "203.0.113.33").Marshal()
				if err != nil {
					t.Fatal(err)
				}
				h1.Input(engine.Packet{From: evil, Data: data})
				want(t, "code", code, wire.CodeAdministrativelyProhibited)
				h1.Kill()
				h1.Start(nil)
				h1.Input(engine.Packet{From: evil, Data: data})
				want(t, "before it is known whose it is", code, wire.CodeSuccess)
				w.Run(time.Second)
				for _, b := range h1.Machine.Snapshot(w.Now).Bindings {
					if b.Protocol == addr("10.0.0.1") {
						t.Errorf("%v has it still", b.To)
					}
				}
				w.Run(2 * time.Hour / 3) // S1 registers again
				s1.Send("10.11.1.5", "10.12.1.5", 1400)
				w.Run(time.Second)
				want(t, "then", s1.Send("10.11.1.5", "10.12.1.5", 1400).String(), "S1 S2")
			}
		}},
		{"HU-02: a hub that starts cold has all of its spokes back within a minute, and not all at once", func(t *testing.T) {
			const spokes = 60
			w := nhrptest.New(1)
			w.Silent = true
			hub := nhrptest.HubConfig()
			hub.Probe = 200 * time.Millisecond
			h := w.Add("H", hubNBMA, hub)
			for i := range spokes {
				c := nhrptest.SpokeConfig(fmt.Sprintf("10.0.0.%d/24", 11+i), fmt.Sprintf("10.10.%d.0/24", 11+i))
				c.Probe, c.ProbeIdle = 200*time.Millisecond, 10*time.Second
				w.Add(fmt.Sprint("S", i), fmt.Sprintf("198.51.100.%d", 11+i), c)
			}
			w.Run(20 * time.Second)
			want(t, "bound", len(h.Bound), spokes)
			h.Kill()
			w.Run(10 * time.Minute)
			h.Start(nil)
			began, most, in := w.Now, 0, map[time.Duration]int{}
			w.Seen = func(from *nhrptest.Node, _ engine.Endpoint, p *wire.Packet) {
				if p.Type == wire.RegistrationRequest && len(p.CIEs) == 1 && !p.CIEs[0].Protocol.IsValid() {
					second := w.Now.Sub(began) / time.Second
					in[second]++
					most = max(most, in[second])
				}
			}
			want(t, "all are back", w.RunUntil(65*time.Second, func() bool { return len(h.Bound) == spokes }), true)
			if most > spokes/5 {
				t.Errorf("%d of %d in one second", most, spokes)
			}
		}},
		{"HU-08: at a border to another cloud we answer ourselves, and tell who was answered when it is none any more", func(t *testing.T) {
			b := hub(t)
			kernel := b.n.Kernel
			b.n.SetKernel(append(kernel[:len(kernel):len(kernel)], nhrptest.Route{Prefix: prefix("10.60.0.0/16"), NextHop: addr("10.1.0.12")})) // by another tunnel
			r := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.60.1.5"))
			want(t, "next hop", r.p.CIEs[0].Protocol, addr(hubProtocol))
			want(t, "of the host alone", r.p.CIEs[0].Prefix(addr("10.60.1.5")), prefix("10.60.1.5/32"))
			want(t, "not stable", r.p.Flags&wire.FlagDestinationStable != 0, false)
			// The back door: it is reached by this cloud now.
			b.n.SetKernel(append(kernel[:len(kernel):len(kernel)], nhrptest.Route{Prefix: prefix("10.60.0.0/16"), NextHop: addr(s2Protocol), Tunnel: true}))
			purge := b.one()
			want(t, "purge", purge.p.Type == wire.PurgeRequest && purge.to == s1NBMA, true)
			want(t, "asked again", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.60.1.5")).to, s2NBMA)
		}},
		{"HU-09: a spoke that moved while one hub was away: each has the newer one in the end, and the old one ends", func(t *testing.T) {
			second := engine.NHS{NBMA: "192.0.2.2", Protocol: addr("10.0.0.2"), Priority: 1}
			c := nhrptest.NewCloud(3, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) {
				s1.HoldingTime, s1.NHS = 2*time.Minute, append(s1.NHS, second)
			})
			other := nhrptest.HubConfig()
			other.Address = prefix("10.0.0.2/24")
			h2 := c.Add("H2", "192.0.2.2", other)
			c.Run(2 * time.Second)
			at := func(h *nhrptest.Node) netip.Addr { return h.Bound[addr(s1Protocol)].NBMA }
			c.Cut = func(a, b netip.Addr) bool { return a == h2.NBMA || b == h2.NBMA }
			c.Run(2 * time.Second)
			c.S1.Move("198.51.100.99")
			c.Run(2 * time.Second)
			want(t, "H follows", at(c.H), addr("198.51.100.99"))
			want(t, "H2 does not know", at(h2), addr(s1NBMA))
			c.Run(2 * time.Minute)
			want(t, "it has expired", at(h2).IsValid(), false)
			c.Cut = func(a, b netip.Addr) bool { return false }
			c.Run(65 * time.Second)
			want(t, "H", at(c.H), addr("198.51.100.99"))
			want(t, "H2", at(h2), addr("198.51.100.99"))
		}},
	})
}
