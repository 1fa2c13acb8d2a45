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

// Cisco's NAT address extension: section 14 of the case list.
func TestCasesOfNAT(t *testing.T) {
	const inside, outside = "172.16.2.22", "203.0.113.66"
	// natted gives the entries of the extension.
	natted := func(t *testing.T, p *wire.Packet) []wire.CIE {
		t.Helper()
		e := p.Extension(wire.ExtensionNATAddress)
		if e == nil {
			return nil
		}
		list, err := p.Entries(e)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	// behind is H with S3 behind NAT, beside S1 and S2.
	behind := func(t *testing.T) *bench {
		b := hub(t)
		b.from(outside, registration("10.0.0.13", inside))
		b.take()
		return b
	}
	rows(t, []row{
		{"NA-01: the flag is kept in the reply, beside the unique one", func(t *testing.T) {
			for _, flags := range []uint16{wire.FlagNAT, wire.FlagNAT | wire.FlagRegistrationUnique, 0} {
				p := registration("10.0.0.13", outside)
				p.Flags = flags
				want(t, "flags", hub(t).ask(outside, p).p.Flags, flags)
			}
			for _, x := range newBench(t, s1NBMA, spokeConfig()).take() {
				want(t, "ours", x.p.Flags&wire.FlagNAT != 0 && len(natted(t, x.p)) == 0 && x.p.Extension(wire.ExtensionNATAddress) != nil, true)
			}
		}},
		{"NA-02: a client is told what was observed where it differs", func(t *testing.T) {
			list := natted(t, hub(t).ask(outside, registration("10.0.0.13", inside)).p)
			want(t, "observed", len(list) == 1 && list[0].NBMA == addr(outside) && list[0].Protocol == addr("10.0.0.13"), true)
			want(t, "the same", len(natted(t, hub(t).ask(outside, registration("10.0.0.13", outside)).p)), 0)
			p := registration("10.0.0.13", inside)
			p.RemoveExtension(wire.ExtensionNATAddress)
			want(t, "not asked", hub(t).ask(outside, p).p.Extension(wire.ExtensionNATAddress) == nil, true)
		}},
		{"NA-03: the hub enters it in a passing request: filled, or added; what is there stays", func(t *testing.T) {
			for _, absent := range []bool{false, true} {
				p := resolution("10.0.0.13", inside, "10.10.2.5")
				if absent {
					p.RemoveExtension(wire.ExtensionNATAddress)
				}
				r := behind(t).ask(outside, p)
				list := natted(t, r.p)
				want(t, "to", r.to, s2NBMA)
				want(t, "entered", len(list) == 1 && list[0].NBMA == addr(outside) && list[0].Protocol == addr("10.0.0.13"), true)
			}
			p := resolution("10.0.0.13", inside, "10.10.2.5")
			p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr("203.0.113.67"), Protocol: addr("10.0.0.13")})
			list := natted(t, behind(t).ask(outside, p).p)
			want(t, "stays", len(list) == 1 && list[0].NBMA == addr("203.0.113.67"), true)
			want(t, "no NAT", len(natted(t, behind(t).ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5")).p)), 0)
		}},
		{"NA-03: the hub enters it in a passing reply", func(t *testing.T) {
			r := behind(t).ask(outside, reply(resolution(s1Protocol, s1NBMA, "10.10.3.5"), wire.ResolutionReply, "10.0.0.13", inside, owner(24, "10.0.0.13", inside)))
			list := natted(t, r.p)
			want(t, "to", r.to, s1NBMA)
			want(t, "entered", len(list) == 1 && list[0].NBMA == addr(outside), true)
		}},
		{"NA-04: of an answer the public address is used, the first of several", func(t *testing.T) {
			b := spoke(t)
			p := reply(b.resolve("10.10.3.5"), wire.ResolutionReply, "10.0.0.13", inside, owner(24, "10.0.0.13", inside))
			p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress,
				wire.CIE{NBMA: addr(outside), Protocol: addr("10.0.0.13")}, wire.CIE{NBMA: addr("203.0.113.67"), Protocol: addr("10.0.0.13")})
			b.from(hubNBMA, p)
			want(t, "peer", b.n.Bound[addr("10.0.0.13")].NBMA, addr(outside))
			want(t, "both are shown", b.snapshot().Shortcuts[0].Claimed, addr(inside))
		}},
		{"NA-04: an entry for another address says nothing", func(t *testing.T) {
			b := spoke(t)
			p := reply(b.resolve("10.10.3.5"), wire.ResolutionReply, "10.0.0.13", outside, owner(24, "10.0.0.13", outside))
			p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr("203.0.113.67"), Protocol: addr("10.0.0.99")})
			b.from(hubNBMA, p)
			want(t, "peer", b.n.Bound[addr("10.0.0.13")].NBMA, addr(outside))
		}},
		{"NA-04: a requester behind NAT is accepted at its public address", func(t *testing.T) {
			b := spoke(t)
			p := resolution("10.0.0.13", inside, "10.10.1.5")
			p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr(outside), Protocol: addr("10.0.0.13")})
			want(t, "to", b.ask(hubNBMA, p).to, hubNBMA)
			want(t, "public", b.n.Accepted[engine.Endpoint{NBMA: addr(outside)}], true)
			want(t, "private", b.n.Accepted[engine.Endpoint{NBMA: addr(inside)}], false)
		}},
		{"NA-05, RG-18: where it really comes from is the truth; both are shown", func(t *testing.T) {
			b := behind(t)
			want(t, "bound", b.n.Bound[addr("10.0.0.13")].NBMA, addr(outside))
			for _, x := range b.snapshot().Bindings {
				if x.Protocol == addr("10.0.0.13") {
					want(t, "claimed", x.Claimed, addr(inside))
				}
			}
			s := spoke(t)
			p := reply(s.resolve("10.10.3.5"), wire.ResolutionReply, "10.0.0.13", outside, owner(24, "10.0.0.13", outside))
			p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr("203.0.113.67"), Protocol: addr("10.0.0.13")})
			s.from(outside, p)
			want(t, "an answer that names another place than it came from", len(s.snapshot().Shortcuts), 0)
		}},
		{"NA-08: behind the same NAT the address that a peer claims is taken, unless the tunnel leads there or it is guarded", func(t *testing.T) {
			for _, c := range []struct{ claimed, guard, at string }{
				{inside, "", inside},
				{"10.10.7.7", "", outside}, // in what is reached by the hub
				{"172.20.0.9", "172.20.0.0/16", outside},
				{"172.21.0.9", "172.20.0.0/16", "172.21.0.9"},
			} {
				b := newBench(t, s1NBMA, spokeConfig())
				for range 2 {
					for _, x := range b.take() {
						r := reply(x.p, wire.RegistrationReply, hubProtocol, hubNBMA)
						r.DestinationProtocol = addr(hubProtocol)
						r.Extensions[3], _ = r.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr(outside), Protocol: addr(s1Protocol)})
						b.from(hubNBMA, r)
					}
				}
				if c.guard != "" {
					b.n.Guard = prefix(c.guard)
				}
				p := reply(b.resolve("10.10.3.5"), wire.ResolutionReply, "10.0.0.13", c.claimed, owner(24, "10.0.0.13", c.claimed))
				p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr(outside), Protocol: addr("10.0.0.13")})
				b.from(hubNBMA, p)
				want(t, "of who claims "+c.claimed, b.n.Bound[addr("10.0.0.13")].NBMA, addr(c.at))
			}
		}},
		{"NA-06: any number of spokes behind one address; a new port is followed", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Address = prefix("10.0.0.1/16") })
			register := func(i int, port uint16, id uint32) {
				p := registration(fmt.Sprintf("10.0.%d.%d", 1+i/250, 1+i%250), "192.168.1.10")
				p.RequestID = id
				data, _ := p.Marshal()
				b.n.Input(engine.Packet{From: engine.Endpoint{NBMA: addr(outside), Port: port}, Data: data})
			}
			for i := range 250 {
				register(i, uint16(10000+i), 7)
			}
			want(t, "bindings", len(b.snapshot().Bindings), 252)
			places := map[engine.Endpoint]bool{}
			for _, e := range b.n.Bound {
				places[e] = true
			}
			want(t, "each at its own", len(places), 252)
			register(0, 4711, 8)
			want(t, "followed", b.n.Bound[netip.MustParseAddr("10.0.1.1")].Port, uint16(4711))
			want(t, "the others stay", b.n.Bound[netip.MustParseAddr("10.0.1.2")].Port, uint16(10001))
			b.run(5 * time.Second)
			want(t, "the old port is closed", b.n.Accepted[engine.Endpoint{NBMA: addr(outside), Port: 10000}], false)
		}},
		{"NA-05: whom the hub sees at another address than before, he tells those whom he answered; over IPsec IKE does", func(t *testing.T) {
			for _, authenticated := range []bool{false, true} {
				identity := map[bool]string{true: "S1"}[authenticated]
				c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) {
					hub.Authenticated, s1.Authenticated, s2.Authenticated = authenticated, authenticated, authenticated
					s1.HoldingTime = 30 * time.Second
				})
				c.S1.NAT, c.S1.Identity = addr(outside), identity
				if authenticated {
					c.H.Identity, c.S2.Identity = "H", "S2"
				}
				for _, n := range c.Nodes {
					n.Start(nil)
				}
				c.Run(2 * time.Second)
				paths(t, c, "S1 H S2", "S2 H S1")
				c.Run(time.Second)
				paths(t, c, "S1 S2", "S2 S1")
				c.S1.NAT = addr("198.51.100.77")
				c.Run(11 * time.Second) // a third of the holding time
				want(t, "shortcut of S2", c.S2.Installed[prefix("10.10.1.0/24")].IsValid(), authenticated)
				want(t, "shortcut of S1", c.S1.Installed[prefix("10.10.2.0/24")].IsValid(), authenticated)
				if !authenticated {
					paths(t, c, "S1 H S2", "S2 H S1")
				}
			}
		}},
	})
}
