// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
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
		all = append(all, lab.IPv4{From: f.from, To: f.to, Protocol: 47, ID: id, Fragment: flags, Options: f.options}.Packet(part))
	}
	return all
}

// datagram is UDP with the marker, without a checksum.
func datagram(from, to netip.Addr) []byte {
	payload := []byte(strings.Repeat(marker+" ", 20))
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, 4444)
	binary.BigEndian.PutUint16(h[2:], 4000)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	return lab.IPv4{From: from, To: to, Protocol: 17, ID: 7}.Packet(append(h, payload...))
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

// TestGREInClearWhileTheDaemonIsAway: nor does any come in while the hub's daemon is dead, stopped, or
// torn down with everything that it had; what the program sees whole is counted meanwhile.
func TestGREInClearWhileTheDaemonIsAway(t *testing.T) {
	t.Parallel()
	const times, ip = 5, 0x0800
	c := build(t, cloud.Options{Spokes: 1, Protected: true})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[0], 0)
	var inside []*lab.Capture
	for _, where := range []struct {
		node   *lab.Node
		device string
	}{{c.Hub, cloud.LAN}, {c.HubHost, "eth0"}} {
		capture, err := where.node.Capture(where.device, func(f lab.Frame) bool { return bytes.Contains(f.Data, []byte(marker)) })
		check(t, err)
		inside = append(inside, capture)
	}
	from := forged{from: cloud.NBMA(1), to: cloud.HubNBMA(), protocol: ip, key: true, inner: datagram(cloud.Host(1), cloud.Host(0))}
	options := from
	options.options = []byte{1, 1, 1, 1}
	for _, away := range []struct {
		name string
		end  func() error
		last bool
	}{
		{"killed", func() error { return c.Kill(ctx, "hub") }, false},
		{"stopped", func() error { return c.Stop(ctx, "hub") }, false},
		{"torn down", func() error { return c.Teardown(ctx, "hub") }, true},
	} {
		before := dropped(t, c, "hub")["cleartext"]
		check(t, away.end())
		came, err := c.Hub.Capture(cloud.Underlay, func(f lab.Frame) bool {
			_, _, gre := lab.GRE(f.Data)
			return gre && !f.Outgoing
		})
		check(t, err)
		for i := range times {
			id := uint16(100 + 3*i)
			check(t, c.Internet.Forge(slices.Concat(from.packets(id, 0), options.packets(id+1, 0), from.packets(id+2, 200))...))
		}
		until(t, c, patience, func() error {
			if n := len(came.Frames()); n < 4*times { // those in fragments are two at least
				return fmt.Errorf("%s: %d frames have come to the hub", away.name, n)
			}
			return nil
		})
		came.Close()
		for _, capture := range inside {
			_, err := capture.Settle(patience)
			check(t, err)
			if frames := capture.Frames(); len(frames) > 0 {
				t.Fatalf("%s: %d packets in clear came in, the first % x", away.name, len(frames), frames[0].Data)
			}
		}
		check(t, c.Start("hub"))
		check(t, c.Ready(ctx, "hub"))
		if n := dropped(t, c, "hub")["cleartext"] - before; !away.last && n < times {
			t.Errorf("%s: %d of %d packets are counted", away.name, n, times)
		}
		until(t, c, patience, func() error { return c.AllRegistered(ctx) })
		until(t, c, patience, func() error {
			_, err := c.Hosts[0].Ping(cloud.Host(0), 0, time.Second)
			return err
		})
	}
	for _, capture := range inside {
		if frames := capture.Close(); len(frames) > 0 {
			t.Errorf("%d packets in clear came in, the first % x", len(frames), frames[0].Data)
		}
	}
}
