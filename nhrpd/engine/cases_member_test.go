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

// Who is a member, what each is known by, and members of several phases in one cloud.
func TestCasesOfMembers(t *testing.T) {
	rows(t, []row{
		{"FW-08: what is another tunnel's is not served and not passed to it", func(t *testing.T) {
			b := hub(t)
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.1.0.0/24")})) // of another tunnel's device
			before := b.snapshot()
			for name, p := range map[string]*wire.Packet{
				"a registration": func() *wire.Packet {
					p := registration(s1Protocol, s1NBMA)
					p.DestinationProtocol = addr("10.1.0.1")
					return p
				}(),
				"a purge": purgeOf(s1Protocol, s1NBMA, "10.1.0.12", "10.20.1.0/24"),
			} {
				r := b.ask(s1NBMA, p)
				want(t, name+" to", r.to, s1NBMA)
				want(t, name, r.p.ErrorCode, wire.ErrorProtocolAddressUnreachable)
			}
			p := registration("10.1.0.11", s1NBMA)
			want(t, "its client", b.ask(s1NBMA, p).p.CIEs[0].Code, wire.CodeAdministrativelyProhibited)
			want(t, "bindings", fmt.Sprint(b.snapshot().Bindings), fmt.Sprint(before.Bindings))
		}},
		{"AU-08: the right word does not make another one's identity", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Authentication = "test1234" })
			secret, err := wire.NewCiscoAuthentication("test1234")
			if err != nil {
				t.Fatal(err)
			}
			with := func(id uint32) *wire.Packet {
				p := registration("10.0.0.13", "203.0.113.33")
				p.RequestID = id
				p.SetExtension(secret)
				return p
			}
			want(t, "s3", b.as("s3", "203.0.113.33", with(1))[0], wire.CodeSuccess)
			want(t, "another", b.as("s4", "203.0.113.44", with(2))[0], wire.CodeAdministrativelyProhibited)
			want(t, "where it is", b.n.Bound[addr("10.0.0.13")], engine.Endpoint{NBMA: addr("203.0.113.33"), Identity: "s3"})
			want(t, "counted", b.counted("unauthorized"), uint64(1))
		}},
		{"EX-11: a client's group is told to its servers and shown; what cannot be shown is none", func(t *testing.T) {
			c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) { s1.Group = "branch é" })
			c.Run(2 * time.Second)
			groups := map[netip.Prefix]string{}
			for _, b := range c.H.Machine.Snapshot(c.Now).Bindings {
				groups[b.Prefix] = b.Group
			}
			want(t, "S1", groups[prefix("10.0.0.11/32")], "branch é")
			want(t, "its network", groups[prefix("10.10.1.0/24")], "branch é")
			want(t, "S2", groups[prefix("10.0.0.12/32")], "")
			b := hub(t)
			for i, bad := range []string{"two\nlines", "\x1b[31mred", "not \xff UTF-8"} {
				p := registration("10.0.0.13", "203.0.113.33")
				p.RequestID = uint32(i + 1)
				b.from("203.0.113.33", claiming(p, wire.Private{Group: bad}))
				for _, x := range b.snapshot().Bindings {
					want(t, fmt.Sprintf("%q", bad), x.Group, "")
				}
			}
			want(t, "registered", b.n.Bound[addr("10.0.0.13")].NBMA, addr("203.0.113.33"))
		}},
		{"CA-08, PU-10: what is mapped is there from the start, and nothing from the network changes it", func(t *testing.T) {
			const protocol, nbma = "10.0.0.13", "203.0.113.33"
			b := hub(t, func(c *engine.Config) { c.Maps = []engine.Map{{Protocol: addr(protocol), NBMA: addr(nbma)}} })
			there := func(when string) {
				t.Helper()
				want(t, when, b.n.Bound[addr(protocol)], engine.Endpoint{NBMA: addr(nbma)})
				want(t, when+": accepted", b.n.Accepted[engine.Endpoint{NBMA: addr(nbma)}], true)
			}
			there("at first")
			want(t, "registered from elsewhere", b.ask("203.0.113.44", registration(protocol, "203.0.113.44")).p.CIEs[0].Code, wire.CodeAdministrativelyProhibited)
			there("then")
			want(t, "asked for", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, protocol)).to, nbma)
			want(t, "it may ask", b.ask(nbma, resolution(protocol, nbma, "10.10.0.5")).p.Type, wire.ResolutionReply)
			b.from("203.0.113.44", purgeOf(protocol, "203.0.113.44", hubProtocol, protocol+"/32"))
			b.from(nbma, purgeOf(protocol, nbma, hubProtocol, protocol+"/32"))
			there("purged")
			p := registration(protocol, nbma)
			p.CIEs[0].HoldingTime, p.RequestID = 60, 9
			want(t, "registered by itself", b.ask(nbma, p).p.CIEs[0].Code, wire.CodeSuccess)
			b.run(2 * time.Hour)
			there("its registration has expired")
			b.n.Start(b.n.Kill())
			there("restarted")
			b.n.Config.Maps = nil
			b.n.Start(b.n.Kill())
			want(t, "no longer configured", b.n.Bound[addr(protocol)].NBMA.IsValid(), false)
		}},
		{"SC-01, SC-06: a phase 1 spoke among those of phase 3: it is reached directly, and sends by the hub", func(t *testing.T) {
			c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) { s1.Shortcut = false })
			c.Run(time.Second)
			want(t, "lost", len(c.Stream(10*time.Second, 100*time.Millisecond, 1400)), 0)
			paths(t, c, "S1 H S2", "S2 S1")
			want(t, "requests of S1", len(c.Traced("S1   sends Resolution Request")), 0)
		}},
		{"SC-02, SC-06: a phase 2 spoke among those of phase 3: its routes name the next hop, the others' the hub", func(t *testing.T) {
			c := nhrptest.NewCloud(1, strings.HasSuffix(t.Name(), exported), func(hub, s1, s2 *engine.Config) { hub.Redirect = false })
			c.S1.SetKernel(append(c.S1.Kernel, nhrptest.Route{Prefix: prefix("10.10.2.0/24"), NextHop: addr(s2Protocol), Tunnel: true}))
			c.Run(time.Second)
			want(t, "lost", len(c.Stream(10*time.Second, 100*time.Millisecond, 1400)), 0)
			paths(t, c, "S1 S2", "S2 H S1")
			want(t, "routes of ours", c.S1.Installed[prefix("10.10.2.0/24")].IsValid(), false)
		}},
		{"CA-01: what was registered is kept apart from what was resolved, what was overheard not at all", func(t *testing.T) {
			b := spoke(t, func(c *engine.Config) { c.Redirect = true }) // it serves, too
			p := registration("10.0.0.13", "203.0.113.33")
			p.DestinationProtocol = addr(s1Protocol)
			b.from("203.0.113.33", p)
			b.take()
			b.shortcut()
			passing := reply(resolution("10.0.0.13", "203.0.113.33", "10.10.9.5"), wire.ResolutionReply, "10.0.0.14", "203.0.113.44", owner(24, "10.0.0.14", "203.0.113.44"))
			want(t, "passed on to", b.ask(hubNBMA, passing).to, "203.0.113.33")
			b.n.Start(b.n.Kill())
			b.take()
			s := b.snapshot()
			want(t, "registered", len(s.Bindings) == 1 && s.Bindings[0].Protocol == addr("10.0.0.13"), true)
			want(t, "resolved", len(s.Shortcuts) == 1 && s.Shortcuts[0].Prefix == prefix("10.10.2.0/24"), true)
			r := b.ask("203.0.113.33", resolution("10.0.0.13", "203.0.113.33", "10.10.1.5"))
			want(t, "ours is authoritative", r.p.Type == wire.ResolutionReply && r.p.Flags&wire.FlagAuthoritative != 0, true)
			r = b.ask("203.0.113.33", resolution("10.0.0.13", "203.0.113.33", "10.10.2.5"))
			want(t, "what was resolved is asked of its owner", r.p.Type, wire.ResolutionRequest)
		}},
	})
}
