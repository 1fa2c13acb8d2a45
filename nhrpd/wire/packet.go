// SPDX-License-Identifier: Apache-2.0

// Package wire is the NHRP codec: RFC 2332, Cisco's extensions and the Traffic
// Indication of draft-detienne-dmvpn. It sees no socket and keeps no state; its
// functions are safe for concurrent use.
package wire

import "net/netip"

// Type is the packet type, ar$op.type (RFC 2332, section 5.1).
type Type uint8

// Packet types. TrafficIndication is draft-detienne-dmvpn's.
const (
	ResolutionRequest   Type = 1
	ResolutionReply     Type = 2
	RegistrationRequest Type = 3
	RegistrationReply   Type = 4
	PurgeRequest        Type = 5
	PurgeReply          Type = 6
	ErrorIndication     Type = 7
	TrafficIndication   Type = 8
)

// Packet is one NHRP packet of any type. NBMA addresses are of the family that
// AddressFamily names, protocol addresses of ProtocolType's; an invalid
// netip.Addr stands for a field of length zero.
type Packet struct {
	AddressFamily uint16  // ar$afn: 1 IPv4, 2 IPv6
	ProtocolType  uint16  // ar$pro.type: 0x0800 or 0x86DD
	SNAP          [5]byte // ar$pro.snap: sent as zero, kept as received
	HopCount      uint8
	Type          Type

	SourceNBMA          netip.Addr
	SourceSubaddress    []byte
	SourceProtocol      netip.Addr
	DestinationProtocol netip.Addr

	// Flags and RequestID of all types but ErrorIndication and
	// TrafficIndication; Flags bits are the Flag constants.
	Flags     uint16
	RequestID uint32
	CIEs      []CIE

	// Of ErrorIndication and TrafficIndication only.
	ErrorCode   ErrorCode
	ErrorOffset uint16
	Contents    []byte

	Extensions []Extension
}

// CIE is a client information entry (RFC 2332, section 5.2.0.1).
type CIE struct {
	Code         Code
	PrefixLength uint8  // 0 and 0xFF mean a host
	Unused       uint16 // as received; sent as zero
	MTU          uint16 // 0: the default
	HoldingTime  uint16 // seconds
	NBMA         netip.Addr
	Subaddress   []byte
	Protocol     netip.Addr
	Preference   uint8
}

// Extension is one element of the extensions part (RFC 2332, section 5.3),
// the end mark excluded. Value is as on the wire; the typed views
// (transit records, authentication, ...) parse and build it.
type Extension struct {
	Type       ExtensionType // without the C and u bits
	Compulsory bool
	Value      []byte
}
