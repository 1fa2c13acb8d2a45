// SPDX-License-Identifier: Apache-2.0

// Package cloud builds a DMVPN in a lab: an Internet, a hub and spokes with a
// LAN each, and runs our daemon on them.
//
//	        host0 10.10.0.10
//	          │
//	         hub  192.0.2.1                  tunnel 10.0.0.1
//	          │
//	       internet                          knows nothing of 10.x
//	      ╱   │   ╲
//	spoke1  spoke2  spoke3 …                 tunnel 10.0.0.11, .12, .13 …
//	  │       │       │                      underlay 198.18.N.1
//	host1   host2   host3                    10.10.N.10
//
// N is the number of the spoke; spokes and hub serve 10.10.N.0/24, the hub 0.
// On spokes and hub, eth0 is the underlay, lan the LAN and dmvpn0 the tunnel.
//
// A NAT, where there is one, stands between its spokes and the Internet:
//
//	      internet
//	          │
//	nat1 198.19.1.1
//	          │ 192.168.1.254
//	    ┌─────┴─────┐
//	 spoke2      spoke3                       192.168.1.2, 192.168.1.3
package cloud

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dmvpn/cmd/internal/lab"
)

// Device names of hub and spokes.
const (
	Underlay = "eth0"
	LAN      = "lan"
	Device   = "dmvpn0" // the tunnel
)

// Options shape a cloud. The zero value has no spokes and wires without delay.
type Options struct {
	Name       string   // of the lab
	Programs   Programs // what to run
	Spokes     int      // 1 to 50
	MoreHubs   int      // beside the first
	HubDelay   time.Duration
	SpokeDelay time.Duration // of the wires to the Internet, one way
	Protected  bool          // by IPsec, with one shared key
	Inside     []int         // versions of IP that the tunnel carries, of 4 and 6; none: 4
	// Over gives the versions of IP of a node's underlay, of 4 and 6, that by which it reaches
	// the hub first; nil: 4.
	Over func(node string) []int
	// Settings may change what a node ("hub", "spoke1", …) is configured with.
	Settings func(node string, s *Settings)
	// Wire may change the wire between a node (hub, spoke or NAT) and the Internet.
	Wire func(node string, w *lab.Wire)
	NATs []NAT // nat1, nat2, …
	// Services are UDP ports of servers on the underlay, such as DNS: Outside lets them be.
	Services []uint16
}

// Programs are the paths of our executables.
type Programs struct{ Dmvpnd, Dmvpn string }

// A Cloud is a lab with a DMVPN in it.
type Cloud struct {
	*lab.Lab
	Internet, Hub, HubHost *lab.Node
	MoreHubs               []*lab.Node // MoreHubs[0] is hub2
	Spokes, Hosts          []*lab.Node // Spokes[0] is spoke1
	NATs                   []*lab.Node // NATs[0] is nat1

	programs Programs
	services []uint16
	inside   []int
	settings map[string]*Settings
	daemons  map[string]*lab.Process
}

// HubNBMA is the hub's underlay address.
func HubNBMA() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) }

// HubTunnel is the hub's address in the tunnel.
func HubTunnel() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, 1}) }

// NBMA is the underlay address of a spoke, counted from 1.
func NBMA(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(n), 1}) }

// TunnelAddress is a spoke's address in the tunnel.
func TunnelAddress(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + n)}) }

// Gateway is the LAN address of a spoke; 0 is the hub.
func Gateway(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 10, byte(n), 1}) }

// Host is the address of the host in a LAN; 0 is the hub's.
func Host(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 10, byte(n), 10}) }

// Network is the LAN of a spoke; 0 is the hub's.
func Network(n int) netip.Prefix { return netip.PrefixFrom(Gateway(n), 24).Masked() }

// New builds the nodes and wires; no daemon runs yet.
func New(o Options) (*Cloud, error) {
	l, err := lab.New(o.Name)
	if err != nil {
		return nil, err
	}
	c := &Cloud{Lab: l, programs: o.Programs, services: o.Services, inside: o.inside(), settings: map[string]*Settings{}, daemons: map[string]*lab.Process{}}
	c.Internet = l.Router("internet")
	for k := range o.NATs {
		c.NATs = append(c.NATs, c.nat(o, k+1))
	}
	c.Hub, c.HubHost = c.site(o, 0)
	for k := 2; k < 2+o.MoreHubs; k++ {
		c.MoreHubs = append(c.MoreHubs, c.anotherHub(o, k))
	}
	for n := 1; n <= o.Spokes; n++ {
		spoke, host := c.site(o, n)
		c.Spokes, c.Hosts = append(c.Spokes, spoke), append(c.Hosts, host)
	}
	if err := l.Err(); err != nil {
		if closed := l.Close(); closed != nil {
			return nil, fmt.Errorf("%w; %w", err, closed)
		}
		return nil, err
	}
	return c, nil
}

// site builds a hub (n is 0) or a spoke, with its LAN and its configuration.
func (c *Cloud) site(o Options, n int) (site, host *lab.Node) {
	name, hostName := "hub", fmt.Sprint("host", n)
	if n > 0 {
		name = fmt.Sprint("spoke", n)
	}
	site, host = c.Router(name), c.Node(hostName)
	switch k := o.natOf(n); {
	case n == 0:
		c.uplink(o, site, o.HubDelay, o.nbma(name, n)...)
	case k == 0:
		c.uplink(o, site, o.SpokeDelay, o.nbma(name, n)...)
	default:
		c.behind(o, site, k, n)
	}
	c.Wire(&lab.Wire{
		A: lab.End{Node: name, Device: LAN, Address: Gateway(n).String() + "/24"},
		B: lab.End{Node: hostName, Device: "eth0", Address: Host(n).String() + "/24"},
	})
	host.Route(Gateway(n).String(), "default")
	if slices.Contains(o.Inside, 6) {
		site.Sysctl("net/ipv6/conf/all/forwarding", "1")
		site.Address(LAN, GatewayOf(6, n).String()+"/64")
		host.Address("eth0", HostOf(6, n).String()+"/64")
		host.Route(GatewayOf(6, n).String(), "::/0")
	}
	s := &Settings{LogLevel: "debug", Tunnels: []Tunnel{defaults(o.inside(), o.over(name)[0], n)}}
	for k := 2; n > 0 && k < 2+o.MoreHubs; k++ {
		s.Tunnels[0].NHS = append(s.Tunnels[0].NHS, ServedBy(k, sites(o.inside())...))
	}
	if o.Protected {
		s.Tunnels[0].IPsec = &IPsec{Identity: Identity(name), PSKFile: c.sharedKey(site)}
	}
	if o.Settings != nil {
		o.Settings(name, s)
	}
	c.settings[name] = s
	return site, host
}

// sharedKey writes the key of all, readable by the node's daemon alone.
func (c *Cloud) sharedKey(n *lab.Node) string {
	file := filepath.Join(n.Dir, "psk")
	if err := os.WriteFile(file, []byte("the key that all members share\n"), 0o600); err != nil {
		c.Lab.Fail(err)
	}
	return file
}

func defaults(inside []int, over, n int) Tunnel {
	t := Tunnel{Name: Device, Key: 42, Underlay: Underlay, Authentication: "test1234", IdleBytes: -1}
	for i, version := range inside {
		length := map[int]string{4: "/24", 6: "/64"}[version]
		address := TunnelOf(version, n).String() + length
		if i == 0 {
			t.Address = address
		} else {
			t.Address2 = address
		}
		t.Networks = append(t.Networks, NetworkOf(version, n).String())
	}
	if n > 0 {
		t.NHS = []NHS{{NBMA: NBMAOf(over, 0).String(), Routes: sites(inside)}}
	}
	return t
}

// sites are all LANs, by the versions of IP.
func sites(inside []int) (prefixes []string) {
	for _, version := range inside {
		prefixes = append(prefixes, map[int]string{4: "10.10.0.0/16", 6: "fd10::/16"}[version])
	}
	return prefixes
}
