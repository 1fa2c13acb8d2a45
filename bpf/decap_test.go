// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func fromSpoke(n int, change ...func(*layers.IPv4)) []byte {
	return udp("10.10.2.5", lan, n, change...)
}

// received is a packet as the spoke sends it.
func received(inner []byte, change ...func(*layers.IPv4)) []byte {
	return wrap(outer(spokeNBMA, local, change...), gre(key), inner)
}

const greAt = 20 // offset of GRE in a received packet

var decapCases = []packetCase{
	{name: "a packet of a peer",
		packet: received(fromSpoke(20)), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "without a key",
		tunnel: noKeyTunnel,
		packet: wrap(outer(spokeNBMA, local), gre(0, noKey), fromSpoke(20)), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "a GRE checksum is stepped over",
		packet: wrap(outer(spokeNBMA, local), gre(key, withChecksum), fromSpoke(20)), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "a sequence number is stepped over",
		packet: wrap(outer(spokeNBMA, local), gre(key, withSequence), fromSpoke(20)), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "checksum, key and sequence number",
		packet: wrap(outer(spokeNBMA, local), gre(key, withChecksum, withSequence), fromSpoke(20)), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "bits 6 to 12 of GRE are ignored, RFC 2784 2.3",
		packet: spoil(received(fromSpoke(20)), greAt, 0x23, greAt+1, 0xf8), to: tunnel, out: fromSpoke(20), peer: spoke},
	{name: "as large as the tunnel's MTU",
		packet: received(fromSpoke(1372)), to: tunnel, out: fromSpoke(1372), peer: spoke},
	{name: "larger than the tunnel's MTU",
		packet: received(fromSpoke(1440)), to: tunnel, out: fromSpoke(1440), peer: spoke},
	{name: "an IP header alone",
		packet: received(octets(ip("10.10.2.5", lan, 253))), to: tunnel, out: octets(ip("10.10.2.5", lan, 253)), peer: spoke},
	{name: "the DSCP of the inner header stays",
		packet: received(fromSpoke(20, tos(10<<2)), tos(46<<2)), to: tunnel, out: fromSpoke(20, tos(10<<2)), peer: spoke},
	{name: "the MSS of a SYN is lowered on its way in, too",
		packet: received(syn("10.10.2.5", lan, nop, nop, mss(1460))), to: tunnel, out: syn("10.10.2.5", lan, nop, nop, mss(1360)), peer: spoke},
	{name: "multicast of a peer",
		packet: received(udp("10.0.0.2", "224.0.0.5", 20)), to: tunnel, out: udp("10.0.0.2", "224.0.0.5", 20), peer: spoke},

	{name: "NHRP is for the raw socket",
		packet: wrap(outer(spokeNBMA, local), gre(key, carries(0x2001)), make([]byte, 40)), to: stack},
	{name: "NHRP of someone unknown is for the raw socket",
		packet: wrap(outer("203.0.113.99", local), gre(key, carries(0x2001)), make([]byte, 40)), to: stack},
	{name: "the first fragment is for the stack to put together",
		packet: received(fromSpoke(20), firstFragment), to: stack, onlyBy: "run"},
	{name: "a later fragment is for the stack to put together",
		packet: received(fromSpoke(20), laterFragment), to: stack, onlyBy: "run"},
	{name: "outer IP options are for the stack",
		packet: received(fromSpoke(20), routerAlert), to: stack},
	{name: "an outer checksum that is wrong is for the stack, which drops it",
		packet: spoil(received(fromSpoke(20)), 8, 63), to: stack, onlyBy: "run"},
	{name: "what is not GRE is left alone",
		packet: udp(spokeNBMA, local, 20), to: stack, onlyBy: "run"},
	{name: "another key is another's tunnel: counted and left alone",
		packet: wrap(outer(spokeNBMA, local), gre(43), fromSpoke(20)), to: stack, drop: DmvpnDropReasonDROP_UNKNOWN_TUNNEL},
	{name: "no key is not key 0",
		tunnel: func(v *DmvpnTunnel) { v.Key = 0 },
		packet: wrap(outer(spokeNBMA, local), gre(0, noKey), fromSpoke(20)), to: stack, drop: DmvpnDropReasonDROP_UNKNOWN_TUNNEL},
	{name: "another address is another's tunnel",
		packet: wrap(outer(spokeNBMA, "198.51.100.77"), gre(key), fromSpoke(20)), to: stack, onlyBy: "run", drop: DmvpnDropReasonDROP_UNKNOWN_TUNNEL},
	{name: "a GRE header that is cut off: counted and left alone",
		packet: octets(outer(spokeNBMA, local), gopacket.Payload{0x20, 0, 8, 0, 0, 0}), to: stack, drop: DmvpnDropReasonDROP_TRUNCATED},

	{name: "drop: a reserved bit",
		packet: spoil(received(fromSpoke(20)), greAt, 0x28), to: nowhere, drop: DmvpnDropReasonDROP_GRE_RESERVED},
	{name: "drop: the other reserved bit",
		packet: spoil(received(fromSpoke(20)), greAt, 0x24), to: nowhere, drop: DmvpnDropReasonDROP_GRE_RESERVED},
	{name: "drop: routing",
		packet: spoil(wrap(outer(spokeNBMA, local), gre(key, withChecksum), fromSpoke(20)), greAt, 0x60), to: nowhere, drop: DmvpnDropReasonDROP_GRE_ROUTING},
	{name: "drop: version 1",
		packet: spoil(received(fromSpoke(20)), greAt+1, 1), to: nowhere, drop: DmvpnDropReasonDROP_GRE_VERSION},
	{name: "drop: someone unknown sends data",
		packet: wrap(outer("203.0.113.99", local), gre(key), fromSpoke(20)), to: nowhere,
		drop: DmvpnDropReasonDROP_UNKNOWN_PEER, event: DmvpnEventKindEVENT_UNKNOWN_NBMA},
	{name: "drop: the peer is disabled",
		packet: wrap(outer(downNBMA, local), gre(key), fromSpoke(20)), to: nowhere, drop: DmvpnDropReasonDROP_PEER_DOWN, peer: down},
	{name: "drop: GRE in clear on a protected tunnel",
		tunnel: with(flagProtected),
		packet: received(fromSpoke(20)), to: nowhere, drop: DmvpnDropReasonDROP_CLEARTEXT, peer: spoke},
	{name: "SE-01 drop: NHRP in clear on a protected tunnel",
		tunnel: with(flagProtected),
		packet: wrap(outer("203.0.113.99", local), gre(key, carries(0x2001)), make([]byte, 40)), to: nowhere, drop: DmvpnDropReasonDROP_CLEARTEXT},
	{name: "drop: GRE carries Ethernet",
		packet: wrap(outer(spokeNBMA, local), gre(key, carries(0x6558)), fromSpoke(20)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_PROTOCOL, peer: spoke},
	{name: "drop: the outer length ends in the GRE header",
		packet: sealed(spoil(received(fromSpoke(20)), 3, 27)), to: nowhere, drop: DmvpnDropReasonDROP_TRUNCATED, peer: spoke, onlyBy: "run"},
	{name: "drop: the outer length is above the octets that there are",
		packet: sealed(spoil(received(fromSpoke(20)), 3, 77)), to: nowhere, drop: DmvpnDropReasonDROP_TRUNCATED, peer: spoke},
	{name: "drop: an outer length of 0, which only GSO has",
		packet: sealed(spoil(received(fromSpoke(20)), 3, 0)), to: nowhere, drop: DmvpnDropReasonDROP_TRUNCATED, peer: spoke},
	{name: "drop: an inner length of 0, which only GSO has",
		packet: received(spoil(fromSpoke(20), 3, 0)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: no octet of an inner header",
		packet: received(nil), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: the inner version is not 4",
		packet: received(spoil(fromSpoke(20), 0, 0x65)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: an inner header that is too short",
		packet: received(spoil(fromSpoke(20), 0, 0x44)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: an inner length above the outer one",
		packet: received(spoil(fromSpoke(20), 3, 49)), to: nowhere, drop: DmvpnDropReasonDROP_INNER_HEADER, peer: spoke},
	{name: "drop: outer CE over a packet that does not know ECN",
		packet: received(fromSpoke(20), tos(3)), to: nowhere, drop: DmvpnDropReasonDROP_ECN, peer: spoke},
	{name: "drop: GSO that the kernel will not shrink",
		onlyBy: "run", gso: 500,
		packet: received(fromSpoke(1372)), to: nowhere, drop: DmvpnDropReasonDROP_ADJUST_ROOM, peer: spoke},
}

func TestDecap(t *testing.T) { table(t, decapCases, false) }

// TestDecapECN is the table of RFC 6040 4.2.
func TestDecapECN(t *testing.T) {
	table(t, ecnCases(func(inner, outer, left uint8) (packet, out []byte) {
		const dscp = 10 << 2
		return received(fromSpoke(20, tos(dscp|inner)), tos(46<<2|outer)), fromSpoke(20, tos(dscp|left))
	}), false)
}

// ecnCases are its rows: packets give what is received, and what is left of it.
func ecnCases(packets func(inner, outer, left uint8) (packet, out []byte)) []packetCase {
	const gone = 0xff
	names := [4]string{"Not-ECT", "ECT(1)", "ECT(0)", "CE"}
	want := map[uint8][4]uint8{ // inner: outer Not-ECT, ECT(1), ECT(0), CE
		0: {0, 0, 0, gone},
		1: {1, 1, 1, 3},
		2: {2, 1, 2, 3},
		3: {3, 3, 3, 3},
	}
	var cases []packetCase
	for inner := range uint8(4) {
		for o := range uint8(4) {
			c := packetCase{name: "inner " + names[inner] + ", outer " + names[o], to: tunnel, peer: spoke}
			c.packet, c.out = packets(inner, o, want[inner][o])
			if want[inner][o] == gone {
				c.to, c.out, c.drop = nowhere, nil, DmvpnDropReasonDROP_ECN
			}
			cases = append(cases, c)
		}
	}
	return cases
}
