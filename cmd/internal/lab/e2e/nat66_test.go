// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestNATsOfIPv6: an underlay of IPv6 whose NATs give everybody another port. Who is behind one is
// found out: with raw ESP wanted by all, only they have ESP in UDP. The tunnel carries IPv4 and IPv6.
//
//	              hub 2001:db8::1
//	             ╱       │        ╲
//	spoke1 2001:db8:1::1 │         nat2 2001:db8:1902::1
//	                     │           │
//	       nat1 2001:db8:1901::1   spoke4 fc00:0:2::4
//	        ╱            ╲
//	spoke2 fc00:0:1::2   spoke3 fc00:0:1::3
func TestNATsOfIPv6(t *testing.T) {
	t.Parallel()
	no := false
	c := guarded(t, cloud.Options{
		Spokes: 4, Inside: []int{4, 6}, Over: overIPv6, NATs: []cloud.NAT{{Spokes: []int{2, 3}, Ports: lab.OtherPorts}, {Spokes: []int{4}, Ports: lab.OtherPorts}},
		Settings: func(_ string, s *cloud.Settings) {
			s.Tunnels[0].IPsec.Lines, s.Tunnels[0].MSSClamp = []string{`encapsulation = "raw"`, `keepalive = "1s"`}, &no
		},
	})
	ctx := t.Context()
	kept, err := c.NATs[0].Capture(cloud.Underlay, func(f lab.Frame) bool {
		const udp, keepalive = 14 + 40, 0xff // RFC 3948, section 2.3
		return f.Outgoing && len(f.Data) == udp+8+1 && f.Data[udp+8] == keepalive
	})
	check(t, err)
	places := map[netip.AddrPort]bool{}
	for n, k := range []int{1: 0, 2: 1, 3: 1, 4: 2} {
		if n == 0 {
			continue
		}
		s, err := c.Secured(ctx, "hub", fmt.Sprint("spoke", n))
		check(t, err)
		places[s.Remote] = true
		at := cloud.NBMAOf(6, n)
		if k > 0 {
			at = cloud.NATAddressOf(6, k)
		}
		if translated := k > 0; s.Remote.Addr() != at || s.NATRemote != translated || s.NATLocal || s.Children[0].Encapsulation != translated {
			t.Errorf("the hub has spoke%d, behind NAT %d, as %+v", n, k, s)
		}
		if k > 0 && (s.Remote.Port() < 5500 || s.Remote.Port() > 5599) {
			t.Errorf("NAT %d left spoke%d its port: %v", k, n, s.Remote)
		}
	}
	if len(places) != 4 {
		t.Errorf("four spokes are at %v", places)
	}
	check(t, c.Ask(ctx, "hub", func(ctx context.Context, client *control.Client) error {
		peers, err := client.Peers(ctx)
		ids := map[uint32]bool{}
		for _, p := range peers {
			ids[p.ID] = p.Kind == control.PeerRegistered
		}
		if err == nil && len(ids) != 4 {
			err = fmt.Errorf("the hub has the peers %+v", peers)
		}
		return err
	}))
	for _, p := range []struct {
		name     string
		from, to int
		at       netip.Addr // where from has to
	}{
		{"a public spoke asks for one behind a NAT", 1, 2, cloud.NATAddressOf(6, 1)},
		{"one behind a NAT asks for a public spoke", 3, 1, cloud.NBMAOf(6, 1)},
		{"behind one NAT, by the private addresses", 2, 3, cloud.PrivateOf(6, 1, 3)},
		{"behind two NATs", 2, 4, cloud.NATAddressOf(6, 2)},
	} {
		stream, err := c.Hosts[p.from-1].Stream(c.Hosts[p.to-1], netip.AddrPortFrom(cloud.Host(p.to), uint16(4000+10*p.from+p.to)), 200, 200)
		check(t, err)
		until(t, c, patience, func() error { return shortened(c, t, p.from, p.to) })
		spotless(t, p.name, stream.Stop())
		s, err := c.Secured(ctx, fmt.Sprint("spoke", p.from), fmt.Sprint("spoke", p.to))
		check(t, err)
		if s.Remote.Addr() != p.at {
			t.Errorf("%s: it is at %v, expected %v", p.name, s.Remote, p.at)
		}
	}
	for _, p := range [][2]int{{2, 1}, {2, 3}, {4, 3}} { // IPv6 inside, which has resolutions of its own
		until(t, c, patience, func() error {
			path, err := c.Hosts[p[0]-1].Trace(ctx, cloud.HostOf(6, p[1]))
			if err == nil && len(path) != shortWay {
				err = fmt.Errorf("host%d to host%d: %v", p[0], p[1], path)
			}
			return err
		})
	}
	narrowBehindNAT66(t, c)
	until(t, c, patience, func() error { // of two spokes, each
		ports := map[[2]byte]bool{}
		for _, f := range kept.Frames() {
			ports[[2]byte(f.Data[14+40:])] = true
		}
		if len(ports) < 2 {
			return fmt.Errorf("the mappings of %d spokes are kept", len(ports))
		}
		return nil
	})
	kept.Close()
}

// narrowBehindNAT66: the Internet takes 1390 octets only, from now on, and the NAT hands on what it
// says of it. TCP goes on both ways, and the hosts hear of it.
func narrowBehindNAT66(t *testing.T, c *cloud.Cloud) {
	const path = 1390
	ctx := t.Context()
	toHub, err := c.Hosts[1].Talk(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4101))
	check(t, err)
	toSpoke, err := c.HubHost.Talk(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4102))
	check(t, err)
	more := func() { t.Helper(); moreBlocks(t, c, toHub, toSpoke) }
	more()
	for device, nbma := range map[string]netip.Addr{"hub": cloud.NBMAOf(6, 0), "nat1": cloud.NATAddressOf(6, 1)} {
		_, err := c.Internet.Run(ctx, "ip", "route", "replace", netip.PrefixFrom(nbma, 64).Masked().String(), "dev", device,
			"proto", "kernel", "metric", "256", "mtu", "lock", fmt.Sprint(path))
		check(t, err)
	}
	more()
	for from, to := range map[string]netip.Addr{"host2": cloud.Host(0), "host0": cloud.Host(2)} {
		until(t, c, patience, func() error {
			route, err := c.Get(from).Run(ctx, "ip", "route", "get", to.String())
			if mtu := field(route, "mtu"); err == nil && (mtu == 0 || mtu >= path || mtu < 1280) {
				err = fmt.Errorf("%s was not told of the path: %s", from, route)
			}
			return err
		})
	}
	if a, b := toHub.Stop(), toSpoke.Stop(); a.Err != nil || b.Err != nil {
		t.Errorf("TCP: %v", errors.Join(a.Err, b.Err))
	}
}

// field is the number behind a word in a line of ip's; 0: it is not there.
func field(line, word string) (n int) {
	words := strings.Fields(line)
	for i := 0; i+1 < len(words); i++ {
		if words[i] == word {
			_, _ = fmt.Sscan(words[i+1], &n)
		}
	}
	return n
}
