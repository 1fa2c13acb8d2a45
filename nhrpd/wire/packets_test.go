// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// The cast: hub 10.0.0.1 (192.0.2.1), spoke 10.0.0.11 (198.51.100.11), and the
// same over IPv6.
var (
	hub, hubNBMA     = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
	spoke, spokeNBMA = netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("198.51.100.11")
	lan              = netip.MustParseAddr("10.10.1.0")

	hub6               = netip.MustParseAddr("fd00::1")
	spoke6, spoke6NBMA = netip.MustParseAddr("fd00::11"), netip.MustParseAddr("2001:db8:1::11")
)

// everyType is every type that there is.
var everyType = []Type{
	ResolutionRequest, ResolutionReply, RegistrationRequest, RegistrationReply, PurgeRequest, PurgeReply, ErrorIndication,
	TrafficIndication, ProbeRequest, ProbeReply,
}

// registration is a Registration Request with one entry and every extension.
func registration(t testing.TB) *Packet {
	t.Helper()
	p := &Packet{
		AddressFamily: FamilyIPv4, ProtocolType: ProtocolIPv4, HopCount: HopCount, Type: RegistrationRequest,
		SourceNBMA: spokeNBMA, SourceProtocol: spoke, DestinationProtocol: hub,
		Flags: FlagRegistrationUnique | FlagNAT, RequestID: 1,
		CIEs: []CIE{{PrefixLength: HostPrefix, MTU: 1400, HoldingTime: 7200}},
	}
	for _, kind := range []ExtensionType{ExtensionResponderAddress, ExtensionForwardTransit,
		ExtensionReverseTransit, ExtensionNATAddress} {
		e, err := p.NewEntries(kind)
		if err != nil {
			t.Fatal(err)
		}
		p.SetExtension(e)
	}
	secret, err := NewCiscoAuthentication("test1234")
	if err != nil {
		t.Fatal(err)
	}
	p.SetExtension(secret)
	return p
}

// bare is a packet of a type with one entry if it has any, or with contents, and nothing more.
func bare(kind Type) *Packet {
	p := &Packet{
		AddressFamily: FamilyIPv4, ProtocolType: ProtocolIPv4, HopCount: HopCount, Type: kind,
		SourceNBMA: spokeNBMA, SourceProtocol: spoke, DestinationProtocol: hub,
	}
	if kind.Indication() {
		p.Contents = []byte{0x45, 0, 0, 20}
	} else if p.RequestID = 0x01020304; !kind.Probe() {
		p.CIEs = []CIE{{Protocol: lan, PrefixLength: 24}}
	}
	return p
}

func marshal(t testing.TB, p *Packet) []byte {
	t.Helper()
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seal writes packet size and checksum over b.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint16(b[offSize:], uint16(len(b)))
	return sum(b)
}

// sum writes the checksum over as much of b as the packet size says.
func sum(b []byte) []byte {
	size := min(int(binary.BigEndian.Uint16(b[offSize:])), len(b))
	binary.BigEndian.PutUint16(b[offChecksum:], 0)
	binary.BigEndian.PutUint16(b[offChecksum:], Checksum(b[:size]))
	return b
}
