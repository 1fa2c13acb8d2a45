// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Resolution Reply: section 4 of the case list.
func TestCasesOfResolutionReply(t *testing.T) {
	rows(t, []row{
		{"RP-02, RC-01: who owns the destination answers, with authority, and says who it is", func(t *testing.T) {
			r := hub(t).ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			want(t, "to", r.to, s1NBMA)
			want(t, "A", r.p.Flags&wire.FlagAuthoritative != 0, true)
			c := r.p.CIEs[0]
			want(t, "one entry", len(r.p.CIEs), 1)
			want(t, "entry", c.Code == 0 && c.NBMA == addr(hubNBMA) && c.Protocol == addr(hubProtocol) && c.HoldingTime == 7200, true)
			responder, _ := r.p.Entries(r.p.Extension(wire.ExtensionResponderAddress))
			want(t, "responder", len(responder) == 1 && responder[0].Protocol == addr(hubProtocol) && responder[0].NBMA == addr(hubNBMA), true)
		}},
		{"RP-03: D for what is on a link of ours, not beyond a further router", func(t *testing.T) {
			b := hub(t)
			beyond := nhrptest.Route{Prefix: prefix("10.20.1.0/24"), NextHop: addr("10.10.0.254")}
			b.n.SetKernel(append(b.n.Kernel, beyond))
			for destination, stable := range map[string]bool{"10.10.0.5": true, hubProtocol: true, "10.20.1.5": false} {
				p := resolution(s1Protocol, s1NBMA, destination)
				p.Flags |= wire.FlagDestinationStable // in a request it means nothing
				want(t, destination, b.ask(s1NBMA, p).p.Flags&wire.FlagDestinationStable != 0, stable)
			}
		}},
		{"RP-09: a prefix for what is on a link of ours, or the operator says is this site's; beyond a further router the host", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) {
				c.Networks = append(c.Networks, prefix("10.20.1.0/24"), prefix("10.20.2.0/25"), prefix("10.20.4.0/22"))
			})
			gateway := addr("10.10.0.254")
			for _, p := range []string{"10.20.1.0/24", "10.20.2.0/24", "10.20.3.0/24", "10.20.5.0/24", "198.18.0.0/15"} {
				b.n.Kernel = append(b.n.Kernel, nhrptest.Route{Prefix: prefix(p), NextHop: gateway})
			}
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.30.0.0/16")}))
			for destination, answer := range map[string]string{
				"10.30.7.5":   "10.30.0.0/16",  // attached
				"10.20.3.5":   "10.20.3.5/32",  // beyond
				"198.18.1.1":  "198.18.1.1/32", // beyond
				"10.20.1.5":   "10.20.1.0/24",  // beyond, configured
				"10.20.2.5":   "10.20.2.0/25",  // configured is a part of the route
				"10.20.2.200": "10.20.2.200/32",
				"10.20.5.5":   "10.20.5.0/24", // the route is a part of what is configured
			} {
				r := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, destination))
				want(t, destination, r.p.CIEs[0].Prefix(addr(destination)), prefix(answer))
			}
		}},
		{"RP-09, PU-12: who was told a prefix hears of it when a further router comes between", func(t *testing.T) {
			b := hub(t)
			lan := nhrptest.Route{Prefix: prefix("10.30.1.0/24")}
			b.n.SetKernel(append(b.n.Kernel, lan))
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.30.1.5"))
			lan.NextHop = addr("10.10.0.254")
			b.n.SetKernel(append(b.n.Kernel[:len(b.n.Kernel)-1:len(b.n.Kernel)-1], lan))
			purge := b.one()
			want(t, "purge to", purge.to, s1NBMA)
			want(t, "of", purge.p.CIEs[0].Prefix(purge.p.CIEs[0].Protocol), prefix("10.30.1.0/24"))
		}},
		{"RP-05: no match is one entry of code 12 with nothing else in it", func(t *testing.T) {
			r := hub(t).ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.77.0.1"))
			want(t, "to", r.to, s1NBMA)
			if len(r.p.CIEs) != 1 {
				t.Fatalf("%v", r.p)
			}
			c := r.p.CIEs[0]
			want(t, "code", c.Code, wire.CodeNoBinding)
			want(t, "the rest", c.NBMA.IsValid() || c.Protocol.IsValid() || c.HoldingTime != 0 || c.PrefixLength != 0 || c.MTU != 0, false)
		}},
		{"RP-05, CM-06: of a refusal nothing but the code counts", func(t *testing.T) {
			b := spoke(t)
			nak := owner(24, s2Protocol, s2NBMA)
			nak.Code = wire.CodeNoBinding
			b.answered(b.resolve("10.10.2.5"), nak, owner(24, s2Protocol, s2NBMA))
			want(t, "shortcuts", len(b.snapshot().Shortcuts), 0)
			want(t, "negative entries", len(b.snapshot().Negatives), 1)
		}},
		{"RP-06, RC-05: no room to remember whom to purge is code 5", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Limits.Cached = 1 })
			want(t, "first", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5")).p.CIEs[0].Code, wire.CodeSuccess)
			want(t, "second", b.ask(s2NBMA, resolution(s2Protocol, s2NBMA, "10.10.0.5")).p.CIEs[0].Code, wire.CodeInsufficientResources)
			want(t, "first again", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5")).p.CIEs[0].Code, wire.CodeSuccess)
		}},
		{"RP-07: a shortcut ends with the holding time that was left", func(t *testing.T) {
			b := spoke(t)
			c := owner(24, s2Protocol, s2NBMA)
			c.HoldingTime = 30
			b.answered(b.resolve("10.10.2.5"), c)
			b.run(29 * time.Second)
			want(t, "after 29 s", b.n.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
			b.run(2 * time.Second)
			want(t, "after 31 s", b.n.Installed[prefix("10.10.2.0/24")].IsValid(), false)
		}},
		{"RP-08: the prefix has no more specific route inside", func(t *testing.T) {
			b := hub(t)
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.0.128/25")}))
			r := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			want(t, "prefix", r.p.CIEs[0].Prefix(addr("10.10.0.5")), prefix("10.10.0.0/25"))
		}},
		{"RP-10: the entry counts, not who sends it: S1 takes H's proxy answer, and S2's own", func(t *testing.T) {
			for _, from := range []string{hubNBMA, s2NBMA} {
				b := spoke(t)
				p := reply(b.resolve("10.10.2.5"), wire.ResolutionReply, hubProtocol, hubNBMA, owner(24, s2Protocol, s2NBMA))
				b.from(from, p)
				want(t, "route", b.n.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
				want(t, "peer", b.n.Bound[addr(s2Protocol)].NBMA, addr(s2NBMA))
			}
		}},
		{"RP-11, CM-02: a reply to nothing earns error 10, a late copy silence", func(t *testing.T) {
			b := spoke(t)
			request := b.resolve("10.10.2.5")
			for name, spoil := range map[string]func(p *wire.Packet){
				"id":          func(p *wire.Packet) { p.RequestID++ },
				"NBMA":        func(p *wire.Packet) { p.SourceNBMA = addr("198.51.100.12") },
				"destination": func(p *wire.Packet) { p.DestinationProtocol = addr("10.10.2.6") },
			} {
				p := reply(request, wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA))
				spoil(p)
				r := b.ask(hubNBMA, p)
				want(t, name+": to", r.to, hubNBMA)
				want(t, name+": error", r.p.ErrorCode, wire.ErrorInvalidResolutionReply)
				want(t, name+": addressee", r.p.DestinationProtocol, addr(s2Protocol))
				want(t, name+": shortcuts", len(b.snapshot().Shortcuts), 0)
				b.run(2 * time.Second)
			}
			b.take()
			b.answered(request, owner(24, s2Protocol, s2NBMA))
			want(t, "shortcuts", len(b.snapshot().Shortcuts), 1)
			b.answered(request, owner(24, s2Protocol, s2NBMA))
			b.silent()
		}},
		{"RP-12: a reply in transit goes to the client's endpoint, whatever the routes say", func(t *testing.T) {
			b := hub(t)
			request := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5"))
			want(t, "request to", request.to, s2NBMA)
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.0.0.11/32"), NextHop: addr(s2Protocol), Tunnel: true}))
			b.take()
			r := b.ask(s2NBMA, reply(request.p, wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA)))
			want(t, "reply to", r.to, s1NBMA)
		}},
		{"RP-13: every refusal ends the wait; the next try comes after its pause", func(t *testing.T) {
			for code, pause := range map[wire.Code]time.Duration{
				wire.CodeNoBinding: time.Minute, wire.CodeNotUnique: time.Minute,
				wire.CodeAdministrativelyProhibited: 5 * time.Minute, wire.CodeInsufficientResources: 15 * time.Second,
			} {
				b := spoke(t)
				b.answered(b.resolve("10.10.2.5"), wire.CIE{Code: code})
				for _, x := range b.take() { // it asks whether the NHS still knows it
					want(t, "registers again", x.p.Type, wire.RegistrationRequest)
					b.registered(x.p)
				}
				b.take()
				b.run(pause - time.Second)
				b.take()
				b.indicate("10.10.2.5")
				b.silent()
				b.run(2 * time.Second)
				b.resolve("10.10.2.5")
				want(t, "by the hub", b.n.Installed[prefix("10.10.0.0/16")], addr(hubProtocol))
			}
		}},
		{"RP-14, SE-06: what cannot be a next hop is none", func(t *testing.T) {
			for name, c := range map[string]wire.CIE{
				"ourselves":          owner(24, s1Protocol, s2NBMA),
				"our own NBMA":       owner(24, s2Protocol, s1NBMA),
				"holding time 0":     {Protocol: addr(s2Protocol), NBMA: addr(s2NBMA), PrefixLength: 24},
				"no NBMA":            {Protocol: addr(s2Protocol), PrefixLength: 24, HoldingTime: 60},
				"outside the cloud":  owner(24, "10.99.0.1", s2NBMA),
				"the network":        owner(24, "10.0.0.0", s2NBMA),
				"the broadcast":      owner(24, "10.0.0.255", s2NBMA),
				"loopback":           owner(24, s2Protocol, "127.0.0.1"),
				"unspecified":        owner(24, s2Protocol, "0.0.0.0"),
				"multicast":          owner(24, s2Protocol, "224.0.0.5"),
				"an overlay address": owner(24, s2Protocol, "10.0.0.12"),
			} {
				b := spoke(t)
				b.answered(b.resolve("10.10.2.5"), c)
				want(t, name+": shortcuts", len(b.snapshot().Shortcuts), 0)
				want(t, name+": negative", len(b.snapshot().Negatives), 1)
				want(t, name+": bound", len(b.n.Bound), 1)
			}
		}},
		{"RP-15, SC-07, SC-08: of a prefix that cannot be one site's, only the host is taken", func(t *testing.T) {
			for asked, x := range map[string]struct {
				destination string
				bits        uint8
			}{
				"more than a site":       {"10.10.2.5", 7},
				"our own network":        {"10.10.1.200", 16},
				"the overlay":            {"10.0.1.5", 22},
				"the peer's NBMA":        {"203.0.113.5", 24},
				"the hub's NBMA":         {"192.0.2.77", 24},
				"our NBMA":               {"198.51.100.99", 24},
				"the next hop's address": {"10.0.0.13", 16},
			} {
				b := spoke(t, func(c *engine.Config) {
					c.Networks = append(c.Networks[:0:0], prefix("10.10.1.0/25"))
					c.NHS[0].Routes = append(c.NHS[0].Routes, prefix("0.0.0.0/0"))
				})
				b.n.SetKernel([]nhrptest.Route{{Prefix: prefix("10.0.0.0/24"), Tunnel: true}, {Prefix: prefix("10.10.1.0/25")}})
				b.take()
				b.answered(b.resolve(x.destination), owner(x.bits, s2Protocol, s2NBMA))
				s := b.snapshot().Shortcuts
				if len(s) != 1 || s[0].Prefix != prefix(x.destination+"/32") {
					t.Errorf("%s: %v", asked, s)
				}
			}
		}},
		{"SC-05: the path of a shortcut is lost: the next entry of its answer, then the hub", func(t *testing.T) {
			b := spoke(t, probing)
			lost := map[string]bool{}
			b.n.Secured = func(e engine.Endpoint) bool { return !lost[e.NBMA.String()] }
			b.n.Start(b.n.Kill())
			first, second, third := owner(24, s2Protocol, s2NBMA), owner(24, "10.0.0.13", "203.0.113.33"), owner(24, "10.0.0.14", "203.0.113.44")
			first.Preference, second.Preference = 200, 100
			third.PrefixLength = 32 // not what the others stand for
			b.answered(b.resolve("10.10.2.5"), third, second, first)
			lan := func(when, hop string) {
				t.Helper()
				got := b.n.Installed[prefix("10.10.2.0/24")]
				want(t, when, got.IsValid(), hop != "")
				if got.IsValid() {
					want(t, when, got, addr(hop))
				}
			}
			lan("the best", s2Protocol)
			lost[s2NBMA] = true
			b.n.Input(engine.Unsecured{To: engine.Endpoint{NBMA: addr(s2NBMA)}})
			lan("its SA is lost", "10.0.0.13")
			want(t, "the first is unbound", b.n.Bound[addr(s2Protocol)].NBMA.IsValid(), false)
			b.from(hubNBMA, purgeOf("10.0.0.13", "203.0.113.33", s1Protocol, "10.10.2.0/24"))
			lan("the last is purged", "")
		}},
		{"SC-05: an entry that is purged before it is needed is not taken", func(t *testing.T) {
			b := spoke(t)
			b.n.Secured = func(e engine.Endpoint) bool { return e.NBMA != addr(s2NBMA) }
			b.n.Start(b.n.Kill())
			best := owner(24, s2Protocol, s2NBMA)
			best.Preference = 200
			b.answered(b.resolve("10.10.2.5"), best, owner(24, "10.0.0.13", "203.0.113.33"))
			b.from(hubNBMA, purgeOf("10.0.0.13", "203.0.113.33", s1Protocol, "10.10.2.0/24"))
			b.n.Input(engine.Unsecured{To: engine.Endpoint{NBMA: addr(s2NBMA)}})
			want(t, "next hop", b.n.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
		}},
		{"SC-05, SE-02: whom a peer names beside itself is not believed, whom a server names is", func(t *testing.T) {
			for from, others := range map[string]string{s2NBMA: s2Protocol, hubNBMA: "10.0.0.13"} {
				b := spoke(t)
				b.n.Secured = func(e engine.Endpoint) bool { return e.NBMA != addr(s2NBMA) }
				b.n.Start(b.n.Kill())
				best := owner(24, s2Protocol, s2NBMA)
				best.Preference = 200
				b.from(from, reply(b.resolve("10.10.2.5"), wire.ResolutionReply, s2Protocol, s2NBMA, best, owner(24, "10.0.0.13", "203.0.113.33")))
				b.n.Input(engine.Unsecured{To: engine.Endpoint{NBMA: addr(s2NBMA)}})
				want(t, from, b.n.Installed[prefix("10.10.2.0/24")], addr(others))
			}
		}},
		{"CM-05: the host bits of a prefix do not matter", func(t *testing.T) {
			b := spoke(t)
			b.answered(b.resolve("10.10.2.77"), owner(24, s2Protocol, s2NBMA))
			want(t, "prefix", b.n.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
		}},
		{"CM-08: the best preference, the first of equal ones; an MTU bounds, nonsense does not", func(t *testing.T) {
			b := spoke(t)
			low, high, equal := owner(24, "10.0.0.13", "203.0.113.33"), owner(24, s2Protocol, s2NBMA), owner(24, "10.0.0.14", "203.0.113.44")
			low.Preference, high.Preference, equal.Preference = 10, 200, 200
			high.MTU = 1300
			b.answered(b.resolve("10.10.2.5"), low, high, equal)
			want(t, "next hop", b.n.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
			want(t, "MTU", b.n.MTU[addr(s2Protocol)], uint16(1300))
			b = spoke(t)
			high.MTU = 40
			b.answered(b.resolve("10.10.2.5"), high)
			want(t, "MTU", b.n.MTU[addr(s2Protocol)], uint16(0))
		}},
	})
}
