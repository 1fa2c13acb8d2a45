// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"net"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// The packets of the tables, written as layers; lengths and checksums are right
// unless a case spoils them.

func octets(l ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...)
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

// ip is an IPv4 header as hosts write it, without DF.
func ip(source, destination string, protocol layers.IPProtocol, change ...func(*layers.IPv4)) *layers.IPv4 {
	h := &layers.IPv4{Version: 4, TTL: 63, Id: 0x1234, Protocol: protocol,
		SrcIP: net.ParseIP(source), DstIP: net.ParseIP(destination)}
	for _, c := range change {
		c(h)
	}
	return h
}

// outer is the header that the tunnel writes.
func outer(source, destination string, change ...func(*layers.IPv4)) *layers.IPv4 {
	h := ip(source, destination, layers.IPProtocolGRE, df)
	h.TTL = 64
	for _, c := range change {
		c(h)
	}
	return h
}

func df(h *layers.IPv4)              { h.Flags = layers.IPv4DontFragment }
func tos(v uint8) func(*layers.IPv4) { return func(h *layers.IPv4) { h.TOS = v } }
func id(v uint16) func(*layers.IPv4) { return func(h *layers.IPv4) { h.Id = v } }
func older(h *layers.IPv4)           { h.TTL-- }
func firstFragment(h *layers.IPv4)   { h.Flags = layers.IPv4MoreFragments }
func laterFragment(h *layers.IPv4)   { h.FragOffset = 185 }
func routerAlert(h *layers.IPv4) {
	h.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
}

// gre is a GRE header with a key.
func gre(key uint32, change ...func(*layers.GRE)) *layers.GRE {
	h := &layers.GRE{Protocol: layers.EthernetTypeIPv4, KeyPresent: true, Key: key}
	for _, c := range change {
		c(h)
	}
	return h
}

func noKey(h *layers.GRE)                             { h.KeyPresent, h.Key = false, 0 }
func withChecksum(h *layers.GRE)                      { h.ChecksumPresent = true }
func withSequence(h *layers.GRE)                      { h.SeqPresent, h.Seq = true, 7 }
func carries(p layers.EthernetType) func(*layers.GRE) { return func(h *layers.GRE) { h.Protocol = p } }

// udp is a datagram with so many octets of payload.
func udp(source, destination string, payload int, change ...func(*layers.IPv4)) []byte {
	h := ip(source, destination, layers.IPProtocolUDP, change...)
	u := &layers.UDP{SrcPort: 4000, DstPort: 5000}
	_ = u.SetNetworkLayerForChecksum(h)
	data := make(gopacket.Payload, payload)
	for i := range data {
		data[i] = byte(i)
	}
	return octets(h, u, data)
}

// syn is a TCP SYN with these options.
func syn(source, destination string, options ...layers.TCPOption) []byte {
	h := ip(source, destination, layers.IPProtocolTCP, df)
	s := &layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1, SYN: true, Window: 65535, Options: options}
	_ = s.SetNetworkLayerForChecksum(h)
	return octets(h, s)
}

func mss(v uint16) layers.TCPOption {
	return layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{byte(v >> 8), byte(v)}}
}

var (
	nop        = layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
	timestamps = layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}
)

// wrap puts outer IP and GRE around a packet.
func wrap(o *layers.IPv4, g *layers.GRE, inner []byte) []byte {
	return octets(o, g, gopacket.Payload(inner))
}

// sealed puts the checksum of the outer header right again.
func sealed(packet []byte) []byte {
	b := spoil(packet, 10, 0, 11, 0)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return b
}

// spoil changes octets of a packet: offset, value, offset, value, ...
func spoil(packet []byte, changes ...int) []byte {
	b := append([]byte(nil), packet...)
	for i := 0; i < len(changes); i += 2 {
		b[changes[i]] = byte(changes[i+1])
	}
	return b
}
