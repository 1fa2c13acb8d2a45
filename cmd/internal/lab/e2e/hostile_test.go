// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/member"
	"dmvpn/nhrpd/wire"
)

// TestHostileNHRP: spoke3 runs no daemon of ours, and says what is not true, to everyone: encrypted as the
// member that it is, in an SA with each, and in clear. What spoke1 and spoke2 send each other, and what
// the hub's site sends them, loses nothing, and the hub has them where they were.
//
//	host1 ── spoke1 ════════ spoke2 ── host2
//	             ╲          ╱
//	      host0 ── hub ── spoke3, the same key
func TestHostileNHRP(t *testing.T) { modes(t, hostileNHRP) }

func hostileNHRP(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 3, Settings: func(node string, s *cloud.Settings) {
		if !m.encrypted && node != "hub" { // without identities this alone keeps an address its owner's
			s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, "unique = true")
		}
	}})
	ctx := t.Context()
	victims := []string{"hub", "spoke1", "spoke2"}
	for _, node := range victims {
		check(t, c.Start(node))
		check(t, c.Ready(ctx, node))
	}
	for n := 1; n <= 2; n++ {
		until(t, c, patience, func() error { return c.Registered(ctx, c.Spokes[n-1].Name) })
		until(t, c, patience, func() error { return c.Routed("hub", cloud.Network(n)) })
		ping(t, c.HubHost, n)
	}
	shortcut(t, c, 1, 2)
	say := adversary(t, c, m)
	before := where(t, c)
	for i, x := range hostile() {
		asked := asksOf(t, c, "spoke1")
		heard := map[string]uint64{}
		for _, node := range victims {
			heard[node] = heardBy(t, c, node)
		}
		direct, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), uint16(4000+2*i)), 500, 200)
		check(t, err)
		byHub, err := c.HubHost.Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), uint16(4001+2*i)), 500, 200)
		check(t, err)
		const rounds = 40
		for round := range rounds {
			for _, nhrp := range x.packets(t, round) {
				check(t, say(nhrp))
			}
			time.Sleep(25 * time.Millisecond) // less in all than one peer may send
		}
		for _, node := range victims {
			until(t, c, patience, func() error {
				if n := heardBy(t, c, node) - heard[node]; n < rounds {
					return fmt.Errorf("%s: %s has heard %d packets", x.name, node, n)
				}
				return nil
			})
		}
		spotless(t, x.name+": the shortcut", direct.Stop())
		spotless(t, x.name+": by the hub", byHub.Stop())
		if now := where(t, c); now != before {
			t.Errorf("%s: the hub had\n%s\nand has\n%s", x.name, before, now)
		}
		if n := asksOf(t, c, "spoke1") - asked; n > 2 { // a path that a busy machine left is asked for again
			t.Errorf("%s: spoke1 has asked %d times", x.name, n)
		}
		until(t, c, patience, func() error { return c.Direct(ctx, "spoke1", cloud.Network(2)) })
		until(t, c, patience, func() error { return c.Direct(ctx, "spoke2", cloud.Network(1)) })
	}
	leads(t, c, c.Hosts[0], cloud.Host(2), directly(4)...)
}

// adversary gives how spoke3 speaks: it is registered, with its own address.
func adversary(t *testing.T, c *cloud.Cloud, m mode) func(nhrp []byte) error {
	t.Helper()
	var say func(nhrp []byte) error
	if m.encrypted {
		x, err := member.Connect(t.Context(), member.Config{
			Node: c.Spokes[2], Local: cloud.NBMA(3), Hub: cloud.HubNBMA(), Others: []netip.Addr{cloud.NBMA(1), cloud.NBMA(2)}, Identity: cloud.Identity("spoke3"),
			KeyFile: c.Settings("spoke3").Tunnels[0].IPsec.PSKFile, Key: 42,
		})
		check(t, err)
		t.Cleanup(x.Close)
		say = x.Send
	} else {
		say = func(nhrp []byte) error {
			var all [][]byte
			for _, to := range []netip.Addr{cloud.HubNBMA(), cloud.NBMA(1), cloud.NBMA(2)} {
				all = append(all, forged{from: cloud.NBMA(3), to: to, protocol: 0x2001, key: true, inner: nhrp}.packets(0, 0)...)
			}
			return c.Spokes[2].Forge(all...)
		}
	}
	until(t, c, patience, func() error {
		check(t, say(octets(t, registering(1, 3))))
		if !slices.ContainsFunc(c.PeerNames(t.Context(), "hub"), func(s string) bool { return strings.Contains(s, cloud.NBMA(3).String()) }) {
			return errNotYet
		}
		return nil
	})
	return say
}

// where is who the hub has at which address, of spoke1 and spoke2, and by whom it reaches their sites.
func where(t *testing.T, c *cloud.Cloud) string {
	t.Helper()
	var list []string
	for _, s := range c.PeerNames(t.Context(), "hub") {
		if !strings.Contains(s, cloud.NBMA(3).String()) {
			list = append(list, s)
		}
	}
	routes, err := c.Routes("hub")
	check(t, err)
	for _, r := range routes {
		if (r.Prefix == cloud.Network(1) || r.Prefix == cloud.Network(2)) && r.NextHop.IsValid() {
			list = append(list, fmt.Sprint(r.Prefix, " by ", r.NextHop))
		}
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// heardBy is how many packets of NHRP have come to a node.
func heardBy(t *testing.T, c *cloud.Cloud, node string) (n uint64) {
	t.Helper()
	counters := countersOf(t, c, node)
	for _, x := range counters.Types {
		n += x.Received
	}
	for _, dropped := range counters.Dropped {
		n += dropped
	}
	return n
}

// An untruth is packets of a kind, some in each round.
type untruth struct {
	name    string
	packets func(t *testing.T, round int) [][]byte
}

func hostile() []untruth {
	own, nbma := cloud.TunnelAddress(3), cloud.NBMA(3)
	one := func(make func(round int) *wire.Packet) func(*testing.T, int) [][]byte {
		return func(t *testing.T, round int) [][]byte { return [][]byte{octets(t, make(round))} }
	}
	id := func(round int) int { return round<<20 + 12345 }
	hijack := func(round int) *wire.Packet {
		p := registering(id(round), 1+round%2)
		if round%4 > 1 {
			p.Flags |= wire.FlagRegistrationUnique
		}
		return p
	}
	answer := func(round int) *wire.Packet {
		p := asking(id(round), 1, cloud.NBMA(1), cloud.Host(2))
		p.Type, p.CIEs = wire.ResolutionReply, []wire.CIE{{PrefixLength: 24, HoldingTime: 7200, Protocol: own, NBMA: nbma}}
		return p
	}
	redirect := func(round int) *wire.Packet {
		to := netip.AddrFrom4([4]byte{10, 10, byte(50 + round), 5})
		return &wire.Packet{
			AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: wire.TrafficIndication,
			SourceNBMA: cloud.HubNBMA(), SourceProtocol: cloud.HubTunnel(), DestinationProtocol: to,
			Contents: lab.IPv4{From: cloud.Host(1), To: to, Protocol: 17}.Packet(make([]byte, 8)),
		}
	}
	purge := func(round int) *wire.Packet {
		p := asking(id(round), 1, nbma, cloud.HubTunnel())
		p.Type, p.CIEs = wire.PurgeRequest, nil
		p.SourceProtocol = []netip.Addr{own, cloud.TunnelAddress(1), cloud.TunnelAddress(2), cloud.HubTunnel()}[round%4]
		p.DestinationProtocol = []netip.Addr{cloud.HubTunnel(), cloud.TunnelAddress(1), cloud.TunnelAddress(2)}[round/4%3]
		for n := 1; n <= 2; n++ {
			p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: 24, Protocol: cloud.Network(n).Addr()}, wire.CIE{PrefixLength: wire.HostPrefix, Protocol: cloud.TunnelAddress(n)})
		}
		return p
	}
	wide := func(round int) *wire.Packet {
		p := registering(id(round), 3)
		prefix := netip.MustParsePrefix([]string{
			"10.0.0.0/8", "10.10.0.0/16", "10.10.0.0/22", "10.10.1.0/24", "10.10.2.0/24", "10.0.0.0/24", "192.0.2.0/24", "198.18.0.0/16",
		}[round%8])
		p.CIEs = []wire.CIE{{PrefixLength: uint8(prefix.Bits()), HoldingTime: 7200, Protocol: prefix.Addr()}}
		return p
	}
	mistaken := func(round int) *wire.Packet {
		about, _ := registering(id(round), 1+round%2).Marshal()
		e := &wire.Packet{
			AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: wire.ErrorIndication,
			SourceNBMA: nbma, SourceProtocol: own, DestinationProtocol: []netip.Addr{cloud.HubTunnel(), cloud.TunnelAddress(1)}[round/2%2],
			ErrorCode: []wire.ErrorCode{wire.ErrorProtocolAddressUnreachable, wire.ErrorAuthenticationFailure, wire.ErrorProtocolError}[round%3], Contents: about,
		}
		if round%4 > 1 { // about an error
			e.Contents, _ = e.Marshal()
		}
		return e
	}
	return []untruth{
		{"others' addresses are registered", one(hijack)},
		{"answers to nothing, of any id", one(answer)},
		{"redirects", one(redirect)},
		{"purges of what is others'", one(purge)},
		{"networks that are others', or wider", one(wide)},
		{"ever new addresses, and questions about ever new ones", func(t *testing.T, round int) [][]byte {
			p := registering(id(round), 100+round)
			q := asking(id(round)+1, 3, nbma, netip.AddrFrom4([4]byte{10, 10, byte(100 + round), 1}))
			return [][]byte{octets(t, p), octets(t, q)}
		}},
		{"questions that have been here", func(t *testing.T, round int) [][]byte {
			p := asking(id(round), 3, nbma, cloud.Host(2))
			record, err := p.NewEntries(wire.ExtensionForwardTransit, wire.CIE{NBMA: cloud.HubNBMA(), Protocol: cloud.HubTunnel()})
			check(t, err)
			p.SetExtension(record)
			spent := asking(id(round)+1, 3, nbma, cloud.Host(2))
			spent.HopCount = 0
			return [][]byte{octets(t, p), octets(t, spent)}
		}},
		{"errors, about errors too", one(mistaken)},
		{"all of them, cut anywhere", func(t *testing.T, round int) [][]byte {
			const size, checksum, header = 10, 12, 20
			make := []func(int) *wire.Packet{hijack, answer, redirect, purge, wide, mistaken}[round%6]
			whole := octets(t, make(round))
			var all [][]byte
			for _, n := range []int{round * 7 % len(whole), (round*7 + len(whole)/2) % len(whole)} {
				cut := slices.Clone(whole[:n])
				if n >= header { // with its size and checksum right, so that more than those are looked at
					binary.BigEndian.PutUint16(cut[size:], uint16(n))
					binary.BigEndian.PutUint16(cut[checksum:], 0)
					binary.BigEndian.PutUint16(cut[checksum:], wire.Checksum(cut))
				}
				all = append(all, cut)
			}
			return all
		}},
	}
}

// registering is a registration by spoke3 of a spoke's address.
func registering(n, spoke int) *wire.Packet {
	return &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: wire.RegistrationRequest, RequestID: uint32(n),
		SourceNBMA: cloud.NBMA(3), SourceProtocol: cloud.TunnelAddress(spoke), DestinationProtocol: cloud.HubTunnel(),
		CIEs: []wire.CIE{{PrefixLength: wire.HostPrefix, HoldingTime: 7200}},
	}
}
