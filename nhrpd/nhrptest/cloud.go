// SPDX-License-Identifier: Apache-2.0

package nhrptest

import (
	"net/netip"
	"time"

	"dmvpn/nhrpd/engine"
)

// Cloud is the cast of nearly every test:
//
//	             H 192.0.2.1 (10.0.0.1), LAN 10.10.0.0/24
//	            /                                       \
//	S1 198.51.100.11 (10.0.0.11)             S2 203.0.113.22 (10.0.0.12)
//	   LAN 10.10.1.0/24                         LAN 10.10.2.0/24
type Cloud struct {
	*World
	H, S1, S2 *Node
	A, B      string // hosts on the LANs of S1 and S2
}

// HubConfig and SpokeConfig are the machines of a Cloud.
func HubConfig() engine.Config {
	return engine.Config{
		Tunnel: "dmvpn0", Address: netip.MustParsePrefix("10.0.0.1/24"), MTU: 1400, Redirect: true,
		Networks: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/24")},
	}
}

// SpokeConfig is a spoke of the hub: what is not its own it reaches by 10.10.0.0/16.
func SpokeConfig(address, network string) engine.Config {
	return engine.Config{
		Tunnel: "dmvpn0", Address: netip.MustParsePrefix(address), MTU: 1400, Shortcut: true,
		Networks: []netip.Prefix{netip.MustParsePrefix(network)},
		NHS: []engine.NHS{{
			NBMA: "192.0.2.1", Protocol: netip.MustParseAddr("10.0.0.1"), Routes: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")},
		}},
	}
}

// NewCloud6 is NewCloud with IPv6 inside:
//
//	             H 192.0.2.1 (fd00::1), LAN fd10::/64
//	            /                                   \
//	S1 198.51.100.11 (fd00::11)            S2 203.0.113.22 (fd00::12)
//	   LAN fd10:0:1::/64                      LAN fd10:0:2::/64
func NewCloud6(seed uint64, reimport bool, change func(hub, s1, s2 *engine.Config)) *Cloud {
	c := NewCloud(seed, reimport, func(hub, s1, s2 *engine.Config) {
		for c, own := range map[*engine.Config][2]string{
			hub: {"fd00::1/64", "fd10::/64"}, s1: {"fd00::11/64", "fd10:0:1::/64"}, s2: {"fd00::12/64", "fd10:0:2::/64"},
		} {
			c.Address, c.Networks = netip.MustParsePrefix(own[0]), []netip.Prefix{netip.MustParsePrefix(own[1])}
			if len(c.NHS) > 0 {
				c.NHS[0].Protocol, c.NHS[0].Routes = netip.MustParseAddr("fd00::1"), []netip.Prefix{netip.MustParsePrefix("fd10::/16")}
			}
		}
		if change != nil {
			change(hub, s1, s2)
		}
	})
	c.A, c.B = "fd10:0:1::5", "fd10:0:2::5"
	return c
}

// NewCloud makes a Cloud; change, if not nil, changes the configurations before
// the machines start.
func NewCloud(seed uint64, reimport bool, change func(hub, s1, s2 *engine.Config)) *Cloud {
	c := &Cloud{World: New(seed), A: "10.10.1.5", B: "10.10.2.5"}
	c.Reimport = reimport
	hub, s1, s2 := HubConfig(), SpokeConfig("10.0.0.11/24", "10.10.1.0/24"), SpokeConfig("10.0.0.12/24", "10.10.2.0/24")
	if change != nil {
		change(&hub, &s1, &s2)
	}
	c.H = c.Add("H", "192.0.2.1", hub)
	c.S1 = c.Add("S1", "198.51.100.11", s1)
	c.S2 = c.Add("S2", "203.0.113.22", s2)
	return c
}

// Ping sends a packet from LAN to LAN and one back, and gives both ways.
func (c *Cloud) Ping(size int) (there, back Delivery) {
	return c.S1.Send(c.A, c.B, size), c.S2.Send(c.B, c.A, size)
}

// Stream pings with a pause in between for a time and gives what did not arrive.
func (c *Cloud) Stream(d, pause time.Duration, size int) []Delivery {
	var lost []Delivery
	for end := c.Now.Add(d); c.Now.Before(end); c.Run(pause) {
		there, back := c.Ping(size)
		for _, x := range []Delivery{there, back} {
			if x.Dropped != "" {
				lost = append(lost, x)
			}
		}
	}
	return lost
}
