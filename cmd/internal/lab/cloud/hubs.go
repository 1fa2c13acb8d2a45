// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"net/netip"
	"slices"

	"dmvpn/cmd/internal/lab"
)

// More hubs, hub2 and so on, all by IPv4, are each on the Internet and serve no LAN. Spokes are registered with
// every hub, and prefer the first one:
//
//	 hub 192.0.2.1   hub2 192.0.3.1   hub3 192.0.4.1 …
//	     10.0.0.1         10.0.0.2         10.0.0.3

// HubName is a hub's name; 1 is the first.
func HubName(k int) string {
	if k == 1 {
		return "hub"
	}
	return fmt.Sprint("hub", k)
}

// NBMAOfHub, TunnelOfHub and TunnelOfHub6 are a hub's addresses.
func NBMAOfHub(k int) netip.Addr    { return netip.AddrFrom4([4]byte{192, 0, byte(1 + k), 1}) }
func TunnelOfHub(k int) netip.Addr  { return netip.AddrFrom4([4]byte{10, 0, 0, byte(k)}) }
func TunnelOfHub6(k int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(k)}) }

// anotherHub builds hub k.
func (c *Cloud) anotherHub(o Options, k int) *lab.Node {
	name := HubName(k)
	n := c.Router(name)
	c.uplink(o, n, o.HubDelay, NBMAOfHub(k))
	if slices.Contains(o.Inside, 6) {
		n.Sysctl("net/ipv6/conf/all/forwarding", "1")
	}
	t := defaults(o.inside(), 4, 0)
	t.Networks = nil
	for _, address := range []*string{&t.Address, &t.Address2} {
		switch p, err := netip.ParsePrefix(*address); {
		case err != nil: // of one version alone
		case p.Addr().Is4():
			*address = netip.PrefixFrom(TunnelOfHub(k), p.Bits()).String()
		default:
			*address = netip.PrefixFrom(TunnelOfHub6(k), p.Bits()).String()
		}
	}
	s := &Settings{LogLevel: "debug", Tunnels: []Tunnel{t}}
	if o.Protected {
		s.Tunnels[0].IPsec = &IPsec{Identity: Identity(name), PSKFile: c.sharedKey(n)}
	}
	if o.Settings != nil {
		o.Settings(name, s)
	}
	c.settings[name] = s
	return n
}

// ServedBy gives a hub as a server, with what is reached by it.
func ServedBy(k int, routes ...string) NHS {
	return NHS{NBMA: NBMAOfHub(k).String(), Routes: routes, Priority: k - 1}
}
