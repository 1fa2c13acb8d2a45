// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

const lan = "10.10.1.5" // a host behind this router

func toSpoke(n int, change ...func(*layers.IPv4)) []byte {
	return udp(lan, "10.10.2.5", n, change...)
}

// sent is a packet inside the headers that go to the spoke.
func sent(inner []byte, change ...func(*layers.IPv4)) []byte {
	return wrap(outer(local, spokeNBMA, change...), gre(key), inner)
}

func without(flag uint32) func(*DmvpnTunnel) {
	return func(v *DmvpnTunnel) { v.Flags &^= flag }
}

func with(flag uint32) func(*DmvpnTunnel) {
	return func(v *DmvpnTunnel) { v.Flags |= flag }
}

func noKeyTunnel(v *DmvpnTunnel) { v.Flags, v.Key = v.Flags&^flagKey, 0 }

func broadcasts(v *DmvpnTunnel) { v.Broadcast = binary.NativeEndian.Uint32([]byte{10, 0, 0, 255}) }

func noFallback(v *DmvpnTunnel) { v.FallbackPeer = 0 }

func asHub(v *DmvpnTunnel) { v.Flags, v.FallbackPeer = v.Flags|flagRedirect, 0 }

func tagged(why DmvpnTagReason, peer uint32, drop DmvpnDropReason) *DmvpnTag {
	return &DmvpnTag{Magic: 0xd0, Reason: uint8(why), Drop: uint16(drop), Peer: peer}
}

var encapCases = []packetCase{
	{name: "a packet to a spoke's LAN goes by the next hop of its route",
		packet: toSpoke(20), to: underlay, out: sent(toSpoke(20)), peer: spoke},
	{name: "without a key the GRE header has 4 octets",
		tunnel: noKeyTunnel,
		packet: toSpoke(20), to: underlay, out: wrap(outer(local, spokeNBMA), gre(0, noKey), toSpoke(20)), peer: spoke},
	{name: "a packet to a peer's own overlay address",
		packet: udp(lan, "10.0.0.1", 20), to: underlay, out: wrap(outer(local, hubNBMA), gre(key), udp(lan, "10.0.0.1", 20)), peer: hub},
	{name: "a packet as large as the tunnel's MTU",
		packet: toSpoke(1372, df), to: underlay, out: sent(toSpoke(1372, df)), peer: spoke},
	{name: "an IP header alone",
		packet: octets(ip(lan, "10.10.2.5", 253)), to: underlay, out: sent(octets(ip(lan, "10.10.2.5", 253))), peer: spoke},
	{name: "the outer id is the inner one",
		packet: toSpoke(20, id(0xbeef)), to: underlay, out: sent(toSpoke(20, id(0xbeef)), id(0xbeef)), peer: spoke},
	{name: "inner IP options stay inside",
		packet: toSpoke(20, routerAlert), to: underlay, out: sent(toSpoke(20, routerAlert)), peer: spoke},
	{name: "an inner fragment",
		packet: toSpoke(24, laterFragment), to: underlay, out: sent(toSpoke(24, laterFragment)), peer: spoke},
	{name: "with an underlay mark the kernel routes the outer packet",
		tunnel: func(v *DmvpnTunnel) { v.Mark = 7 },
		packet: toSpoke(20), to: underlay, out: sent(toSpoke(20)), peer: spoke},

	{name: "DSCP is copied",
		packet: toSpoke(20, tos(46<<2)), to: underlay, out: sent(toSpoke(20, tos(46<<2)), tos(46<<2)), peer: spoke},
	{name: "ECT(0) is copied",
		packet: toSpoke(20, tos(2)), to: underlay, out: sent(toSpoke(20, tos(2)), tos(2)), peer: spoke},
	{name: "ECT(1) is copied",
		packet: toSpoke(20, tos(1)), to: underlay, out: sent(toSpoke(20, tos(1)), tos(1)), peer: spoke},
	{name: "CE is copied",
		packet: toSpoke(20, tos(3)), to: underlay, out: sent(toSpoke(20, tos(3)), tos(3)), peer: spoke},

	{name: "the MSS of a SYN is lowered to what the tunnel carries",
		packet: syn(lan, "10.10.2.5", mss(1460)), to: underlay, out: sent(syn(lan, "10.10.2.5", mss(1360))), peer: spoke},
	{name: "an MSS that is small enough stays",
		packet: syn(lan, "10.10.2.5", mss(1360)), to: underlay, out: sent(syn(lan, "10.10.2.5", mss(1360))), peer: spoke},
	{name: "an MSS at an odd offset",
		packet: syn(lan, "10.10.2.5", nop, mss(1460), nop, nop, nop), to: underlay,
		out: sent(syn(lan, "10.10.2.5", nop, mss(1360), nop, nop, nop)), peer: spoke},
	{name: "an MSS behind other options",
		packet: syn(lan, "10.10.2.5", timestamps, nop, nop, mss(9000)), to: underlay,
		out: sent(syn(lan, "10.10.2.5", timestamps, nop, nop, mss(1360))), peer: spoke},
	{name: "a SYN without options",
		packet: syn(lan, "10.10.2.5"), to: underlay, out: sent(syn(lan, "10.10.2.5")), peer: spoke},
	{name: "a narrow peer lowers the MSS further",
		packet: syn(lan, "10.0.0.4", mss(1460)), to: underlay,
		out: wrap(outer(local, narrowNBMA), gre(key), syn(lan, "10.0.0.4", mss(960))), peer: narrow},
	{name: "no clamping where it is switched off",
		tunnel: without(flagMSSClamp),
		packet: syn(lan, "10.10.2.5", mss(1460)), to: underlay, out: sent(syn(lan, "10.10.2.5", mss(1460))), peer: spoke},

	{name: "what is unresolved goes by the hub, and the daemon hears of it",
		packet: udp(lan, "10.10.9.5", 20), to: underlay,
		out: wrap(outer(local, hubNBMA), gre(key), udp(lan, "10.10.9.5", 20)), peer: hub, event: DmvpnEventKindEVENT_MISS},
	{name: "what is unresolved and has no hub goes to the daemon",
		tunnel: noFallback,
		packet: udp(lan, "10.10.9.5", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_MISS, 0, DmvpnDropReasonDROP_NO_NEXTHOP),
		event: DmvpnEventKindEVENT_MISS},
	{name: "what came in by the tunnel and is unresolved does not go by the hub: it may have come from there",
		onlyBy: "run", hairpin: true,
		packet: udp(lan, "10.10.9.5", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_MISS, 0, DmvpnDropReasonDROP_NO_NEXTHOP),
		event: DmvpnEventKindEVENT_MISS},
	{name: "multicast goes to the daemon",
		packet: udp(lan, "224.0.0.5", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_MULTICAST, 0, DmvpnDropReasonDROP_MULTICAST)},
	{name: "limited broadcast goes to the daemon",
		packet: udp(lan, "255.255.255.255", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_MULTICAST, 0, DmvpnDropReasonDROP_MULTICAST)},
	{name: "broadcast of the tunnel's network goes to the daemon",
		tunnel: broadcasts,
		packet: udp(lan, "10.0.0.255", 20), to: queue, tag: tagged(DmvpnTagReasonTAG_MULTICAST, 0, DmvpnDropReasonDROP_MULTICAST)},
	{name: "broadcast of a LAN behind a spoke is the spoke's",
		tunnel: broadcasts,
		packet: udp(lan, "10.10.2.255", 20), to: underlay, out: sent(udp(lan, "10.10.2.255", 20)), peer: spoke},
	{name: "a tunnel without a network has no broadcast address",
		packet: udp(lan, "10.0.0.255", 20), to: underlay, out: wrap(outer(local, hubNBMA), gre(key), udp(lan, "10.0.0.255", 20)), peer: hub,
		event: DmvpnEventKindEVENT_MISS},
	{name: "data of a protected tunnel goes to the daemon, not out in clear",
		tunnel: with(flagProtected),
		packet: toSpoke(20), to: queue, tag: tagged(DmvpnTagReasonTAG_DATA, spoke, DmvpnDropReasonDROP_SLOW_PATH)},
	{name: "above the peer's MTU",
		packet: udp(lan, "10.0.0.4", 973), to: queue, tag: tagged(DmvpnTagReasonTAG_TOO_BIG, narrow, DmvpnDropReasonDROP_TOO_BIG)},
	{name: "at the peer's MTU",
		packet: udp(lan, "10.0.0.4", 972), to: underlay,
		out: wrap(outer(local, narrowNBMA), gre(key), udp(lan, "10.0.0.4", 972)), peer: narrow},
	{name: "above the MTU of the underlay's route",
		packet: udp(lan, "10.0.0.8", 1145), to: queue, tag: tagged(DmvpnTagReasonTAG_TOO_BIG, thinWire, DmvpnDropReasonDROP_TOO_BIG)},
	{name: "a GSO packet whose segments are above the MTU of the underlay's route",
		onlyBy: "run", gso: 1145,
		packet: udp(lan, "10.0.0.8", 1300), to: queue, tag: tagged(DmvpnTagReasonTAG_TOO_BIG, thinWire, DmvpnDropReasonDROP_TOO_BIG)},
	{name: "a GSO packet whose segments are not, but which the kernel cannot encapsulate",
		onlyBy: "run", gso: 1144,
		packet: udp(lan, "10.0.0.8", 1300), to: queue, tag: tagged(DmvpnTagReasonTAG_GSO, thinWire, DmvpnDropReasonDROP_ADJUST_ROOM)},
	{name: "at the MTU of the underlay's route",
		packet: udp(lan, "10.0.0.8", 1144), to: underlay,
		out: wrap(outer(local, "192.168.99.8"), gre(key), udp(lan, "10.0.0.8", 1144)), peer: thinWire},

	{name: "what came in by the tunnel raises a redirect on a hub",
		tunnel: asHub, onlyBy: "run", hairpin: true,
		packet: toSpoke(20), to: underlay, out: sent(toSpoke(20)), peer: spoke, event: DmvpnEventKindEVENT_REDIRECT},
	{name: "what came in by the tunnel raises none where redirects are off",
		onlyBy: "run", hairpin: true,
		packet: toSpoke(20), to: underlay, out: sent(toSpoke(20)), peer: spoke},
	{name: "what came from a LAN raises no redirect",
		tunnel: asHub,
		packet: toSpoke(20), to: underlay, out: sent(toSpoke(20)), peer: spoke},
	{name: "a GSO packet that the kernel cannot encapsulate goes to the daemon",
		onlyBy: "run", gso: 500,
		packet: toSpoke(1372), to: queue, tag: tagged(DmvpnTagReasonTAG_GSO, spoke, DmvpnDropReasonDROP_ADJUST_ROOM)},

	{name: "drop: no such tunnel device",
		tunnel: func(v *DmvpnTunnel) { v.Ifindex = 0 }, // setTunnel takes it away
		packet: toSpoke(20), to: nowhere, drop: DmvpnDropReasonDROP_UNKNOWN_TUNNEL},
	{name: "drop: what is no IP packet",
		protocol: unix.ETH_P_ARP,
		packet:   make([]byte, 40), to: nowhere, drop: DmvpnDropReasonDROP_INNER_PROTOCOL},
	{name: "drop: no room for a tag in front of what is not GSO",
		onlyBy: "wire", mtu: 40000,
		packet: udp(lan, "224.0.0.5", 30000), to: nowhere, drop: DmvpnDropReasonDROP_ADJUST_ROOM},
	{name: "drop: an inner header that is too short",
		packet: spoil(toSpoke(20), 0, 0x44), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER},
	{name: "drop: an inner header that is longer than the packet",
		packet: spoil(octets(ip(lan, "10.10.2.5", 253)), 0, 0x46), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER},
	{name: "drop: an inner length above the octets that there are",
		packet: spoil(toSpoke(20), 3, 49), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER},
	{name: "drop: an inner length of 0, which only GSO has",
		packet: spoil(toSpoke(20), 3, 0), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER},
	{name: "drop: an inner version that is not 4",
		packet: spoil(toSpoke(20), 0, 0x55), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER},
	{name: "drop: the peer is disabled",
		packet: udp(lan, "10.0.0.3", 20), to: nowhere, drop: DmvpnDropReasonDROP_PEER_DOWN, peer: down},
	{name: "drop: a route forbids the destination",
		packet: udp(lan, "10.66.0.5", 20), to: nowhere, drop: DmvpnDropReasonDROP_NO_ROUTE},
	{name: "drop: no route to the NBMA address",
		packet: udp(lan, "10.0.0.5", 20), to: nowhere, drop: DmvpnDropReasonDROP_NO_ROUTE, peer: lost},
	{name: "drop: an unreachable route to the NBMA address",
		packet: udp(lan, "10.0.0.7", 20), to: nowhere, drop: DmvpnDropReasonDROP_NO_ROUTE, peer: forbidden},
	{name: "drop: the NBMA address is behind the tunnel itself",
		packet: udp(lan, "10.0.0.6", 20), to: nowhere, drop: DmvpnDropReasonDROP_RECURSION, peer: swallowed},
	{name: "drop: the underlay device is the tunnel itself",
		tunnel: func(v *DmvpnTunnel) { v.UnderlayIfindex = v.Ifindex },
		packet: toSpoke(20), to: nowhere, drop: DmvpnDropReasonDROP_RECURSION, peer: spoke},
}

func TestEncap(t *testing.T) { table(t, encapCases, true) }
