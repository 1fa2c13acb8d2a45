// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"strings"
	"testing"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// TestCasesOfOverlap: no member takes a part of another's networks, or of the hub's, unless
// the operator says whose it is.
func TestCasesOfOverlap(t *testing.T) {
	const taken, prohibited = wire.CodeSuccess, wire.CodeAdministrativelyProhibited
	protocols := map[string]string{"s3": "10.0.0.13", "s4": "10.0.0.14", "s3b": "10.0.0.15"}
	nbma := map[string]string{"s3": "203.0.113.33", "s4": "203.0.113.44", "s3b": "203.0.113.55"}
	id := uint32(100)
	// serves registers networks of a site, one request for each.
	serves := func(t *testing.T, b *bench, site, identity string, want wire.Code, networks ...string) {
		t.Helper()
		for _, n := range networks {
			id++
			p := registration(protocols[site], nbma[site], network(n))
			p.RequestID = id
			if got := b.as(identity, nbma[site], p); len(got) != 1 || got[0] != want {
				t.Errorf("%s of %s: %v, want %v", n, identity, got, want)
			}
			hop := b.n.Installed[prefix(n)]
			if there := hop == addr(protocols[site]); there != (want == taken) {
				t.Errorf("%s of %s: its route leads to %v", n, identity, hop)
			}
		}
	}
	member := func(t *testing.T, b *bench, site, identity string) {
		t.Helper()
		id++
		p := registration(protocols[site], nbma[site])
		p.RequestID = id
		if got := b.as(identity, nbma[site], p); got[0] != taken {
			t.Fatalf("%s: %v", identity, got)
		}
	}
	both := func(t *testing.T, b *bench) *bench {
		t.Helper()
		member(t, b, "s3", "s3")
		member(t, b, "s4", "s4")
		return b
	}
	networks := func(list ...string) engine.Allowance {
		var a engine.Allowance
		for _, n := range list {
			a.Networks = append(a.Networks, prefix(n))
		}
		return a
	}
	rows(t, []row{
		{"RG-18: a part of what is on a link of the hub's, or is routed to another client, is refused; the client itself, and whom the operator lists, may", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Networks = nil })
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.30.0.0/24")}, nhrptest.Route{Prefix: prefix("0.0.0.0/0"), NextHop: addr("192.0.2.254")},
				nhrptest.Route{Prefix: prefix("10.20.3.0/24"), NextHop: addr(protocols["s3"]), Tunnel: true}))
			both(t, b)
			serves(t, b, "s4", "s4", prohibited, "10.30.0.0/24", "10.30.0.128/25", "10.30.0.9/32", "10.20.3.0/24", "10.20.3.128/25")
			serves(t, b, "s4", "s4", taken, "10.31.0.0/24", "10.31.0.0/25")
			serves(t, b, "s3", "s3", taken, "10.20.3.0/24", "10.20.3.128/25")
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.31.0.0/24"), NextHop: addr(protocols["s3"]), Tunnel: true}))
			serves(t, b, "s4", "s4", taken, "10.31.0.0/24") // who was first
			list(b, map[string]engine.Allowance{"s3": {}, "s4": networks("10.30.0.128/25", "10.20.0.0/16")})
			member(t, b, "s4", "s4")
			serves(t, b, "s4", "s4", taken, "10.30.0.128/25", "10.20.4.0/24")
		}},
		{"RG-18: a part of another's network, and what is around it, is refused", func(t *testing.T) {
			b := both(t, hub(t))
			serves(t, b, "s3", "s3", taken, "10.20.3.0/24")
			serves(t, b, "s4", "s4", prohibited, "10.20.3.128/25", "10.20.3.7/32", "10.20.0.0/16", "10.20.3.0/24", "10.20.3.128/25")
			serves(t, b, "s4", "s4", taken, "10.20.4.0/24", "8.0.0.0/8")
			want(t, "counted", b.counted("unauthorized"), uint64(5))
			reports := 0
			for _, r := range b.n.Reports {
				if strings.Contains(r, "10.20.3.128/25") && strings.Contains(r, "held by s3") {
					reports++
				}
			}
			if !strings.HasSuffix(t.Name(), exported) {
				want(t, "reported", reports, 1)
			}
		}},
		{"RG-18: what overlaps the hub's networks or the overlay is refused", func(t *testing.T) {
			b := both(t, hub(t))
			serves(t, b, "s4", "s4", prohibited, "10.10.0.0/24", "10.10.0.128/25", "10.10.0.0/16", "10.0.0.0/24", "10.0.0.0/16", "10.0.0.200/32", "10.0.0.13/32")
			want(t, "counted", b.counted("unauthorized"), uint64(7))
		}},
		{"the default route is wider than any site's", func(t *testing.T) {
			b := both(t, hub(t, func(c *engine.Config) { c.Networks = nil }))
			serves(t, b, "s4", "s4", prohibited, "128.0.0.0/1")
			list(b, map[string]engine.Allowance{"s4": networks("0.0.0.0/0")})
			serves(t, b, "s4", "s4", prohibited, "128.0.0.0/1")
		}},
		{"a network is free again when its holder's registration has ended", func(t *testing.T) {
			b := both(t, hub(t))
			serves(t, b, "s3", "s3", taken, "10.20.3.0/24")
			p := purgeOf(protocols["s3"], nbma["s3"], hubProtocol, "10.20.3.0/24")
			b.identified(engine.Endpoint{NBMA: addr(nbma["s3"]), Identity: "s3"}, p)
			serves(t, b, "s4", "s4", taken, "10.20.3.128/25")
		}},
		{"one identity's own networks may lie in each other, at two addresses too", func(t *testing.T) {
			b := hub(t)
			list(b, map[string]engine.Allowance{"s3": {Addresses: []netip.Prefix{prefix("10.0.0.13/32"), prefix("10.0.0.15/32")}}})
			member(t, b, "s3", "s3")
			member(t, b, "s3b", "s3")
			serves(t, b, "s3", "s3", taken, "10.20.0.0/16", "10.20.3.0/24")
			serves(t, b, "s3b", "s3", taken, "10.20.3.128/25")
		}},
		{"of two listed networks the narrower one's is who may have it", func(t *testing.T) {
			for _, first := range []string{"s3", "s4"} {
				b := hub(t)
				list(b, map[string]engine.Allowance{"s3": networks("10.20.0.0/16"), "s4": networks("10.20.4.0/24")})
				both(t, b)
				if first == "s3" {
					serves(t, b, "s3", "s3", taken, "10.20.0.0/16")
				}
				serves(t, b, "s4", "s4", taken, "10.20.4.0/24")
				serves(t, b, "s3", "s3", taken, "10.20.0.0/16", "10.20.5.0/24")
				serves(t, b, "s3", "s3", prohibited, "10.20.4.128/25", "10.20.4.0/24")
			}
		}},
		{"who is listed more narrowly gets what the other took before", func(t *testing.T) {
			b := hub(t)
			list(b, map[string]engine.Allowance{"s3": networks("10.20.0.0/16"), "s4": networks("10.20.4.0/24")})
			both(t, b)
			serves(t, b, "s3", "s3", taken, "10.20.4.0/24")
			serves(t, b, "s4", "s4", taken, "10.20.4.0/24")
			serves(t, b, "s3", "s3", prohibited, "10.20.4.0/24")
			want(t, "whose", b.n.Installed[prefix("10.20.4.0/24")], addr("10.0.0.14"))
		}},
		{"in a network that is listed for both who came first has it", func(t *testing.T) {
			b := hub(t)
			list(b, map[string]engine.Allowance{"s3": networks("10.20.0.0/16"), "s4": networks("10.20.0.0/16")})
			both(t, b)
			serves(t, b, "s3", "s3", taken, "10.20.3.0/24")
			serves(t, b, "s4", "s4", prohibited, "10.20.3.128/25", "10.20.0.0/16")
			serves(t, b, "s4", "s4", taken, "10.20.4.0/24")
		}},
		{"who is listed without networks takes none of who is listed with them", func(t *testing.T) {
			b := hub(t)
			list(b, map[string]engine.Allowance{"s3": networks("10.20.3.0/24"), "s4": {}})
			both(t, b)
			serves(t, b, "s4", "s4", taken, "10.20.3.128/25")
			serves(t, b, "s3", "s3", taken, "10.20.3.0/24", "10.20.3.128/25")
			serves(t, b, "s4", "s4", prohibited, "10.20.3.192/26", "10.20.0.0/16")
		}},
		{"a listed network may be around one of the hub's", func(t *testing.T) {
			b := hub(t)
			list(b, map[string]engine.Allowance{"s4": networks("10.10.0.0/16")})
			member(t, b, "s4", "s4")
			serves(t, b, "s4", "s4", taken, "10.10.0.0/16")
			serves(t, b, "s4", "s4", prohibited, "10.10.0.128/25", "10.10.0.0/24")
		}},
		{"on a plain tunnel parts are taken as before", func(t *testing.T) {
			b := hub(t)
			for i, n := range []string{"10.20.3.0/24", "10.20.3.128/25"} {
				p := registration([]string{s1Protocol, s2Protocol}[i], []string{s1NBMA, s2NBMA}[i], network(n))
				want(t, n, b.ask([]string{s1NBMA, s2NBMA}[i], p).p.CIEs[0].Code, taken)
			}
		}},
	})
}
