// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// String is the RFC's name of the type.
func (t Type) String() string {
	switch t {
	case ResolutionRequest:
		return "Resolution Request"
	case ResolutionReply:
		return "Resolution Reply"
	case RegistrationRequest:
		return "Registration Request"
	case RegistrationReply:
		return "Registration Reply"
	case PurgeRequest:
		return "Purge Request"
	case PurgeReply:
		return "Purge Reply"
	case ErrorIndication:
		return "Error Indication"
	case TrafficIndication:
		return "Traffic Indication"
	case ProbeRequest:
		return "Probe Request"
	case ProbeReply:
		return "Probe Reply"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// String is the RFC's name of the code.
func (c Code) String() string {
	switch c {
	case CodeSuccess:
		return "success"
	case CodeAdministrativelyProhibited:
		return "administratively prohibited"
	case CodeInsufficientResources:
		return "insufficient resources"
	case CodeNoBinding:
		return "no binding exists"
	case CodeNotUnique:
		return "binding exists but is not unique"
	case CodeAlreadyRegistered:
		return "unique address already registered"
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// String is the RFC's name of the code.
func (c ErrorCode) String() string {
	switch c {
	case ErrorUnrecognizedExtension:
		return "unrecognized extension"
	case ErrorLoopDetected:
		return "loop detected"
	case ErrorProtocolAddressUnreachable:
		return "protocol address unreachable"
	case ErrorProtocolError:
		return "protocol error"
	case ErrorPacketSizeExceeded:
		return "packet size exceeded"
	case ErrorInvalidExtension:
		return "invalid extension"
	case ErrorInvalidResolutionReply:
		return "invalid resolution reply received"
	case ErrorAuthenticationFailure:
		return "authentication failure"
	case ErrorHopCountExceeded:
		return "hop count exceeded"
	}
	return fmt.Sprintf("error %d", uint16(c))
}

// String is the RFC's name of the extension, or Cisco's.
func (t ExtensionType) String() string {
	switch t {
	case ExtensionEnd:
		return "End"
	case ExtensionResponderAddress:
		return "Responder Address"
	case ExtensionForwardTransit:
		return "Forward Transit NHS Record"
	case ExtensionReverseTransit:
		return "Reverse Transit NHS Record"
	case ExtensionAuthentication:
		return "Authentication"
	case ExtensionVendorPrivate:
		return "Vendor Private"
	case ExtensionNATAddress:
		return "NAT Address"
	}
	return fmt.Sprintf("extension 0x%04x", uint16(t))
}
