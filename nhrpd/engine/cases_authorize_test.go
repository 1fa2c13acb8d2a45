// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// as registers with a hub over IPsec, and gives the code of each entry.
func (b *bench) as(identity, nbma string, p *wire.Packet) (codes []wire.Code) {
	b.t.Helper()
	data, err := p.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	b.take()
	b.n.Input(engine.Packet{From: engine.Endpoint{NBMA: addr(nbma), Identity: identity}, Data: data})
	for _, c := range b.one().p.CIEs {
		codes = append(codes, c.Code)
	}
	return codes
}

// list lets identities register what the list says.
func list(b *bench, allowed map[string]engine.Allowance) {
	b.n.Allowed = func(identity string) (engine.Allowance, bool) {
		a, ok := allowed[identity]
		return a, ok
	}
	b.n.Start(b.n.Kill())
	b.take()
}

// TestCasesOfAuthorization: who may register what, on a tunnel whose peers are
// authenticated.
func TestCasesOfAuthorization(t *testing.T) {
	const (
		s3Protocol, s3NBMA = "10.0.0.13", "203.0.113.33"
		taken              = wire.CodeSuccess
		prohibited         = wire.CodeAdministrativelyProhibited
	)
	codes := func(t *testing.T, what string, got []wire.Code, want ...wire.Code) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: entry %d: %v, want %v", what, i, got[i], want[i])
			}
		}
	}
	renewed := func(id uint32, p *wire.Packet) *wire.Packet { p.RequestID = id; return p }
	rows(t, []row{
		{"an address is held by the identity that came first", func(t *testing.T) {
			b := hub(t)
			codes(t, "s3", b.as("s3", s3NBMA, registration(s3Protocol, s3NBMA)), taken)
			codes(t, "another", b.as("s4", "203.0.113.44", renewed(8, registration(s3Protocol, "203.0.113.44"))), prohibited)
			codes(t, "another, from behind the same NAT", b.as("s4", s3NBMA, renewed(9, registration(s3Protocol, s3NBMA))), prohibited)
			want(t, "where", b.n.Bound[addr(s3Protocol)].NBMA, addr(s3NBMA))
			want(t, "counted", b.counted("unauthorized"), uint64(2))
			codes(t, "s3, moved", b.as("s3", "203.0.113.55", renewed(10, registration(s3Protocol, "203.0.113.55"))), taken)
			want(t, "where", b.n.Bound[addr(s3Protocol)].NBMA, addr("203.0.113.55"))
		}},
		{"an identity has one address, and gives it up for another", func(t *testing.T) {
			b := hub(t)
			codes(t, "first", b.as("s3", s3NBMA, registration(s3Protocol, s3NBMA)), taken)
			codes(t, "its network", b.as("s3", s3NBMA, renewed(8, registration(s3Protocol, s3NBMA, network("10.20.3.0/24")))), taken)
			codes(t, "second", b.as("s3", s3NBMA, renewed(9, registration("10.0.0.14", s3NBMA))), taken)
			want(t, "the first", b.n.Bound[addr(s3Protocol)].NBMA.IsValid(), false)
			want(t, "its network", b.n.Installed[prefix("10.20.3.0/24")].IsValid(), false)
			want(t, "the second", b.n.Bound[addr("10.0.0.14")].NBMA, addr(s3NBMA))
			codes(t, "the first is free again", b.as("s4", "203.0.113.44", renewed(8, registration(s3Protocol, "203.0.113.44"))), taken)
		}},
		{"where peers are authenticated, NHRP from nobody in particular is dropped", func(t *testing.T) {
			b := newBench(t, hubNBMA, nhrptest.HubConfig())
			b.n.Config.Authenticated = true
			b.n.Start(nil)
			codes(t, "s3", b.as("s3", s3NBMA, registration(s3Protocol, s3NBMA)), taken)
			b.take()
			for _, p := range []*wire.Packet{
				renewed(8, registration("10.0.0.14", s3NBMA)), renewed(9, registration(s3Protocol, s3NBMA)),
				purgeOf(s3Protocol, s3NBMA, hubProtocol, s3Protocol+"/32"), resolution(s3Protocol, s3NBMA, "10.10.0.5"),
			} {
				b.from(s3NBMA, p)
			}
			b.silent()
			want(t, "counted", b.counted("dropped-no-identity"), uint64(4))
			want(t, "bindings", len(b.snapshot().Bindings), 1)
		}},
		{"a list names who may register which addresses and networks", func(t *testing.T) {
			b := hub(t)
			list(b, map[string]engine.Allowance{
				"s3": {Addresses: []netip.Prefix{prefix("10.0.0.13/32")}, Networks: []netip.Prefix{prefix("10.20.0.0/16")}},
				"s4": {},
				"s6": {Addresses: []netip.Prefix{}, Networks: []netip.Prefix{}},
			})
			codes(t, "s3, its own", b.as("s3", s3NBMA, registration(s3Protocol, s3NBMA)), taken)
			codes(t, "s3, another address", b.as("s3", s3NBMA, renewed(8, registration("10.0.0.15", s3NBMA))), prohibited)
			codes(t, "s3, networks in and out of it", b.as("s3", s3NBMA, renewed(9, registration(s3Protocol, s3NBMA,
				network("10.20.3.0/24"), network("10.30.3.0/24"), network("10.16.0.0/12")))), taken, prohibited, prohibited)
			want(t, "route", b.n.Installed[prefix("10.20.3.0/24")], addr(s3Protocol))
			want(t, "no route", b.n.Installed[prefix("10.30.3.0/24")].IsValid(), false)
			codes(t, "s4, whichever is free", b.as("s4", "203.0.113.44", registration("10.0.0.14", "203.0.113.44")), taken)
			codes(t, "s6, listed with nothing", b.as("s6", "203.0.113.66", registration("10.0.0.16", "203.0.113.66")), prohibited)
			codes(t, "s5, not listed", b.as("s5", "203.0.113.56", registration("10.0.0.15", "203.0.113.56")), prohibited)
		}},
		{"an identity with several addresses in the list has them all", func(t *testing.T) {
			b := hub(t)
			list(b, map[string]engine.Allowance{"site": {Addresses: []netip.Prefix{prefix("10.0.0.12/31"), prefix("10.0.0.14/32")}}})
			codes(t, "one", b.as("site", s3NBMA, registration(s3Protocol, s3NBMA)), taken)
			codes(t, "two", b.as("site", "203.0.113.44", registration("10.0.0.14", "203.0.113.44")), taken)
			want(t, "one", b.n.Bound[addr(s3Protocol)].NBMA, addr(s3NBMA))
			want(t, "two", b.n.Bound[addr("10.0.0.14")].NBMA, addr("203.0.113.44"))
		}},
		{"what is tried again and again is reported once", func(t *testing.T) {
			b := hub(t)
			codes(t, "s3", b.as("s3", s3NBMA, registration(s3Protocol, s3NBMA)), taken)
			for i := range 20 {
				codes(t, "another", b.as("s4", "203.0.113.44", renewed(uint32(20+i), registration(s3Protocol, "203.0.113.44"))), prohibited)
			}
			want(t, "counted", b.counted("unauthorized"), uint64(20))
			reports := 0
			for _, r := range b.n.Reports {
				if strings.Contains(r, "held by s3") {
					reports++
				}
			}
			if !strings.HasSuffix(t.Name(), exported) {
				want(t, "reported", reports, 1)
			}
		}},
		{"an identity takes its address back when the other's registration has ended", func(t *testing.T) {
			b := hub(t)
			codes(t, "s3", b.as("s3", s3NBMA, registration(s3Protocol, s3NBMA, wire.CIE{HoldingTime: 60})), taken)
			b.run(61 * time.Second)
			codes(t, "another", b.as("s4", "203.0.113.44", renewed(8, registration(s3Protocol, "203.0.113.44"))), taken)
		}},
	})
}
