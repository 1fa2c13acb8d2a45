// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// SPI is the security parameter index of an IKE SA (RFC 7296, section 3.1).
type SPI [8]byte

// IsZero says whether the SPI is the one that stands for "not yet known".
func (s SPI) IsZero() bool { return s == SPI{} }

func (s SPI) String() string { return hex.EncodeToString(s[:]) }

// ExchangeType names what a message is part of (RFC 7296, section 3.1).
type ExchangeType uint8

// Exchange types; the last two are RFC 9242's and RFC 9370's.
const (
	IKESAInit       ExchangeType = 34
	IKEAuth         ExchangeType = 35
	CreateChildSA   ExchangeType = 36
	Informational   ExchangeType = 37
	IKEIntermediate ExchangeType = 43
	IKEFollowupKE   ExchangeType = 44
)

func (t ExchangeType) String() string {
	switch t {
	case IKESAInit:
		return "IKE_SA_INIT"
	case IKEAuth:
		return "IKE_AUTH"
	case CreateChildSA:
		return "CREATE_CHILD_SA"
	case Informational:
		return "INFORMATIONAL"
	case IKEIntermediate:
		return "IKE_INTERMEDIATE"
	case IKEFollowupKE:
		return "IKE_FOLLOWUP_KE"
	}
	return fmt.Sprintf("exchange(%d)", uint8(t))
}

// Header is the IKE header (RFC 7296, section 3.1) without what follows from the
// payloads: the type of the first one, and the length.
type Header struct {
	SPIi, SPIr SPI
	Exchange   ExchangeType
	Initiator  bool // the sender is the original initiator of this IKE SA
	Response   bool
	MessageID  uint32
}

const (
	version       = 0x20
	flagInitiator = 0x08
	flagResponse  = 0x20
)

// ParseHeader reads the header of one datagram, without the non-ESP marker.
// It gives the type of the first payload, and refuses a datagram that is not
// just as long as its header says. The minor version, the version flag and the
// reserved flags are ignored (section 2.5).
func ParseHeader(b []byte) (h Header, first PayloadType, err error) {
	if len(b) < HeaderSize {
		return h, 0, syntax("header", "%d octets", len(b))
	}
	copy(h.SPIi[:], b)
	copy(h.SPIr[:], b[8:])
	first = PayloadType(b[16])
	h.Exchange = ExchangeType(b[18])
	h.Initiator = b[19]&flagInitiator != 0
	h.Response = b[19]&flagResponse != 0
	h.MessageID = binary.BigEndian.Uint32(b[20:])
	switch major := b[17] >> 4; {
	case major > version>>4:
		return h, first, fmt.Errorf("ike: header: version %d.%d: %w", major, b[17]&15, ErrMajorVersion)
	case major < version>>4:
		return h, first, syntax("header", "version %d.%d", major, b[17]&15)
	}
	if n := binary.BigEndian.Uint32(b[24:]); uint64(n) != uint64(len(b)) {
		return h, first, syntax("header", "length %d in a datagram of %d", n, len(b))
	}
	if len(b) > MaxMessage {
		return h, first, syntax("header", "length %d, at most %d", len(b), MaxMessage)
	}
	return h, first, nil
}

// appendHeader writes the header with length zero; Message.Append fills it in.
func (h Header) appendHeader(b []byte, first PayloadType) []byte {
	b = append(b, h.SPIi[:]...)
	b = append(b, h.SPIr[:]...)
	var flags byte
	if h.Initiator {
		flags |= flagInitiator
	}
	if h.Response {
		flags |= flagResponse
	}
	b = append(b, byte(first), version, byte(h.Exchange), flags)
	b = binary.BigEndian.AppendUint32(b, h.MessageID)
	return append(b, 0, 0, 0, 0)
}

// String is the line an operator reads: exchange, direction, message id, SPIs.
func (h Header) String() string {
	kind := "request"
	if h.Response {
		kind = "response"
	}
	return fmt.Sprintf("%s %s %d %s_i %s_r", h.Exchange, kind, h.MessageID, h.SPIi, h.SPIr)
}
