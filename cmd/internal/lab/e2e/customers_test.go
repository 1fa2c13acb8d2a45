// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// A separation keeps two clouds on one underlay address apart. Files are of docs/examples/vrf.
type separation struct {
	script, hub, spoke string
	routes             [2]string // where `ip route show` finds a cloud's
	bound              [2]string // what leads there: for `ping -I`
}

var byTables = separation{"tables.sh", "hub-tables.toml", "spoke-tables.toml", [2]string{"table 101", "table 102"}, [2]string{"red0", "blue0"}}

var byVRFs = separation{"vrf.sh", "hub.toml", "spoke.toml", [2]string{"vrf red", "vrf blue"}, [2]string{"red", "blue"}}

// A customer has one of the clouds.
type customer struct {
	tunnel, lan string // devices of every site
	routes      string
	bound       string
	hosts       []*lab.Node // 0 is the hub's
	port        int         // of what is sent to these hosts, by IPv4; by IPv6 the next one
}

// customers are two clouds with the same addresses and prefixes.
type customers struct {
	*cloud.Cloud
	t         *testing.T
	sites     []*lab.Node // 0 is the hub
	red, blue *customer
}

// versions are those of IP that both carry.
var versions = []int{4, 6}

// apart builds the clouds; no daemon runs yet.
//
//	host0 ── lan ┐                                      ┌ lan ── host1, host2
//	             hub ═══ one underlay address each ═══ spoke1, spoke2
//	blue0 ── lan-blue ┘                                 └ lan-blue ── blue1, blue2
func (m mode) apart(t *testing.T, by separation) *customers {
	t.Helper()
	c := m.build(t, cloud.Options{Spokes: 2, Inside: versions})
	x := &customers{Cloud: c, t: t, sites: []*lab.Node{c.Hub, c.Spokes[0], c.Spokes[1]}}
	x.red = &customer{"red0", cloud.LAN, by.routes[0], by.bound[0], []*lab.Node{c.HubHost, c.Hosts[0], c.Hosts[1]}, 4000}
	x.blue = &customer{"blue0", "lan-blue", by.routes[1], by.bound[1], nil, 5000}
	for n, site := range x.sites {
		host := c.Node(fmt.Sprint("blue", n))
		c.Wire(&lab.Wire{
			A: lab.End{Node: site.Name, Device: x.blue.lan, Address: cloud.Gateway(n).String() + "/24"},
			B: lab.End{Node: host.Name, Device: "eth0", Address: cloud.Host(n).String() + "/24"},
		})
		site.Address(x.blue.lan, cloud.GatewayOf(6, n).String()+"/64")
		host.Address("eth0", cloud.HostOf(6, n).String()+"/64")
		host.Route(cloud.Gateway(n).String(), "default")
		host.Route(cloud.GatewayOf(6, n).String(), "::/0")
		x.blue.hosts = append(x.blue.hosts, host)
		x.configure(n, by, m)
	}
	check(t, c.Err())
	for n, site := range x.sites {
		_, err := site.Run(t.Context(), "env", fmt.Sprint("GATEWAY=", cloud.InternetOf(cloud.NBMAOf(4, n))),
			fmt.Sprint("LAN=", cloud.NetworkOf(4, n)), fmt.Sprint("LAN6=", cloud.NetworkOf(6, n)),
			"sh", filepath.Join(tree, vrfExamples, by.script))
		check(t, err)
	}
	return x
}

// withIPv6 are the examples' lines that want a second family.
var withIPv6 = regexp.MustCompile(`(?m)^(address|networks|routes) = .*$`)

var inClear = regexp.MustCompile(`(?m)^\[tunnel\.\w+\.ipsec\]\n(\S.*\n)+`)

// configure gives site n the example's file and a key for each cloud.
func (x *customers) configure(n int, by separation, m mode) {
	x.t.Helper()
	site, file := x.sites[n], by.hub
	if n > 0 {
		file = by.spoke
	}
	content, err := os.ReadFile(filepath.Join(tree, vrfExamples, file))
	check(x.t, err)
	text := withIPv6.ReplaceAllStringFunc(string(content), func(line string) string {
		key, _, _ := strings.Cut(line, " = ")
		return key + " = " + map[string]string{
			"address":  fmt.Sprintf(`["%v/24", "%v/64"]`, cloud.TunnelOf(4, n), cloud.TunnelOf(6, n)),
			"networks": fmt.Sprintf(`["%v", "%v"]`, cloud.NetworkOf(4, n), cloud.NetworkOf(6, n)),
			"routes":   `["10.10.0.0/16", "fd10::/16"]`,
		}[key]
	})
	text = strings.NewReplacer("192.0.2.2", cloud.HubNBMA().String(), "spoke1.", site.Name+".", "/etc/dmvpn", site.Dir).Replace(text)
	if !m.encrypted {
		text = strings.ReplaceAll(inClear.ReplaceAllString(text, ""), "\nkey = ", "\nprotection = \"none\"\nkey = ")
	}
	text = strings.ReplaceAll(text, "\nkey = ", "\nidle = \"8s\"\nidle-bytes = 400\nkey = ")
	x.Settings(site.Name).Text = "[daemon]\nlog-level = \"debug\"\n\n" + text
	for _, name := range []string{"red", "blue"} {
		check(x.t, os.WriteFile(filepath.Join(site.Dir, name+".psk"), []byte("the key that "+name+"'s members share\n"), 0o600))
	}
}

const vrfExamples = "docs/examples/vrf"

// TestEveryExampleOfVRFsIsRun: none lies there that these tests do not run, or the page does not name.
func TestEveryExampleOfVRFsIsRun(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(tree, "docs/vrf.md"))
	check(t, err)
	examples, err := os.ReadDir(filepath.Join(tree, vrfExamples))
	check(t, err)
	for _, e := range examples {
		if name := e.Name(); !slices.Contains([]string{byTables.script, byTables.hub, byTables.spoke, byVRFs.script, byVRFs.hub, byVRFs.spoke}, name) || !strings.Contains(string(page), "/"+name+")") {
			t.Errorf("%s is not run, or docs/vrf.md does not name it", name)
		}
	}
}

// registered is nil when both spokes are by a customer's tunnel, and the hub has their networks.
func (x *customers) registered(u *customer) error {
	for n := 1; n <= 2; n++ {
		spoke := x.sites[n].Name
		tunnel, err := x.Tunnel(x.t.Context(), spoke, u.tunnel)
		if err == nil && (tunnel.NHS == 0 || tunnel.NHSUp < tunnel.NHS) {
			err = fmt.Errorf("%s: %s: %d of %d servers answer", spoke, u.tunnel, tunnel.NHSUp, tunnel.NHS)
		}
		for _, version := range versions {
			if err == nil {
				err = x.routed("hub", u, version, n)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// routed is nil when a node has a route of ours to site n, by the customer's tunnel and to that site.
func (x *customers) routed(node string, u *customer, version, n int) error {
	out, err := x.ip(node, version, "route show %s %v proto 54", u.routes, cloud.NetworkOf(version, n))
	if want := fmt.Sprintf("via %v dev %s", cloud.TunnelOf(version, n), u.tunnel); err == nil && !strings.Contains(out, want) {
		err = fmt.Errorf("%s: %s: no route to %v %s: %q", node, u.routes, cloud.NetworkOf(version, n), want, out)
	}
	return err
}

// direct is nil when spoke1 has a customer's shortcut to spoke2, of either version.
func (x *customers) direct(u *customer) error {
	list, err := x.Shortcuts(x.t.Context(), "spoke1")
	if err != nil {
		return err
	}
	for _, version := range versions {
		found := false
		for _, s := range list {
			found = found || s.Tunnel == u.tunnel && s.Prefix == cloud.NetworkOf(version, 2)
		}
		if !found {
			return fmt.Errorf("no shortcut of %s to %v among %v", u.tunnel, cloud.NetworkOf(version, 2), list)
		}
		if err := x.routed("spoke1", u, version, 2); err != nil {
			return err
		}
	}
	return nil
}

// ip runs it on a node, for a version of IP.
func (x *customers) ip(node string, version int, format string, args ...any) (string, error) {
	words := strings.Fields(fmt.Sprintf(format, args...))
	return x.Get(node).Run(x.t.Context(), "ip", append([]string{fmt.Sprint("-", version)}, words...)...)
}

// strangers watches every host's wire until the test ends, and fails it for packets of the
// other customer's.
func (x *customers) strangers() {
	x.t.Helper()
	for _, u := range []*customer{x.red, x.blue} {
		for _, host := range u.hosts {
			capture, err := host.Capture("eth0", func(f lab.Frame) bool {
				port := destinationPort(f.Data[min(len(f.Data), 14):])
				return (port/1000 == 4 || port/1000 == 5) && port/1000 != u.port/1000
			})
			check(x.t, err)
			x.t.Cleanup(func() {
				if seen := capture.Close(); len(seen) > 0 {
					x.t.Errorf("%s, of %s, saw %d packets of the other's: % x", host.Name, u.tunnel, len(seen), seen[0].Data)
				}
			})
		}
	}
}

// destinationPort is that of a UDP packet, or of the one that an ICMP error quotes; 0: neither.
func destinationPort(ip []byte) int {
	const icmp, udp, icmp6 = 1, 17, 58
	var protocol byte
	var body []byte
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4:
		protocol, body = ip[9], ip[min(len(ip), int(ip[0]&0xf)*4):]
	case len(ip) >= 40 && ip[0]>>4 == 6:
		protocol, body = ip[6], ip[40:]
	}
	switch {
	case len(body) < 8:
	case protocol == udp:
		return int(binary.BigEndian.Uint16(body[2:]))
	case protocol == icmp && (body[0] == 3 || body[0] == 11), protocol == icmp6 && body[0] < 128:
		return destinationPort(body[8:])
	}
	return 0
}

// stream sends to another of the customer's hosts.
func (x *customers) stream(u *customer, version, from, to int) returnFlow {
	x.t.Helper()
	port := u.port + 10*from
	if version == 6 {
		port++
	}
	s, err := u.hosts[from].Stream(u.hosts[to], netip.AddrPortFrom(cloud.HostOf(version, to), uint16(port)), 20, 300)
	check(x.t, err)
	return returnFlow{[2]string{u.hosts[from].Name, u.hosts[to].Name}, s}
}
