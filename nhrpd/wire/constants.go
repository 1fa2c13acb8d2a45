// SPDX-License-Identifier: Apache-2.0

package wire

// Specification constants: RFC 2332, draft-detienne-dmvpn, Cisco.

// GREProtocol is the GRE protocol type under which NHRP rides, without an IP
// header of its own.
const GREProtocol = 0x2001

// Address families and protocol types of Packet.
const (
	FamilyIPv4 uint16 = 1
	FamilyIPv6 uint16 = 2

	ProtocolIPv4 uint16 = 0x0800
	ProtocolIPv6 uint16 = 0x86DD
)

// Version is ar$op.version.
const Version = 1

// HopCount is the hop count of every packet of ours, errors and replies too.
// The RFC leaves the number open; Cisco refuses 0.
const HopCount = 255

// HostPrefix is the prefix length that means a host, as 0 does
// (RFC 2332, section 5.2.0.1).
const HostPrefix uint8 = 0xFF

// Flags of Resolution Request and Reply (RFC 2332, sections 5.2.1 and 5.2.2).
const (
	FlagRouter            uint16 = 0x8000 // Q: the requester is a router
	FlagAuthoritative     uint16 = 0x4000 // A
	FlagDestinationStable uint16 = 0x2000 // D
	FlagUnique            uint16 = 0x1000 // U
	FlagSourceStable      uint16 = 0x0800 // S
)

// Flags of Registration (section 5.2.3) and Purge (section 5.2.5).
const (
	FlagRegistrationUnique uint16 = 0x8000 // U
	FlagPurgeNoReply       uint16 = 0x8000 // N
)

// FlagNAT, in registration and resolution, says that its sender speaks Cisco's
// NAT address extension.
const FlagNAT uint16 = 0x0002

// ErrorCode is the code of an Error Indication (RFC 2332, section 5.2.7).
type ErrorCode uint16

// Error codes.
const (
	ErrorUnrecognizedExtension      ErrorCode = 1
	ErrorLoopDetected               ErrorCode = 3
	ErrorProtocolAddressUnreachable ErrorCode = 6
	ErrorProtocolError              ErrorCode = 7
	ErrorPacketSizeExceeded         ErrorCode = 8
	ErrorInvalidExtension           ErrorCode = 9
	ErrorInvalidResolutionReply     ErrorCode = 10
	ErrorAuthenticationFailure      ErrorCode = 11
	ErrorHopCountExceeded           ErrorCode = 15
)

// Code is the code of a client information entry (RFC 2332, section 5.2.0.1).
type Code uint8

// Codes. All but CodeSuccess are a NAK.
const (
	CodeSuccess                    Code = 0
	CodeAdministrativelyProhibited Code = 4
	CodeInsufficientResources      Code = 5
	CodeNoBinding                  Code = 12
	CodeNotUnique                  Code = 13
	CodeAlreadyRegistered          Code = 14 // unique address already registered
)

// ExtensionType is the type of an extension, 14 bits (RFC 2332, section 5.3).
type ExtensionType uint16

// Extension types. The end mark never appears in Packet.Extensions.
const (
	ExtensionEnd              ExtensionType = 0
	ExtensionResponderAddress ExtensionType = 3
	ExtensionForwardTransit   ExtensionType = 4
	ExtensionReverseTransit   ExtensionType = 5
	ExtensionAuthentication   ExtensionType = 7
	ExtensionVendorPrivate    ExtensionType = 8
	ExtensionNATAddress       ExtensionType = 9 // Cisco
)

// Implementation constants: what one packet may hold. A packet that has more
// is refused whole, with ErrTooMany.
const (
	MaxCIEs       = 256 // in the mandatory part, and in each extension
	MaxExtensions = 64
)
