// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// cloud6 is a cloud with IPv6 inside, whose spokes have registered.
func cloud6(t *testing.T, change func(hub, s1, s2 *engine.Config)) *nhrptest.Cloud {
	c := nhrptest.NewCloud6(1, strings.HasSuffix(t.Name(), exported), change)
	c.Run(2 * time.Second)
	t.Cleanup(func() {
		if t.Failed() {
			dump(t, c.World)
		}
	})
	return c
}

// registration6 is that of a client in IPv6's family.
func registration6(protocol, nbma string, entries ...wire.CIE) *wire.Packet {
	p := registration(protocol, nbma)
	p.ProtocolType, p.DestinationProtocol = wire.ProtocolIPv6, addr("fd00::1")
	if len(entries) > 0 {
		p.CIEs = entries
	}
	return p
}

// IPv6 inside: HD-05, HD-10, HD-11, CM-04, CM-05.
func TestCasesOfIPv6Inside(t *testing.T) {
	rows(t, []row{
		{"HD-11, SC-03: registered, first by the hub, then directly both ways", func(t *testing.T) {
			c := cloud6(t, nil)
			want(t, "hub binds S1", c.H.Bound[addr("fd00::11")].NBMA, addr(s1NBMA))
			want(t, "hub routes S1's LAN", c.H.Installed[prefix("fd10:0:1::/64")], addr("fd00::11"))
			want(t, "spoke routes by the hub", c.S1.Installed[prefix("fd10::/16")], addr("fd00::1"))
			want(t, "fallback", c.S1.Fallback, addr("fd00::1"))
			paths(t, c, "S1 H S2", "S2 H S1")
			c.Run(time.Second)
			paths(t, c, "S1 S2", "S2 S1")
			want(t, "S1's shortcut", c.S1.Installed[prefix("fd10:0:2::/64")], addr("fd00::12"))
			want(t, "requests", len(c.Traced("Resolution Request", "S1   sends")), 1)
		}},
		{"HD-05: every packet has protocol type 0x86DD, addresses of 16 octets inside and 4 outside", func(t *testing.T) {
			c := nhrptest.NewCloud6(1, strings.HasSuffix(t.Name(), exported), nil)
			types := map[wire.Type]int{}
			c.Seen = func(_ *nhrptest.Node, _ engine.Endpoint, p *wire.Packet) {
				types[p.Type]++
				if p.ProtocolType != wire.ProtocolIPv6 || p.AddressFamily != wire.FamilyIPv4 || !p.SourceProtocol.Is6() || !p.SourceNBMA.Is4() {
					t.Errorf("%v", p)
				}
			}
			c.Run(2 * time.Second)
			c.Ping(100)
			c.Run(time.Second)
			for _, k := range []wire.Type{wire.RegistrationRequest, wire.RegistrationReply, wire.TrafficIndication, wire.ResolutionRequest, wire.ResolutionReply} {
				want(t, fmt.Sprint(k, " seen"), types[k] > 0, true)
			}
		}},
		{"SC-04: an idle shortcut goes at both ends, and nothing is lost", func(t *testing.T) {
			c := cloud6(t, func(hub, s1, s2 *engine.Config) { s1.Idle, s2.Idle = 20*time.Second, 21*time.Second })
			c.Ping(100)
			c.Run(time.Second)
			paths(t, c, "S1 S2", "S2 S1")
			c.Run(90 * time.Second)
			want(t, "S1 accepts S2", c.S1.Accepted[engine.Endpoint{NBMA: c.S2.NBMA}], false)
			want(t, "S1's shortcut", c.S1.Installed[prefix("fd10:0:2::/64")].IsValid(), false)
			paths(t, c, "S1 H S2", "S2 H S1")
		}},
		{"PU-05: a spoke that stops takes its registration and its shortcuts along", func(t *testing.T) {
			c := cloud6(t, nil)
			c.Ping(100)
			c.Run(time.Second)
			c.S2.Input(engine.Stop{})
			c.Run(time.Second)
			want(t, "hub binds S2", c.H.Bound[addr("fd00::12")].NBMA.IsValid(), false)
			want(t, "S1's shortcut", c.S1.Installed[prefix("fd10:0:2::/64")].IsValid(), false)
		}},
		{"HU-01: without the hub shortcuts stay, and what it registered ends with its holding time", func(t *testing.T) {
			c := cloud6(t, func(hub, s1, s2 *engine.Config) { hub.HoldingTime, s1.HoldingTime = 90*time.Second, 90*time.Second })
			c.Ping(100)
			c.Run(time.Second)
			c.H.Kill()
			c.Run(30 * time.Second)
			paths(t, c, "S1 S2", "S2 S1")
			c.Run(5 * time.Minute)
			want(t, "S1 routes by the hub", c.S1.Installed[prefix("fd10::/16")].IsValid(), false)
		}},
		{"SC-02: a next hop of the overlay that is missing is asked for", func(t *testing.T) {
			c := cloud6(t, func(hub, s1, s2 *engine.Config) { hub.Redirect = false })
			want(t, "at first", c.S1.Send("fd10:0:1::5", "fd00::12", 100).String(), "S1 H S2")
			c.Run(time.Second)
			want(t, "then", c.S1.Send("fd10:0:1::5", "fd00::12", 100).String(), "S1 S2")
		}},
		{"HD-10, CM-04, CM-05, RG-10: what a client may register", func(t *testing.T) {
			for _, c := range []struct {
				name  string
				entry wire.CIE
				code  wire.Code
				fault wire.ErrorCode
			}{
				{"a network", wire.CIE{PrefixLength: 64, HoldingTime: 60, Protocol: addr("fd10:0:9::")}, wire.CodeSuccess, 0},
				{"a host, as 128", wire.CIE{PrefixLength: 128, HoldingTime: 60, Protocol: addr("fd10:0:9::1")}, wire.CodeSuccess, 0},
				{"a host, as 0", wire.CIE{HoldingTime: 60, Protocol: addr("fd10:0:9::1")}, wire.CodeSuccess, 0},
				{"129 bits", wire.CIE{PrefixLength: 129, HoldingTime: 60, Protocol: addr("fd10:0:9::")}, 0, wire.ErrorProtocolError},
				{"a network wider than any site's", wire.CIE{PrefixLength: 15, HoldingTime: 60, Protocol: addr("fd10::")}, wire.CodeAdministrativelyProhibited, 0},
				{"the overlay's", wire.CIE{PrefixLength: 48, HoldingTime: 60, Protocol: addr("fd00::")}, wire.CodeAdministrativelyProhibited, 0},
				{"multicast", wire.CIE{PrefixLength: 64, HoldingTime: 60, Protocol: addr("ff05::")}, wire.CodeAdministrativelyProhibited, 0},
				{"the hub's LAN", wire.CIE{PrefixLength: 64, HoldingTime: 60, Protocol: addr("fd10::")}, wire.CodeAdministrativelyProhibited, 0},
			} {
				b := newBench(t, hubNBMA, six(nhrptest.HubConfig()))
				b.ask(s1NBMA, registration6("fd00::11", s1NBMA))
				p := registration6("fd00::11", s1NBMA, c.entry)
				p.RequestID++
				r := b.ask(s1NBMA, p).p
				if c.fault != 0 {
					want(t, c.name, r.ErrorCode, c.fault)
					continue
				}
				if len(r.CIEs) != 1 || r.CIEs[0].Code != c.code {
					t.Errorf("%s: %v", c.name, r)
				}
			}
		}},
		{"SE-06: nobody is all routers of the overlay, and its last address is as good as any", func(t *testing.T) {
			b := newBench(t, hubNBMA, six(nhrptest.HubConfig()))
			want(t, "fd00::", b.ask(s1NBMA, registration6("fd00::", s1NBMA)).p.CIEs[0].Code, wire.CodeAdministrativelyProhibited)
			want(t, "the last one", b.ask(s1NBMA, registration6("fd00::ffff:ffff:ffff:ffff", s1NBMA)).p.CIEs[0].Code, wire.CodeSuccess)
		}},
		{"RQ-12: what cannot be asked for is answered with 12", func(t *testing.T) {
			for _, d := range []string{"ff02::1", "fe80::12", "::1", "::", "fd00::", "fd00::11"} {
				b := newBench(t, hubNBMA, six(nhrptest.HubConfig()))
				b.ask(s1NBMA, registration6("fd00::11", s1NBMA))
				p := bare(wire.ResolutionRequest, s1Protocol, s1NBMA, s2Protocol)
				p.ProtocolType, p.SourceProtocol, p.DestinationProtocol = wire.ProtocolIPv6, addr("fd00::11"), addr(d)
				r := b.ask(s1NBMA, p).p
				if r.Type != wire.ResolutionReply || len(r.CIEs) != 1 || r.CIEs[0].Code != wire.CodeNoBinding {
					t.Errorf("%s: %v", d, r)
				}
			}
		}},
		{"TI-05, TI-06: no redirect for what has no shorter way, none taken of the other family", func(t *testing.T) {
			c := cloud6(t, nil)
			before := len(c.Trace)
			for _, pair := range [][2]string{
				{"fd10:0:1::5", "ff02::5"}, {"fe80::11", "fd10:0:2::5"}, {"fd10:0:1::5", "fe80::12"}, {"::", "fd10:0:2::5"}, {"fd10:0:1::5", "fd10::5"},
			} {
				c.H.Input(engine.Redirect{Data: inner6(pair[0], pair[1], 17, 0)})
			}
			c.H.Input(engine.Redirect{Data: inner6("fd10:0:1::5", "fd10:0:2::5", 58, 1)})      // an ICMP error
			c.H.Input(engine.Redirect{Data: inner("10.10.1.5", "10.10.2.5")})                  // of IPv4
			c.H.Input(engine.Redirect{Data: inner6("fd10:0:1::5", "fd10:0:2::5", 17, 0)[:39]}) // cut
			want(t, "sent", fmt.Sprint(c.Trace[before:]), "[]")
			c.H.Input(engine.Redirect{Data: inner6("fd10:0:1::5", "fd10:0:2::5", 58, 128)}) // an echo request
			want(t, "of an echo", len(c.Traced("H    sends", "Traffic Indication")), 1)
		}},
		{"HD-11: a packet of the other family is not for this machine", func(t *testing.T) {
			b := newBench(t, hubNBMA, six(nhrptest.HubConfig()))
			b.from(s1NBMA, registration(s1Protocol, s1NBMA))
			b.silent()
			want(t, "counted", b.counted("dropped-protocol-type"), uint64(1))
		}},
	})
}

// six gives a hub the addresses of IPv6.
func six(c engine.Config) engine.Config {
	c.Address, c.Networks = prefix("fd00::1/64"), nil
	c.Networks = append(c.Networks, prefix("fd10::/64"))
	return c
}

// inner6 is an IPv6 header and the first octets of what it carries.
func inner6(source, destination string, next, first byte) []byte {
	b := make([]byte, 48)
	b[0], b[5], b[6], b[7], b[40] = 0x60, 8, next, 64, first
	copy(b[8:], addr(source).AsSlice())
	copy(b[24:], addr(destination).AsSlice())
	return b
}
