// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// TestCasesOfRevocation: what an operator takes away ends with the next renewal, or with a
// restart.
func TestCasesOfRevocation(t *testing.T) {
	const (
		s3Protocol, s3NBMA = "10.0.0.13", "203.0.113.33"
		s4Protocol, s4NBMA = "10.0.0.14", "203.0.113.44"
		taken              = wire.CodeSuccess
		prohibited         = wire.CodeAdministrativelyProhibited
	)
	id := uint32(100)
	// register registers what belongs to a client, its own address where there are no entries.
	register := func(t *testing.T, b *bench, identity, protocol, nbma string, networks ...string) []wire.Code {
		t.Helper()
		id++
		var entries []wire.CIE
		for _, n := range networks {
			entries = append(entries, network(n))
		}
		p := registration(protocol, nbma, entries...)
		p.RequestID = id
		return b.as(identity, nbma, p)
	}
	// with is a hub where S3 and S4 are registered, each with its network, by a list that can
	// be changed, and is read again as it is at a restart.
	with := func(t *testing.T, change ...func(*engine.Config)) (*bench, map[string]engine.Allowance) {
		b := hub(t, change...)
		allowed := map[string]engine.Allowance{"s3": {}, "s4": {}}
		list(b, allowed)
		for _, c := range [][]string{{"s3", s3Protocol, s3NBMA, "10.20.3.0/24"}, {"s4", s4Protocol, s4NBMA, "10.20.4.0/24"}} {
			if c := append(register(t, b, c[0], c[1], c[2]), register(t, b, c[0], c[1], c[2], c[3])...); !slices.Equal(c, []wire.Code{taken, taken}) {
				t.Fatalf("%v", c)
			}
			b.run(time.Second)
		}
		return b, allowed
	}
	restart := func(b *bench) { b.n.Start(b.n.Kill()); b.take() }
	// stands says whether a client's address and network do.
	stands := func(t *testing.T, b *bench, protocol, net string, address, route bool) {
		t.Helper()
		want(t, protocol, b.n.Bound[addr(protocol)].NBMA.IsValid(), address)
		want(t, net, b.n.Installed[prefix(net)].IsValid(), route)
	}
	only := func(networks ...string) engine.Allowance {
		a := engine.Allowance{Networks: []netip.Prefix{}}
		for _, n := range networks {
			a.Networks = append(a.Networks, prefix(n))
		}
		return a
	}
	rows(t, []row{
		{"a network that is not listed any more ends with its renewal", func(t *testing.T) {
			b, allowed := with(t)
			allowed["s3"] = only("10.20.9.0/24")
			want(t, "code", register(t, b, "s3", s3Protocol, s3NBMA, "10.20.3.0/24")[0], prohibited)
			stands(t, b, s3Protocol, "10.20.3.0/24", true, false)
			stands(t, b, s4Protocol, "10.20.4.0/24", true, true)
		}},
		{"an identity that is not listed any more ends with its renewal, and all that it has", func(t *testing.T) {
			b, allowed := with(t)
			delete(allowed, "s3")
			want(t, "code", register(t, b, "s3", s3Protocol, s3NBMA)[0], prohibited)
			stands(t, b, s3Protocol, "10.20.3.0/24", false, false)
			stands(t, b, s4Protocol, "10.20.4.0/24", true, true)
		}},
		{"what another one is refused ends nothing", func(t *testing.T) {
			b, allowed := with(t)
			delete(allowed, "s4")
			want(t, "address", register(t, b, "s4", s3Protocol, s4NBMA)[0], prohibited)
			want(t, "network", register(t, b, "s4", s3Protocol, s4NBMA, "10.20.3.0/24")[0], prohibited)
			stands(t, b, s3Protocol, "10.20.3.0/24", true, true)
		}},
		{"after a restart the list as it is now holds", func(t *testing.T) {
			b, allowed := with(t)
			allowed["s3"] = only("10.20.9.0/24")
			delete(allowed, "s4")
			restart(b)
			stands(t, b, s3Protocol, "10.20.3.0/24", true, false)
			stands(t, b, s4Protocol, "10.20.4.0/24", false, false)
			want(t, "bindings", len(b.snapshot().Bindings), 3) // S1's, S2's and S3's address
		}},
		{"of two that overlap since before the restart who came first stays", func(t *testing.T) {
			b, allowed := with(t)
			allowed["s4"] = only("10.20.3.128/25") // the operator's word
			want(t, "code", register(t, b, "s4", s4Protocol, s4NBMA, "10.20.3.128/25")[0], taken)
			allowed["s4"] = engine.Allowance{}
			restart(b)
			stands(t, b, s3Protocol, "10.20.3.0/24", true, true)
			stands(t, b, s4Protocol, "10.20.3.128/25", true, false)
		}},
		{"of two that overlap while it runs who came first stays, whoever renews first", func(t *testing.T) {
			b, allowed := with(t)
			allowed["s4"] = only("10.20.3.128/25")
			want(t, "code", register(t, b, "s4", s4Protocol, s4NBMA, "10.20.3.128/25")[0], taken)
			allowed["s4"] = engine.Allowance{}
			b.run(time.Second)
			want(t, "the first", register(t, b, "s3", s3Protocol, s3NBMA, "10.20.3.0/24")[0], taken)
			want(t, "the second", register(t, b, "s4", s4Protocol, s4NBMA, "10.20.3.128/25")[0], prohibited)
			stands(t, b, s3Protocol, "10.20.3.0/24", true, true)
			stands(t, b, s4Protocol, "10.20.3.128/25", true, false)
		}},
		{"who has not proved yet what it may register is judged when it has", func(t *testing.T) {
			b, allowed := with(t)
			allowed["s3"] = engine.Allowance{Addresses: []netip.Prefix{}, Networks: []netip.Prefix{}, Unproved: true}
			restart(b)
			stands(t, b, s3Protocol, "10.20.3.0/24", true, true)
			want(t, "meanwhile", register(t, b, "s3", s3Protocol, s3NBMA, "10.20.3.0/24")[0], prohibited)
			stands(t, b, s3Protocol, "10.20.3.0/24", true, true)
			allowed["s3"] = engine.Allowance{Addresses: []netip.Prefix{prefix(s3Protocol + "/32")}, Networks: []netip.Prefix{}}
			b.n.Input(engine.Secured{To: engine.Endpoint{NBMA: addr(s3NBMA), Identity: "s3"}})
			stands(t, b, s3Protocol, "10.20.3.0/24", true, false)
		}},
		{"what nobody is known to have registered ends where peers are authenticated", func(t *testing.T) {
			b := newBench(t, hubNBMA, nhrptest.HubConfig())
			b.from(s1NBMA, registration(s1Protocol, s1NBMA))
			b.as("s3", s3NBMA, registration(s3Protocol, s3NBMA))
			b.n.Config.Authenticated = true
			restart(b)
			stands(t, b, s1Protocol, "10.20.3.0/24", false, false)
			stands(t, b, s3Protocol, "10.20.4.0/24", true, false)
		}},
		{"a registration that ends with the restart is not installed for a moment", func(t *testing.T) {
			b, allowed := with(t)
			delete(allowed, "s3")
			state := b.n.Kill()
			m := engine.New(b.n.Config, engine.Env{Routes: b.n, Traffic: func(engine.Endpoint) engine.Traffic { return engine.Traffic{} }, Random: func() uint64 { return 1 }, Allowed: b.n.Allowed})
			if err := m.Import(b.w.Now, state); err != nil {
				t.Fatal(err)
			}
			for _, a := range m.Handle(b.w.Now, engine.Tick{}) {
				switch a := a.(type) {
				case engine.Bind:
					want(t, "bound", a.To.Identity == "s3", false)
				case engine.InstallRoute:
					want(t, "installed", a.NextHop == addr(s3Protocol), false)
				}
			}
			b.n.Machine = m
		}},
	})
}
