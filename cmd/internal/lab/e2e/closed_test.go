// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/nhrpd/wire"
)

// marker is in what is injected.
const marker = "injected from outside"

// An outer packet of GRE that an attacker makes.
type forged struct {
	from, to netip.Addr
	options  []byte
	protocol uint16 // GRE's
	key      bool
	inner    []byte
}

// packets gives the packet, in fragments of so many octets; 0: whole.
func (f forged) packets(id uint16, fragment int) (all [][]byte) {
	gre := binary.BigEndian.AppendUint16(nil, 0)
	gre = binary.BigEndian.AppendUint16(gre, f.protocol)
	if f.key {
		gre[0] = 0x20
		gre = binary.BigEndian.AppendUint32(gre, 42)
	}
	gre = append(gre, f.inner...)
	if fragment == 0 {
		fragment = len(gre)
	}
	const more = 0x2000
	for at := 0; at < len(gre); at += fragment {
		part := gre[at:min(at+fragment, len(gre))]
		flags := uint16(at / 8)
		if at+len(part) < len(gre) {
			flags |= more
		}
		all = append(all, ipv4(f.from, f.to, 47, id, flags, f.options, part))
	}
	return all
}

// ipv4 makes a packet; a raw socket fills in length and checksum of an outer one.
func ipv4(from, to netip.Addr, protocol byte, id, flags uint16, options, payload []byte) []byte {
	h := make([]byte, 20, 20+len(options)+len(payload))
	h[0] = 0x40 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(options)+len(payload)))
	binary.BigEndian.PutUint16(h[4:], id)
	binary.BigEndian.PutUint16(h[6:], flags)
	h[8], h[9] = 64, protocol
	copy(h[12:], from.AsSlice())
	copy(h[16:], to.AsSlice())
	h = append(h, options...)
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum))
	return append(h, payload...)
}

// datagram is UDP with the marker, without a checksum.
func datagram(from, to netip.Addr) []byte {
	payload := []byte(strings.Repeat(marker+" ", 20))
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, 4444)
	binary.BigEndian.PutUint16(h[2:], 4000)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	return ipv4(from, to, 17, 7, 0, nil, append(h, payload...))
}

// TestGREInClearFromOutsideIsDropped, whatever it looks like, at hub and spoke, and counted;
// nothing of it comes to the tunnel or a LAN, and a registration in clear has no effect.
func TestGREInClearFromOutsideIsDropped(t *testing.T) {
	t.Parallel()
	c := build(t, cloud.Options{Spokes: 2, Protected: true})
	ctx := t.Context()
	var sent []*lab.Capture // what our daemons let out in clear
	for _, n := range slices.Concat([]*lab.Node{c.Hub}, c.Spokes) {
		capture, err := n.Capture(cloud.Underlay, func(f lab.Frame) bool {
			_, _, gre := lab.GRE(f.Data)
			return gre && f.Outgoing
		})
		check(t, err)
		sent = append(sent, capture)
	}
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[0], 0)
	const forgedAddress = "10.0.0.77"
	nhrp, err := (&wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, Type: wire.RegistrationRequest, HopCount: 16, RequestID: 7, SourceNBMA: cloud.NBMA(1),
		SourceProtocol: netip.MustParseAddr(forgedAddress), DestinationProtocol: cloud.HubTunnel(),
		CIEs: []wire.CIE{{PrefixLength: wire.HostPrefix, HoldingTime: 7200}},
	}).Marshal()
	check(t, err)
	stranger := netip.MustParseAddr("203.0.113.66")
	for _, target := range []struct {
		node      *lab.Node
		nbma      netip.Addr
		host      *lab.Node
		address   netip.Addr
		peer, lan netip.Addr
	}{
		{c.Hub, cloud.HubNBMA(), c.HubHost, cloud.Host(0), cloud.NBMA(1), cloud.Host(1)},
		{c.Spokes[0], cloud.NBMA(1), c.Hosts[0], cloud.Host(1), cloud.HubNBMA(), cloud.Host(0)},
	} {
		marked := func(f lab.Frame) bool { return bytes.Contains(f.Data, []byte(marker)) }
		var inside []*lab.Capture
		for _, where := range []struct {
			node   *lab.Node
			device string
		}{{target.node, cloud.Device}, {target.node, cloud.LAN}, {target.host, "eth0"}} {
			capture, err := where.node.Capture(where.device, marked)
			check(t, err)
			inside = append(inside, capture)
		}
		data := datagram(target.lan, target.address)
		const ip, toNHRP = 0x0800, 0x2001
		for _, s := range []struct {
			name     string
			packet   forged
			fragment int
			reason   string
		}{
			{"from a peer", forged{from: target.peer, protocol: ip, key: true, inner: data}, 0, "cleartext"},
			{"from a stranger", forged{from: stranger, protocol: ip, key: true, inner: data}, 0, "cleartext"},
			{"with IP options", forged{from: target.peer, options: []byte{1, 1, 1, 1}, protocol: ip, key: true, inner: data}, 0, "cleartext"},
			{"in fragments", forged{from: target.peer, protocol: ip, key: true, inner: data}, 200, "cleartext"},
			{"in fragments with IP options", forged{from: target.peer, options: []byte{1, 1, 1, 0}, protocol: ip, key: true, inner: data}, 200, "cleartext"},
			{"without the key", forged{from: target.peer, protocol: ip, inner: data}, 0, "unknown-tunnel"},
			{"NHRP from a peer", forged{from: target.peer, protocol: toNHRP, key: true, inner: nhrp}, 0, "cleartext"},
			{"NHRP from a stranger in fragments", forged{from: stranger, protocol: toNHRP, key: true, inner: nhrp}, 48, "cleartext"},
		} {
			const times = 5
			before := dropped(t, c, target.node.Name)[s.reason]
			for i := range times {
				s.packet.to = target.nbma
				check(t, c.Internet.Forge(s.packet.packets(uint16(100+i), s.fragment)...))
			}
			until(t, c, patience, func() error {
				if n := dropped(t, c, target.node.Name)[s.reason] - before; n != times {
					return fmt.Errorf("%s, %s: %d of %d are counted as %s", target.node.Name, s.name, n, times, s.reason)
				}
				return nil
			})
		}
		for _, capture := range inside {
			if frames := capture.Close(); len(frames) > 0 {
				t.Errorf("%s: %d packets in clear came in, the first % x", target.node.Name, len(frames), frames[0].Data)
			}
		}
	}
	out, err := c.Dmvpn(ctx, "hub", "show", "ip", "nhrp")
	check(t, err)
	if strings.Contains(out, forgedAddress) {
		t.Errorf("a registration in clear is in the hub's cache:\n%s", out)
	}
	ping(t, c.Hosts[0], 0)
	ping(t, c.Hosts[1], 1)
	for _, capture := range sent {
		if frames := capture.Close(); len(frames) > 0 {
			t.Errorf("%d packets left in clear", len(frames))
		}
	}
}

// TestAWrongKeyLetsNobodyIn: no registration, no packet, nothing in clear; with the right
// key all is well.
func TestAWrongKeyLetsNobodyIn(t *testing.T) {
	t.Parallel()
	wrong := filepath.Join(t.TempDir(), "psk")
	check(t, os.WriteFile(wrong, []byte("a key that nobody shares\n"), 0o600))
	right := ""
	c := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke2" {
			right, s.Tunnels[0].IPsec.PSKFile = s.Tunnels[0].IPsec.PSKFile, wrong
		}
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.Registered(ctx, "spoke1") })
	until(t, c, patience, func() error {
		for _, node := range []string{"hub", "spoke2"} {
			if !strings.Contains(c.Log(node, 1000), "AUTHENTICATION_FAILED") && !strings.Contains(c.Log(node, 1000), "authentication failed") {
				return fmt.Errorf("%s: the log does not say that authentication failed", node)
			}
		}
		return nil
	})
	for range 10 {
		if _, err := c.Hosts[1].Ping(cloud.Host(0), 0, 50*time.Millisecond); err == nil {
			t.Error("a packet came through with a wrong key")
		}
	}
	if c.Registered(ctx, "spoke2") == nil {
		t.Error("spoke2 is registered with a wrong key")
	}
	ping(t, c.Hosts[0], 0)
	c.Settings("spoke2").Tunnels[0].IPsec.PSKFile = right
	check(t, c.Stop(ctx, "spoke2"))
	check(t, c.Start("spoke2"))
	check(t, c.Ready(ctx, "spoke2"))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[1], 0)
}

// TestNothingGoesInClearWithoutIKE: a firewall holds IKE back from the first instant, and
// again when all is up; what hosts send meanwhile does not come out.
func TestNothingGoesInClearWithoutIKE(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].IPsec.DPD = 2 * time.Second }})
	ctx := t.Context()
	spoke := c.Spokes[0]
	block := func() {
		t.Helper()
		for _, args := range []string{"add table inet block", "add chain inet block out { type filter hook output priority 0 ; }",
			"add rule inet block out udp dport { 500, 4500 } drop"} {
			_, err := spoke.Run(ctx, "nft", strings.Fields(args)...)
			check(t, err)
		}
	}
	unblock := func() {
		t.Helper()
		_, err := spoke.Run(ctx, "nft", "delete", "table", "inet", "block")
		check(t, err)
	}
	silent := func(when string) {
		t.Helper()
		for range 20 {
			if _, err := c.Hosts[0].Ping(cloud.Host(0), 0, 50*time.Millisecond); err == nil {
				t.Errorf("%s: a packet came through", when)
			}
		}
	}
	block()
	check(t, c.StartAll(ctx))
	silent("before IKE could begin")
	unblock()
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[0], 0)
	block()
	silent("IKE and ESP are blocked")
	unblock()
	until(t, c, 2*patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(0), 0, 500*time.Millisecond)
		return err
	})
	// An orderly stop takes the SAs along.
	check(t, c.Stop(ctx, "spoke1"))
	silent("the daemon is stopped")
	check(t, c.Start("spoke1"))
	check(t, c.Ready(ctx, "spoke1"))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	until(t, c, patience, func() error { // it is registered from before, its SA may be on its way
		_, err := c.Hosts[0].Ping(cloud.Host(0), 0, 500*time.Millisecond)
		return err
	})
}

// TestAWithdrawnRouteLeadsNowhere: what a routing daemon withdraws, or a device that goes
// down, does not make packets follow the default route.
func TestAWithdrawnRouteLeadsNowhere(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 1})
	ctx := t.Context()
	spoke := c.Spokes[0]
	ping(t, c.Hosts[0], 0)
	const sites = "10.10.0.0/16"
	refused := func(when string) {
		t.Helper()
		for range 10 {
			if _, err := c.Hosts[0].Ping(cloud.Host(0), 0, 50*time.Millisecond); err == nil {
				t.Errorf("%s: a packet came through", when)
			}
		}
	}
	route, err := spoke.Run(ctx, "ip", "route", "show", sites, "proto", "54")
	check(t, err)
	if !strings.Contains(route, cloud.Device) || !strings.Contains(route, "unreachable") {
		t.Fatalf("the routes to %s are %s", sites, route)
	}
	_, err = spoke.Run(ctx, "ip", "route", "del", sites, "dev", cloud.Device)
	check(t, err)
	refused("the route is withdrawn")
	_, err = spoke.Run(ctx, "ip", "route", "add", sites, "via", cloud.HubTunnel().String(), "dev", cloud.Device, "onlink")
	check(t, err)
	ping(t, c.Hosts[0], 0)
	_, err = spoke.Run(ctx, "ip", "link", "set", cloud.Device, "down")
	check(t, err)
	refused("the device is down")
	_, err = spoke.Run(ctx, "ip", "link", "set", cloud.Device, "up")
	check(t, err)
	_, err = spoke.Run(ctx, "ip", "route", "replace", sites, "via", cloud.HubTunnel().String(), "dev", cloud.Device, "onlink")
	check(t, err)
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(0), 0, 500*time.Millisecond)
		return err
	})
}

// TestWhatWasRegisteredLeadsNowhereAfterwards: the hub knows a site's prefix only from its
// registration; when that ends, and when the hub itself is torn down, packets to the site do
// not follow the hub's default route.
func TestWhatWasRegisteredLeadsNowhereAfterwards(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	nowhere := func(when string, n int) {
		t.Helper()
		for range 10 {
			if _, err := c.HubHost.Ping(cloud.Host(n), 0, 50*time.Millisecond); err == nil {
				t.Errorf("%s: a packet came through", when)
			}
		}
	}
	ping(t, c.HubHost, 1)
	check(t, c.Teardown(ctx, "spoke1"))
	until(t, c, patience, func() error {
		routes, err := c.Routes("hub")
		for _, r := range routes {
			if r.Prefix == cloud.Network(1) && r.NextHop.IsValid() {
				err = fmt.Errorf("the hub still routes to %v", r.Prefix)
			}
		}
		return err
	})
	nowhere("the spoke has left", 1)
	ping(t, c.HubHost, 2)
	check(t, c.Teardown(ctx, "hub"))
	nowhere("the hub is torn down", 1)
	nowhere("the hub is torn down", 2)
}

// TestADaemonThatCannotStartLeavesNoWayInClear: its underlay device is missing, and it is
// the first start.
func TestADaemonThatCannotStartLeavesNoWayInClear(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 1, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke1" {
			s.Tunnels[0].Underlay = "eth9"
		}
	}})
	ctx := t.Context()
	check(t, c.Start("spoke1"))
	status, err := c.Daemon("spoke1").Wait(ctx)
	if err != nil || status == 0 {
		t.Fatalf("the daemon ended with %d, %v", status, err)
	}
	for range 10 {
		_, _ = c.Hosts[0].Ping(cloud.Host(0), 0, 50*time.Millisecond)
	}
	_, err = c.Dmvpn(ctx, "spoke1", "teardown", "--release")
	check(t, err)
	if out, err := c.Spokes[0].Run(ctx, "ip", "route", "show", "type", "unreachable"); err != nil || out != "" {
		t.Errorf("released, and there is %s, %v", out, err)
	}
}

// TestASecondClaimToAnIdentityIsRefused while the first one answers, and said; the owner's
// traffic does not notice. When the owner has died, the claim is taken.
func TestASecondClaimToAnIdentityIsRefused(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke2" {
			s.Tunnels[0].IPsec.Identity = "spoke1.example.net"
		}
	}})
	ctx := t.Context()
	for _, node := range []string{"hub", "spoke1"} {
		check(t, c.Start(node))
		check(t, c.Ready(ctx, node))
	}
	until(t, c, patience, func() error { return errors.Join(c.Registered(ctx, "spoke1"), c.Routed("hub", cloud.Network(1))) })
	stream, err := c.HubHost.Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 500, 200)
	check(t, err)
	check(t, c.Start("spoke2"))
	check(t, c.Ready(ctx, "spoke2"))
	until(t, c, patience, func() error {
		if !strings.Contains(c.Log("hub", 1000), "spoke1.example.net is claimed from 198.18.2.1") {
			return errors.New("hub: the log does not name the second claim")
		}
		return nil
	})
	spotless(t, "to the identity's owner", stream.Stop())
	if c.Registered(ctx, "spoke2") == nil {
		t.Error("the second claim to an identity is registered")
	}
	check(t, c.Kill(ctx, "spoke1"))
	until(t, c, 2*time.Minute, func() error { return c.Registered(ctx, "spoke2") })
	ping(t, c.Hosts[1], 0)
}
