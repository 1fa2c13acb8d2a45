// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// IPv6 inside: the peers of the tables have the next hops fd00::1 to fd00::8 as well.

const lan6 = "fd10:0:1::5" // a host behind this router

// newWorld6 is a world whose tunnel carries IPv6 too.
func newWorld6(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	allow6(t, "dmvpn0")
	address6(t, "dmvpn0", "fd00::9/64")
	for id := range uint32(lastPeer) {
		n := net.ParseIP("fd00::")
		n[15] = byte(id + 1)
		k := DmvpnNexthopKey{TunnelIfindex: uint32(w.tunnel)}
		copy(k.Nexthop.Octet[:], n)
		must(t, w.maps["dmvpn_nexthop"].Put(k, id+1))
	}
	for to, via := range map[string]string{"fd10:0:2::/48": "fd00::2", "fd10:0:3::/48": "fd00::1", "fd10:0:9::/48": "fd00::99"} {
		route(t, to, via, w.tunnel)
	}
	for to, kind := range map[string]int{"fd66::/16": unix.RTN_UNREACHABLE, "fd10:0:1::/48": unix.RTN_BLACKHOLE} {
		forbid(t, to, kind)
	}
	return w
}

// allow6 switches IPv6 on at a device, and forwarding. A tunnel has no link-local address,
// a LAN needs one to ask for neighbours.
func allow6(t testing.TB, device string) {
	t.Helper()
	mode := "0"
	if strings.HasPrefix(device, "dmvpn") {
		mode = "1"
	}
	for _, s := range [][2]string{
		{device + "/addr_gen_mode", mode}, {device + "/accept_dad", "0"}, {device + "/accept_ra", "0"}, {device + "/disable_ipv6", "0"}, {"all/forwarding", "1"},
	} {
		must(t, os.WriteFile("/proc/sys/net/ipv6/conf/"+s[0], []byte(s[1]), 0))
	}
}

func address6(t testing.TB, device, address string) {
	t.Helper()
	link, err := netlink.LinkByName(device)
	must(t, err)
	a, err := netlink.ParseAddr(address)
	must(t, err)
	a.Flags = unix.IFA_F_NODAD
	must(t, netlink.AddrAdd(link, a))
}

// ip6 is an IPv6 header as hosts write it.
func ip6(source, destination string, next layers.IPProtocol, change ...func(*layers.IPv6)) *layers.IPv6 {
	h := &layers.IPv6{Version: 6, HopLimit: 63, FlowLabel: 0x12345, NextHeader: next, SrcIP: net.ParseIP(source), DstIP: net.ParseIP(destination)}
	for _, c := range change {
		c(h)
	}
	return h
}

func class(v uint8) func(*layers.IPv6) { return func(h *layers.IPv6) { h.TrafficClass = v } }
func older6(h *layers.IPv6)            { h.HopLimit-- }

func udp6(source, destination string, payload int, change ...func(*layers.IPv6)) []byte {
	h := ip6(source, destination, layers.IPProtocolUDP, change...)
	u := &layers.UDP{SrcPort: 4000, DstPort: 5000}
	_ = u.SetNetworkLayerForChecksum(h)
	data := make(gopacket.Payload, payload)
	for i := range data {
		data[i] = byte(i)
	}
	return octets(h, u, data)
}

func syn6(source, destination string, options ...layers.TCPOption) []byte {
	h := ip6(source, destination, layers.IPProtocolTCP)
	s := &layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1, SYN: true, Window: 65535, Options: options}
	_ = s.SetNetworkLayerForChecksum(h)
	return octets(h, s)
}

func toSpoke6(n int, change ...func(*layers.IPv6)) []byte {
	return udp6(lan6, "fd10:0:2::5", n, change...)
}

func fromSpoke6(n int, change ...func(*layers.IPv6)) []byte {
	return udp6("fd10:0:2::5", lan6, n, change...)
}

// gre6 is a GRE header in front of IPv6.
func gre6() *layers.GRE { return gre(key, carries(layers.EthernetTypeIPv6)) }

// sent6 and received6 are a packet inside the headers that go to the spoke, and come from it.
// IPv6 has no id to repeat.
func sent6(inner []byte, change ...func(*layers.IPv4)) []byte {
	return toward6(spokeNBMA, inner, change...)
}

func toward6(nbma string, inner []byte, change ...func(*layers.IPv4)) []byte {
	return wrap(outer(local, nbma, append([]func(*layers.IPv4){id(0)}, change...)...), gre6(), inner)
}

func received6(inner []byte, change ...func(*layers.IPv4)) []byte {
	return wrap(outer(spokeNBMA, local, change...), gre6(), inner)
}

func fallback6(v *DmvpnTunnel) { v.FallbackPeer, v.Fallback6Peer = 0, hub }

var encap6Cases = []packetCase{
	{name: "a packet to a spoke's LAN goes by the next hop of its route",
		packet: toSpoke6(20), to: underlay, out: sent6(toSpoke6(20)), peer: spoke},
	{name: "without a key the GRE header has 4 octets",
		tunnel: noKeyTunnel,
		packet: toSpoke6(20), to: underlay, peer: spoke,
		out: wrap(outer(local, spokeNBMA, id(0)), gre(0, noKey, carries(layers.EthernetTypeIPv6)), toSpoke6(20))},
	{name: "a packet to a peer's own overlay address",
		packet: udp6(lan6, "fd00::1", 20), to: underlay, out: toward6(hubNBMA, udp6(lan6, "fd00::1", 20)), peer: hub},
	{name: "a packet as large as the tunnel's MTU",
		packet: toSpoke6(1352), to: underlay, out: sent6(toSpoke6(1352)), peer: spoke},
	{name: "an IP header alone",
		packet: octets(ip6(lan6, "fd10:0:2::5", 59)), to: underlay, out: sent6(octets(ip6(lan6, "fd10:0:2::5", 59))), peer: spoke},
	{name: "with an underlay mark the kernel routes the outer packet",
		tunnel: func(v *DmvpnTunnel) { v.Mark = 7 },
		packet: toSpoke6(20), to: underlay, out: sent6(toSpoke6(20)), peer: spoke},
	{name: "the traffic class is copied",
		packet: toSpoke6(20, class(46<<2|2)), to: underlay, out: sent6(toSpoke6(20, class(46<<2|2)), tos(46<<2|2)), peer: spoke},
	{name: "CE is copied",
		packet: toSpoke6(20, class(3)), to: underlay, out: sent6(toSpoke6(20, class(3)), tos(3)), peer: spoke},
	{name: "the MSS of a SYN is lowered to what the tunnel carries",
		packet: syn6(lan6, "fd10:0:2::5", mss(1460)), to: underlay, out: sent6(syn6(lan6, "fd10:0:2::5", mss(1340))), peer: spoke},
	{name: "an MSS that is small enough stays",
		packet: syn6(lan6, "fd10:0:2::5", mss(1340)), to: underlay, out: sent6(syn6(lan6, "fd10:0:2::5", mss(1340))), peer: spoke},
	{name: "an MSS at an odd offset",
		packet: syn6(lan6, "fd10:0:2::5", nop, mss(1460), nop, nop, nop), to: underlay,
		out: sent6(syn6(lan6, "fd10:0:2::5", nop, mss(1340), nop, nop, nop)), peer: spoke},
	{name: "a narrow peer lowers the MSS further",
		packet: syn6(lan6, "fd00::4", mss(1440)), to: underlay, out: toward6(narrowNBMA, syn6(lan6, "fd00::4", mss(940))), peer: narrow},
	{name: "no clamping where it is switched off",
		tunnel: without(flagMSSClamp),
		packet: syn6(lan6, "fd10:0:2::5", mss(1460)), to: underlay, out: sent6(syn6(lan6, "fd10:0:2::5", mss(1460))), peer: spoke},

	{name: "what is unresolved goes by the hub, and the daemon hears of it",
		tunnel: fallback6,
		packet: udp6(lan6, "fd10:0:9::5", 20), to: underlay, out: toward6(hubNBMA, udp6(lan6, "fd10:0:9::5", 20)), peer: hub,
		event: DmvpnEventKindEVENT_MISS},
	{name: "IPv4's hub is not IPv6's",
		packet: udp6(lan6, "fd10:0:9::5", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_MISS, 0, DmvpnDropReasonDROP_NO_NEXTHOP),
		event: DmvpnEventKindEVENT_MISS},
	{name: "a link-local address is its own next hop",
		packet: udp6("fe80::9", "fe80::2", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_MISS, 0, DmvpnDropReasonDROP_NO_NEXTHOP),
		event: DmvpnEventKindEVENT_MISS},
	{name: "multicast goes to the daemon",
		packet: udp6(lan6, "ff02::5", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_MULTICAST, 0, DmvpnDropReasonDROP_MULTICAST)},
	{name: "data of a protected tunnel goes to the daemon, not out in clear",
		tunnel: with(flagProtected),
		packet: toSpoke6(20), to: queue, tag: tagged(DmvpnTagReasonTAG_DATA, spoke, DmvpnDropReasonDROP_SLOW_PATH)},
	{name: "above the peer's MTU",
		packet: udp6(lan6, "fd00::4", 953), to: queue, tag: tagged(DmvpnTagReasonTAG_TOO_BIG, narrow, DmvpnDropReasonDROP_TOO_BIG)},
	{name: "at the peer's MTU",
		packet: udp6(lan6, "fd00::4", 952), to: underlay, out: toward6(narrowNBMA, udp6(lan6, "fd00::4", 952)), peer: narrow},
	{name: "above the MTU of the underlay's route",
		packet: udp6(lan6, "fd00::8", 1125), to: queue, tag: tagged(DmvpnTagReasonTAG_TOO_BIG, thinWire, DmvpnDropReasonDROP_TOO_BIG)},
	{name: "at the MTU of the underlay's route",
		packet: udp6(lan6, "fd00::8", 1124), to: underlay, out: toward6("192.168.99.8", udp6(lan6, "fd00::8", 1124)), peer: thinWire},
	{name: "a GSO packet whose segments are above the MTU of the underlay's route",
		onlyBy: "run", gso: 1125,
		packet: udp6(lan6, "fd00::8", 1300), to: queue, tag: tagged(DmvpnTagReasonTAG_TOO_BIG, thinWire, DmvpnDropReasonDROP_TOO_BIG)},
	{name: "what came in by the tunnel raises a redirect on a hub",
		tunnel: asHub, onlyBy: "run", hairpin: true,
		packet: toSpoke6(20), to: underlay, out: sent6(toSpoke6(20)), peer: spoke, event: DmvpnEventKindEVENT_REDIRECT},
	{name: "what came from a LAN raises no redirect",
		tunnel: asHub,
		packet: toSpoke6(20), to: underlay, out: sent6(toSpoke6(20)), peer: spoke},

	{name: "drop: half a header",
		packet: toSpoke6(20)[:39], to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, onlyBy: "wire"},
	{name: "drop: an inner version that is not 6",
		packet: spoil(toSpoke6(20), 0, 0x50), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER},
	{name: "drop: a payload above the octets that there are",
		packet: spoil(toSpoke6(20), 5, 29), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER},
	{name: "drop: the peer is disabled",
		packet: udp6(lan6, "fd00::3", 20), to: nowhere, drop: DmvpnDropReasonDROP_PEER_DOWN, peer: down},
	{name: "drop: a route forbids the destination",
		packet: udp6(lan6, "fd66::5", 20), to: nowhere, drop: DmvpnDropReasonDROP_NO_ROUTE},
	{name: "drop: no route to the NBMA address",
		packet: udp6(lan6, "fd00::5", 20), to: nowhere, drop: DmvpnDropReasonDROP_NO_ROUTE, peer: lost},
	{name: "drop: the NBMA address is behind the tunnel itself",
		packet: udp6(lan6, "fd00::6", 20), to: nowhere, drop: DmvpnDropReasonDROP_RECURSION, peer: swallowed},
}

var decap6Cases = []packetCase{
	{name: "a packet of a peer",
		packet: received6(fromSpoke6(20)), to: tunnel, out: fromSpoke6(20), peer: spoke},
	{name: "without a key",
		tunnel: noKeyTunnel, to: tunnel, out: fromSpoke6(20), peer: spoke,
		packet: wrap(outer(spokeNBMA, local), gre(0, noKey, carries(layers.EthernetTypeIPv6)), fromSpoke6(20))},
	{name: "checksum, key and sequence number",
		packet: wrap(outer(spokeNBMA, local), gre(key, withChecksum, withSequence, carries(layers.EthernetTypeIPv6)), fromSpoke6(20)),
		to:     tunnel, out: fromSpoke6(20), peer: spoke},
	{name: "larger than the tunnel's MTU",
		packet: received6(fromSpoke6(1420)), to: tunnel, out: fromSpoke6(1420), peer: spoke},
	{name: "an IP header alone",
		packet: received6(octets(ip6("fd10:0:2::5", lan6, 59))), to: tunnel, out: octets(ip6("fd10:0:2::5", lan6, 59)), peer: spoke},
	{name: "multicast",
		packet: received6(udp6("fe80::2", "ff02::5", 20)), to: tunnel, out: udp6("fe80::2", "ff02::5", 20), peer: spoke},
	{name: "the MSS of a SYN is lowered to what the tunnel carries",
		packet: received6(syn6("fd10:0:2::5", lan6, mss(1460))), to: tunnel, out: syn6("fd10:0:2::5", lan6, mss(1340)), peer: spoke},
	{name: "drop: half an inner header",
		packet: received6(fromSpoke6(20)[:39]), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: the inner version is not 6",
		packet: received6(spoil(fromSpoke6(20), 0, 0x45)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: an inner length above the outer one",
		packet: received6(spoil(fromSpoke6(20), 5, 29)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: IPv6 in clear on a protected tunnel",
		tunnel: with(flagProtected),
		packet: received6(fromSpoke6(20)), to: nowhere, drop: DmvpnDropReasonDROP_CLEARTEXT, peer: spoke},
	{name: "drop: someone unknown sends IPv6",
		packet: wrap(outer("203.0.113.99", local), gre6(), fromSpoke6(20)), to: nowhere,
		drop: DmvpnDropReasonDROP_UNKNOWN_PEER, event: DmvpnEventKindEVENT_UNKNOWN_NBMA},
}

func TestEncapIPv6(t *testing.T) {
	for i := range encap6Cases {
		encap6Cases[i].protocol = unix.ETH_P_IPV6
	}
	tableIn(t, newWorld6(t), encap6Cases, true)
}

func TestDecapIPv6(t *testing.T) { tableIn(t, newWorld6(t), decap6Cases, false) }

// TestDecapECNIPv6 is the table of RFC 6040 4.2.
func TestDecapECNIPv6(t *testing.T) {
	tableIn(t, newWorld6(t), ecnCases(func(inner, outer, left uint8) (packet, out []byte) {
		const dscp = 10 << 2
		return received6(fromSpoke6(20, class(dscp|inner)), tos(46<<2|outer)), fromSpoke6(20, class(dscp|left))
	}), false)
}

// TestRedirectEventIPv6 lets a real packet come in by the tunnel, be forwarded by the
// kernel, and leave by the tunnel.
func TestRedirectEventIPv6(t *testing.T) {
	w := newWorld6(t)
	w.fresh(t, packetCase{tunnel: asHub})
	before, after := udp6("fd10:0:3::5", "fd10:0:2::5", 200), udp6("fd10:0:3::5", "fd10:0:2::5", 200, older6)
	must(t, write(w.wire, append(bytes.Clone(w.linkTo), wrap(outer(hubNBMA, local), gre6(), before)...)))
	b := read(w.wire, patience)
	if b == nil {
		t.Fatalf("the packet did not come back; dropped %v", dropsOf(t, w.maps["dmvpn_drop"]))
	}
	if d := cmp.Diff(dump(sent6(after)), dump(b[len(link):])); d != "" {
		t.Errorf("hairpin (-want +got)\n%s", d)
	}
	want := []happening{{DmvpnEventKindEVENT_REDIRECT, spoke, addr("fd00::2"), dump(after[:128])}}
	if d := cmp.Diff(want, w.happenings(t)); d != "" {
		t.Errorf("events (-want +got)\n%s", d)
	}
}
