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

// The underlay's addresses of IPv6 of the hub and of the spokes.
const hub6, s16, s26 = "2001:db8::1", "2001:db8:11::11", "2001:db8:22::22"

// families is a Cloud whose hub has an address of each family, and whose spokes have what
// is named, the first of them as NBMA; each registers by that.
func families(reimport bool, s1, s2 []string) *nhrptest.Cloud {
	c := &nhrptest.Cloud{World: nhrptest.New(1), A: "10.10.1.5", B: "10.10.2.5"}
	c.Reimport = reimport
	two := func(all []string) func(*nhrptest.Node) {
		return func(n *nhrptest.Node) {
			if len(all) > 1 {
				n.Other = addr(all[1])
			}
		}
	}
	c.H = c.Add("H", "192.0.2.1", nhrptest.HubConfig(), two([]string{"", hub6}))
	add := func(name, overlay, lan string, all []string) *nhrptest.Node {
		config := nhrptest.SpokeConfig(overlay, lan)
		if !addr(all[0]).Is4() {
			config.NHS[0].NBMA = hub6
		}
		return c.Add(name, all[0], config, two(all))
	}
	c.S1 = add("S1", "10.0.0.11/24", "10.10.1.0/24", s1)
	c.S2 = add("S2", "10.0.0.12/24", "10.10.2.0/24", s2)
	return c
}

// TestCasesOfFamilies: HD-11. A shortcut needs a family that both ends have; else the path
// by the hub stays, and the reason is shown.
func TestCasesOfFamilies(t *testing.T) {
	for _, x := range []struct {
		name         string
		s1, s2       []string
		there, back  string // where each finds the other, "": by the hub
		reason1      string // of S1's negative answer
		hubSeesS1by6 bool
	}{
		{"both by IPv6", []string{s16}, []string{s26}, s26, s16, "", true},
		{"S1 by IPv6 alone, S2 by IPv4 alone", []string{s16}, []string{"203.0.113.22"}, "", "", "10.0.0.12 has no underlay address of IPv6, by which we are reached", true},
		{"S1 by IPv4 alone, S2 by IPv6 alone", []string{"198.51.100.11"}, []string{s26}, "", "", "10.0.0.12 has no underlay address of IPv4, by which we are reached", false},
		{"S1 by IPv6, S2 registered by IPv4 has both", []string{s16}, []string{"203.0.113.22", s26}, s26, "", "", true},
		{"both have both and register by different ones", []string{"198.51.100.11", s16}, []string{s26, "203.0.113.22"}, "203.0.113.22", s16, "", false},
		{"S2's other address is private", []string{s16}, []string{"203.0.113.22", "fd00::22"}, "", "", "10.0.0.12 has no underlay address of IPv6, by which we are reached", true},
	} {
		scenario(t, x.name, func(t *testing.T, reimport bool) *nhrptest.World {
			c := families(reimport, x.s1, x.s2)
			c.Run(time.Second)
			want(t, "the hub sees S1 by IPv6", c.H.Bound[addr("10.0.0.11")].NBMA.Is6(), x.hubSeesS1by6)
			paths(t, c, "S1 H S2", "S2 H S1")
			c.Run(time.Second)
			way := func(direct, there string) string {
				if direct == "" {
					return there[:2] + " H " + there[3:]
				}
				return there
			}
			paths(t, c, way(x.there, "S1 S2"), way(x.back, "S2 S1"))
			for end, by := range map[*nhrptest.Node]string{c.S1: x.there, c.S2: x.back} {
				other := addr("10.0.0.11")
				if end == c.S1 {
					other = addr("10.0.0.12")
				}
				if got := end.Bound[other].NBMA; by != "" && got != addr(by) || by == "" && got.IsValid() {
					t.Errorf("%s finds the other at %v, want %q", end.Name, got, by)
				}
			}
			reason := ""
			for _, n := range c.S1.Machine.Snapshot(c.Now).Negatives {
				reason = n.Reason
			}
			want(t, "S1 says", reason, x.reason1)
			return c.World
		})
	}
}

// TestPacketsAreOfTheFamilyThatTheyTravelBy, those of one station by two servers too.
func TestPacketsAreOfTheFamilyThatTheyTravelBy(t *testing.T) {
	c := &nhrptest.Cloud{World: nhrptest.New(1), A: "10.10.1.5", B: "10.10.2.5"}
	seen := map[string]int{}
	c.Seen = func(from *nhrptest.Node, to engine.Endpoint, p *wire.Packet) {
		if p.AddressFamily != wire.FamilyOf(to.NBMA) && p.Type == wire.RegistrationRequest || p.AddressFamily != wire.FamilyOf(p.SourceNBMA) {
			t.Errorf("%s sends %v to %v", from.Name, p, to.NBMA)
		}
		if from.Name == "S1" && p.Type == wire.RegistrationRequest {
			seen[p.SourceNBMA.String()+" "+to.NBMA.String()]++
		}
	}
	hub2 := nhrptest.HubConfig()
	hub2.Address = prefix("10.0.0.2/24")
	c.H = c.Add("H", "192.0.2.1", nhrptest.HubConfig())
	c.Add("H2", hub6, hub2)
	s1 := nhrptest.SpokeConfig("10.0.0.11/24", "10.10.1.0/24")
	s1.NHS = append(s1.NHS, engine.NHS{NBMA: hub6, Protocol: addr("10.0.0.2"), Priority: 1})
	c.S1 = c.Add("S1", "198.51.100.11", s1, func(n *nhrptest.Node) { n.Other = addr(s16) })
	c.Run(2 * time.Second)
	for _, way := range []string{"198.51.100.11 192.0.2.1", s16 + " " + hub6} {
		want(t, "registrations "+way, seen[way], 2) // own address, networks
	}
	for _, s := range c.S1.Machine.Snapshot(c.Now).Servers {
		want(t, s.Name, s.State, engine.Up)
	}
	// Its address of IPv6 changes: the other server, and what is had by it, is not disturbed.
	clear(seen)
	c.S1.Other = addr("2001:db8:11::99")
	c.S1.Input(engine.LocalNBMA{Address: c.S1.NBMA, Other: c.S1.Other})
	c.Run(2 * time.Second)
	want(t, "registrations by IPv4", seen["198.51.100.11 192.0.2.1"], 0)
	want(t, "registrations by IPv6", seen["2001:db8:11::99 "+hub6], 2)
}

// TestAServerOfBothFamilies: IPv4 is tried first, the other one when it does not answer, and
// what we have no address of is not tried at all.
func TestAServerOfBothFamilies(t *testing.T) {
	for _, x := range []struct {
		name   string
		all    []string
		cut    bool
		way    string
		within time.Duration
	}{
		{"IPv4 first", []string{"198.51.100.11", s16}, false, "192.0.2.1", time.Second},
		{"IPv6 if IPv4 does not answer", []string{"198.51.100.11", s16}, true, hub6, time.Minute},
		{"IPv6 alone", []string{s16}, false, hub6, time.Second},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := &nhrptest.Cloud{World: nhrptest.New(1), A: "10.10.1.5", B: "10.10.2.5"}
			c.Names["hub.example"] = []netip.Addr{addr(hub6), addr("192.0.2.1")}
			c.Cut = func(a, b netip.Addr) bool { return x.cut && b.Is4() }
			c.H = c.Add("H", "192.0.2.1", nhrptest.HubConfig(), func(n *nhrptest.Node) { n.Other = addr(hub6) })
			s1 := nhrptest.SpokeConfig("10.0.0.11/24", "10.10.1.0/24")
			s1.NHS[0].NBMA = "hub.example"
			c.S1 = c.Add("S1", x.all[0], s1, func(n *nhrptest.Node) {
				if len(x.all) > 1 {
					n.Other = addr(x.all[1])
				}
			})
			if !c.RunUntil(x.within, func() bool { return c.S1.Bound[addr("10.0.0.1")].NBMA == addr(x.way) }) {
				t.Errorf("registered by %v\n%s", c.S1.Bound[addr("10.0.0.1")], strings.Join(c.Trace, "\n"))
			}
		})
	}
}
