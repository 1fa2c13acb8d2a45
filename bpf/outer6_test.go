// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// IPv6 as underlay: the peers of the tables are at these addresses.
const (
	localSix  = "2001:db8:1::1"
	hubSix    = "2001:db8:1::b"
	spokeSix  = "2001:db8:2::2" // behind the gateway
	downSix   = "2001:db8:1::d"
	narrowSix = "2001:db8:1::e"
	thinSix   = "2001:db8:99::8" // the route has MTU 1300
)

// newWorldOver6 is a world whose peers are reached by IPv6, and which carries both.
func newWorldOver6(t testing.TB) *world {
	t.Helper()
	w := newWorld6(t)
	w.local6 = localSix
	allow6(t, "u0")
	address6(t, "u0", localSix+"/64")
	for id, nbma := range map[uint32]string{
		hub: hubSix, spoke: spokeSix, down: downSix, narrow: narrowSix, lost: "fd77::5", swallowed: "fd55::6", forbidden: "fd88::7", thinWire: thinSix,
	} {
		var v DmvpnPeer
		must(t, w.maps["dmvpn_peer"].Lookup(id, &v))
		v.Nbma.Octet = addr(nbma)
		must(t, w.maps["dmvpn_peer"].Put(id, v))
		must(t, w.maps["dmvpn_nbma"].Put(DmvpnNbmaKey{Nbma: v.Nbma, TunnelIfindex: uint32(w.tunnel)}, id))
	}
	const gateway = "2001:db8:1::fe"
	route(t, "2001:db8:2::/64", gateway, w.underlay)
	route(t, "fd55::/64", "", w.tunnel)
	forbid(t, "fd88::/64", unix.RTN_UNREACHABLE)
	routeMTU(t, "2001:db8:99::/64", gateway, w.underlay, 1300)
	for address, mac := range map[string]string{gateway: "02:00:00:00:00:fe", hubSix: "02:00:00:00:00:0b", narrowSix: "02:00:00:00:00:0e"} {
		neighbour(t, w.underlay, address, mac)
	}
	return w
}

// outer6 is the header that the tunnel writes, but for the flow label.
func outer6(source, destination string, change ...func(*layers.IPv6)) *layers.IPv6 {
	h := ip6(source, destination, layers.IPProtocolGRE)
	h.HopLimit, h.FlowLabel = 64, 0
	for _, c := range change {
		c(h)
	}
	return h
}

// over6 puts outer IPv6 and GRE around a packet.
func over6(source, destination string, g *layers.GRE, inner []byte, change ...func(*layers.IPv6)) []byte {
	return octets(outer6(source, destination, change...), g, gopacket.Payload(inner))
}

func sentOver6(inner []byte, change ...func(*layers.IPv6)) []byte {
	return over6(localSix, spokeSix, gre(key), inner, change...)
}

func receivedOver6(inner []byte, change ...func(*layers.IPv6)) []byte {
	return over6(spokeSix, localSix, gre(key), inner, change...)
}

// behind6 puts a header between outer IPv6 and GRE.
func behind6(kind layers.IPProtocol, header []byte) []byte {
	plain := receivedOver6(fromSpoke(20))
	header[0] = unix.IPPROTO_GRE
	return octets(ip6(spokeSix, localSix, kind), gopacket.Payload(append(header, plain[40:]...)))
}

var encapOver6Cases = []packetCase{
	{name: "IPv4 to a spoke's LAN",
		packet: toSpoke(20), to: underlay, out: sentOver6(toSpoke(20)), peer: spoke},
	{name: "IPv6 to a spoke's LAN", protocol: unix.ETH_P_IPV6,
		packet: toSpoke6(20), to: underlay, out: over6(localSix, spokeSix, gre6(), toSpoke6(20)), peer: spoke},
	{name: "without a key the GRE header has 4 octets",
		tunnel: noKeyTunnel,
		packet: toSpoke(20), to: underlay, out: over6(localSix, spokeSix, gre(0, noKey), toSpoke(20)), peer: spoke},
	{name: "a peer on the link",
		packet: udp(lan, "10.0.0.1", 20), to: underlay, out: over6(localSix, hubSix, gre(key), udp(lan, "10.0.0.1", 20)), peer: hub},
	{name: "a packet as large as the tunnel's MTU",
		packet: toSpoke(1372, df), to: underlay, out: sentOver6(toSpoke(1372, df)), peer: spoke},
	{name: "an inner fragment",
		packet: toSpoke(24, laterFragment), to: underlay, out: sentOver6(toSpoke(24, laterFragment)), peer: spoke},
	{name: "with an underlay mark the kernel routes the outer packet",
		tunnel: func(v *DmvpnTunnel) { v.Mark = 7 },
		packet: toSpoke(20), to: underlay, out: sentOver6(toSpoke(20)), peer: spoke},
	{name: "DSCP and ECN are copied",
		packet: toSpoke(20, tos(46<<2|1)), to: underlay, out: sentOver6(toSpoke(20, tos(46<<2|1)), class(46<<2|1)), peer: spoke},
	{name: "the traffic class of IPv6 is copied", protocol: unix.ETH_P_IPV6,
		packet: toSpoke6(20, class(10<<2|2)), to: underlay, out: over6(localSix, spokeSix, gre6(), toSpoke6(20, class(10<<2|2)), class(10<<2|2)), peer: spoke},
	{name: "the MSS of a SYN is lowered to what the tunnel carries",
		packet: syn(lan, "10.10.2.5", mss(1460)), to: underlay, out: sentOver6(syn(lan, "10.10.2.5", mss(1360))), peer: spoke},
	{name: "what is unresolved goes by the hub, and the daemon hears of it",
		packet: udp(lan, "10.10.9.5", 20), to: underlay,
		out: over6(localSix, hubSix, gre(key), udp(lan, "10.10.9.5", 20)), peer: hub, event: DmvpnEventKindEVENT_MISS},
	{name: "data of a protected tunnel goes to the daemon, not out in clear",
		tunnel: with(flagProtected),
		packet: toSpoke(20), to: queue, tag: tagged(DmvpnTagReasonTAG_DATA, spoke, DmvpnDropReasonDROP_SLOW_PATH)},
	{name: "above the peer's MTU",
		packet: udp(lan, "10.0.0.4", 973), to: queue, tag: tagged(DmvpnTagReasonTAG_TOO_BIG, narrow, DmvpnDropReasonDROP_TOO_BIG)},
	{name: "above the MTU of the underlay's route: 40 and 8 octets are around",
		packet: udp(lan, "10.0.0.8", 1225), to: queue, tag: tagged(DmvpnTagReasonTAG_TOO_BIG, thinWire, DmvpnDropReasonDROP_TOO_BIG)},
	{name: "at the MTU of the underlay's route",
		packet: udp(lan, "10.0.0.8", 1224), to: underlay,
		out: over6(localSix, thinSix, gre(key), udp(lan, "10.0.0.8", 1224)), peer: thinWire},
	{name: "what came in by the tunnel raises a redirect on a hub",
		tunnel: asHub, onlyBy: "run", hairpin: true,
		packet: toSpoke(20), to: underlay, out: sentOver6(toSpoke(20)), peer: spoke, event: DmvpnEventKindEVENT_REDIRECT},

	{name: "drop: the peer is disabled",
		packet: udp(lan, "10.0.0.3", 20), to: nowhere, drop: DmvpnDropReasonDROP_PEER_DOWN, peer: down},
	{name: "drop: no route to the NBMA address",
		packet: udp(lan, "10.0.0.5", 20), to: nowhere, drop: DmvpnDropReasonDROP_NO_ROUTE, peer: lost},
	{name: "drop: an unreachable route to the NBMA address",
		packet: udp(lan, "10.0.0.7", 20), to: nowhere, drop: DmvpnDropReasonDROP_NO_ROUTE, peer: forbidden},
	{name: "the nearest way to the NBMA address leads into the tunnel itself: a socket of the underlay may know another",
		packet: udp(lan, "10.0.0.6", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_GSO, swallowed, DmvpnDropReasonDROP_RECURSION)},
}

var decapOver6Cases = []packetCase{
	{name: "IPv4 of a peer",
		packet: receivedOver6(fromSpoke(20)), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "IPv6 of a peer",
		packet: over6(spokeSix, localSix, gre6(), fromSpoke6(20)), to: tunnel, out: fromSpoke6(20), peer: spoke},
	{name: "without a key",
		tunnel: noKeyTunnel,
		packet: over6(spokeSix, localSix, gre(0, noKey), fromSpoke(20)), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "checksum, key and sequence number",
		packet: over6(spokeSix, localSix, gre(key, withChecksum, withSequence), fromSpoke(20)), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "larger than the tunnel's MTU",
		packet: receivedOver6(fromSpoke(1420)), to: tunnel, out: fromSpoke(1420), peer: spoke},
	{name: "an IPv4 header alone",
		packet: receivedOver6(octets(ip("10.10.2.5", lan, 253))), to: tunnel, out: octets(ip("10.10.2.5", lan, 253)), peer: spoke},
	{name: "any flow label",
		packet: receivedOver6(fromSpoke(20), func(h *layers.IPv6) { h.FlowLabel = 0xfffff }), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "the MSS of a SYN is lowered on its way in, too",
		packet: receivedOver6(syn("10.10.2.5", lan, nop, nop, mss(1460))), to: tunnel, out: syn("10.10.2.5", lan, nop, nop, mss(1360)), peer: spoke},
	{name: "multicast of a peer",
		packet: receivedOver6(udp("10.0.0.2", "224.0.0.5", 20)), to: tunnel, out: udp("10.0.0.2", "224.0.0.5", 20), peer: spoke},

	{name: "NHRP is for the raw socket", onlyBy: "run",
		packet: over6(spokeSix, localSix, gre(key, carries(0x2001)), make([]byte, 40)), to: stack},
	{name: "a fragment is for the stack to put together", onlyBy: "run",
		packet: behind6(layers.IPProtocolIPv6Fragment, []byte{0, 0, 0, 1, 0, 0, 0, 9}), to: stack},
	{name: "destination options are for the stack", onlyBy: "run",
		packet: behind6(layers.IPProtocolIPv6Destination, []byte{0, 0, 1, 4, 0, 0, 0, 0}), to: stack},
	{name: "hop-by-hop options are for the stack", onlyBy: "run",
		packet: behind6(layers.IPProtocolIPv6HopByHop, []byte{0, 0, 1, 4, 0, 0, 0, 0}), to: stack},
	{name: "what is not GRE is left alone", onlyBy: "run",
		packet: udp6(spokeSix, localSix, 20), to: stack},
	{name: "another key is another's tunnel: counted and left alone", onlyBy: "run",
		packet: over6(spokeSix, localSix, gre(43), fromSpoke(20)), to: stack, drop: DmvpnDropReasonDROP_UNKNOWN_TUNNEL},
	{name: "another address is another's tunnel", onlyBy: "run",
		packet: over6(spokeSix, "2001:db8:1::77", gre(key), fromSpoke(20)), to: stack, drop: DmvpnDropReasonDROP_UNKNOWN_TUNNEL},
	{name: "a GRE header that is cut off: counted and left alone", onlyBy: "run",
		packet: octets(outer6(spokeSix, localSix), gopacket.Payload{0x20, 0, 8, 0, 0, 0}), to: stack, drop: DmvpnDropReasonDROP_TRUNCATED},

	{name: "the IPv4 address of a peer in the form of IPv6 is for the stack, which drops it", onlyBy: "run",
		packet: over6("::ffff:"+spokeNBMA, localSix, gre(key), fromSpoke(20), mappedSource), to: stack},

	{name: "drop: a reserved bit",
		packet: spoil(receivedOver6(fromSpoke(20)), 40, 0x28), to: nowhere, drop: DmvpnDropReasonDROP_GRE_RESERVED},
	{name: "drop: version 1",
		packet: spoil(receivedOver6(fromSpoke(20)), 41, 1), to: nowhere, drop: DmvpnDropReasonDROP_GRE_VERSION},
	{name: "drop: someone unknown sends data",
		packet: over6("2001:db8:1::99", localSix, gre(key), fromSpoke(20)), to: nowhere,
		drop: DmvpnDropReasonDROP_UNKNOWN_PEER, event: DmvpnEventKindEVENT_UNKNOWN_NBMA},
	{name: "drop: the peer is disabled",
		packet: over6(downSix, localSix, gre(key), fromSpoke(20)), to: nowhere, drop: DmvpnDropReasonDROP_PEER_DOWN, peer: down},
	{name: "drop: GRE in clear on a protected tunnel",
		tunnel: with(flagProtected),
		packet: receivedOver6(fromSpoke(20)), to: nowhere, drop: DmvpnDropReasonDROP_CLEARTEXT, peer: spoke},
	{name: "drop: NHRP in clear on a protected tunnel",
		tunnel: with(flagProtected),
		packet: over6(spokeSix, localSix, gre(key, carries(0x2001)), make([]byte, 40)), to: nowhere, drop: DmvpnDropReasonDROP_CLEARTEXT, peer: spoke},
	{name: "drop: an inner protocol that the tunnel does not carry",
		packet: over6(spokeSix, localSix, gre(key, carries(0x88b5)), make([]byte, 40)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_PROTOCOL, peer: spoke},
	{name: "drop: an inner length above the outer one",
		packet: receivedOver6(spoil(fromSpoke(20), 3, 49)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: an outer length above the octets that there are", onlyBy: "run",
		packet: spoil(receivedOver6(fromSpoke(20)), 5, 57), to: nowhere, drop: DmvpnDropReasonDROP_TRUNCATED, peer: spoke},
}

// mappedSource keeps the 16 octets that gopacket would shorten.
func mappedSource(h *layers.IPv6) { h.SrcIP = h.SrcIP.To16() }

func TestEncapOverIPv6(t *testing.T) { tableIn(t, newWorldOver6(t), encapOver6Cases, true) }

func TestDecapOverIPv6(t *testing.T) {
	for i := range decapOver6Cases {
		decapOver6Cases[i].protocol = unix.ETH_P_IPV6
	}
	tableIn(t, newWorldOver6(t), decapOver6Cases, false)
}

// TestDecapECNOverIPv6 is the table of RFC 6040 4.2, for both of what is inside.
func TestDecapECNOverIPv6(t *testing.T) {
	const dscp = 10 << 2
	w := newWorldOver6(t)
	for name, make := range map[string]func(inner, outer, left uint8) (packet, out []byte){
		"IPv4": func(inner, outer, left uint8) (packet, out []byte) {
			return receivedOver6(fromSpoke(20, tos(dscp|inner)), class(46<<2|outer)), fromSpoke(20, tos(dscp|left))
		},
		"IPv6": func(inner, outer, left uint8) (packet, out []byte) {
			return over6(spokeSix, localSix, gre6(), fromSpoke6(20, class(dscp|inner)), class(46<<2|outer)), fromSpoke6(20, class(dscp|left))
		},
	} {
		cases := ecnCases(make)
		for i := range cases {
			cases[i].name, cases[i].protocol = name+" "+cases[i].name, unix.ETH_P_IPV6
		}
		tableIn(t, w, cases, false)
	}
}

// TestTheFlowLabelIsTheFlows: the same for all packets of one, and others for others.
func TestTheFlowLabelIsTheFlows(t *testing.T) {
	w := newWorldOver6(t)
	w.fresh(t, packetCase{})
	label := func(packet []byte) uint32 {
		must(t, w.into(t, packet, unix.ETH_P_IP))
		b := read(w.wire, patience)
		if len(b) < 40+len(link) {
			t.Fatalf("the wire has % x", b)
		}
		b = b[len(link):]
		return uint32(b[1]&0x0f)<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	first := label(toSpoke(20))
	if again := label(toSpoke(900)); again != first {
		t.Errorf("another packet of the flow: %#x, the first %#x", again, first)
	}
	seen := map[uint32]bool{}
	for n := range 16 {
		seen[label(udp(lan, "10.10.2."+string(rune('1'+n%9)), 20+n))] = true
	}
	if len(seen) < 8 {
		t.Errorf("nine flows have %d labels", len(seen))
	}
}
