// SPDX-License-Identifier: Apache-2.0

// Package wire is the NHRP codec: RFC 2332, Cisco's extensions and the Traffic
// Indication of draft-detienne-dmvpn. It sees no socket and keeps no state; its
// functions are safe for concurrent use.
package wire

import (
	"net/netip"
	"slices"
)

// Type is the packet type, ar$op.type (RFC 2332, section 5.1).
type Type uint8

// Packet types. TrafficIndication is draft-detienne-dmvpn's; the probe is our own, of
// the range for research (RFC 2332, section 5.2), for systems that announced it.
const (
	ResolutionRequest   Type = 1
	ResolutionReply     Type = 2
	RegistrationRequest Type = 3
	RegistrationReply   Type = 4
	PurgeRequest        Type = 5
	PurgeReply          Type = 6
	ErrorIndication     Type = 7
	TrafficIndication   Type = 8
	ProbeRequest        Type = 240
	ProbeReply          Type = 241
)

// Packet is one NHRP packet of any type. NBMA addresses are of the family that
// AddressFamily names, protocol addresses of ProtocolType's; an invalid
// netip.Addr stands for a field of length zero. What is "as received" is kept
// so that a packet in transit leaves with the octets that it came with; it is
// zero in a packet of our own.
type Packet struct {
	AddressFamily uint16  // ar$afn: FamilyIPv4 or FamilyIPv6
	ProtocolType  uint16  // ar$pro.type: ProtocolIPv4 or ProtocolIPv6
	SNAP          [5]byte // ar$pro.snap: as received
	HopCount      uint8
	Type          Type

	SourceNBMA          netip.Addr
	SourceSubaddress    []byte // at most 63 octets
	SourceProtocol      netip.Addr
	DestinationProtocol netip.Addr

	// Flags holds the Flag constants. ErrorIndication and TrafficIndication
	// have no flags: there it is the unused field as received.
	Flags uint16
	// RequestID and CIEs are of all types but ErrorIndication and
	// TrafficIndication.
	RequestID uint32
	CIEs      []CIE

	// Of ErrorIndication and TrafficIndication only.
	ErrorCode   ErrorCode
	ErrorOffset uint16 // octets from the fixed header of the packet in Contents
	Contents    []byte // the beginning of the packet that it is about

	// Extensions is nil if there is no extensions part, and empty but not nil
	// if there is one with nothing but the end mark.
	Extensions []Extension
	EndMark    uint16 // bits of the end mark's type that were not as in 0x8000; as received
	Trailer    []byte // octets between the end mark and the packet's end; as received
}

// CIE is a client information entry (RFC 2332, section 5.2.0.1).
type CIE struct {
	Code         Code
	PrefixLength uint8  // 0 and HostPrefix mean a host
	Unused       uint16 // as received
	MTU          uint16 // 0: the default
	HoldingTime  uint16 // seconds
	NBMA         netip.Addr
	Subaddress   []byte // at most 63 octets
	Protocol     netip.Addr
	Preference   uint8
}

// Extension is one element of the extensions part (RFC 2332, section 5.3),
// the end mark excluded. Value is as on the wire; the typed views (Entries,
// Authentication, Vendor, Private) read it, the New functions build it.
type Extension struct {
	Type       ExtensionType // without the C and u bits
	Compulsory bool          // C
	Unused     bool          // u, as received
	Value      []byte
}

// Clone copies the packet and everything that it refers to.
func (p *Packet) Clone() *Packet {
	c := *p
	c.SourceSubaddress = slices.Clone(p.SourceSubaddress)
	c.Contents = slices.Clone(p.Contents)
	c.Trailer = slices.Clone(p.Trailer)
	c.CIEs = slices.Clone(p.CIEs)
	for i := range c.CIEs {
		c.CIEs[i].Subaddress = slices.Clone(c.CIEs[i].Subaddress)
	}
	c.Extensions = slices.Clone(p.Extensions)
	for i := range c.Extensions {
		c.Extensions[i].Value = slices.Clone(c.Extensions[i].Value)
	}
	return &c
}

// known says whether a packet may be of the type.
func (t Type) known() bool {
	return t >= ResolutionRequest && t <= TrafficIndication || t.Probe()
}

// Probe says whether it is ProbeRequest or ProbeReply: a request id and no entries.
func (t Type) Probe() bool { return t == ProbeRequest || t == ProbeReply }

// Indication says that the packet is laid out as an Error Indication: it has
// contents instead of a request id and client information entries.
func (t Type) Indication() bool { return t == ErrorIndication || t == TrafficIndication }

// NAK says that the entry is a refusal (RFC 2332, section 5.2.0.1).
func (c Code) NAK() bool { return c != CodeSuccess }

// Prefix is the entry's prefix over address: the protocol address of the entry
// or, where the entry has none, the one of the header that it stands for. The
// host bits are cleared. It is not valid if address is not or the length
// exceeds the address's bits.
func (c *CIE) Prefix(address netip.Addr) netip.Prefix {
	bits := int(c.PrefixLength)
	if c.PrefixLength == 0 || c.PrefixLength == HostPrefix {
		bits = address.BitLen()
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
