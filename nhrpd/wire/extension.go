// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Layout of an extension: C and u bits and type, length, value.
const (
	extensionHeader = 4

	compulsoryBit uint16 = 0x8000
	unusedBit     uint16 = 0x4000
	typeMask      uint16 = 0x3FFF
)

// parseExtensions reads the extensions part of the packet b, from at.
func (p *Packet) parseExtensions(b []byte, at int) *DecodeError {
	n, err := countExtensions(b, at)
	if err != nil {
		return err
	}
	p.Extensions = make([]Extension, n)
	for i := range p.Extensions {
		e := &p.Extensions[i]
		word, length := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		*e = Extension{
			Type:       ExtensionType(word & typeMask),
			Compulsory: word&compulsoryBit != 0,
			Unused:     word&unusedBit != 0,
			Value:      clip(b[at+extensionHeader : at+extensionHeader+length]),
		}
		if e.Type != ExtensionVendorPrivate && slices.ContainsFunc(p.Extensions[:i], e.sameType) {
			again := fault(ErrDuplicate, at, "%v", e.Type)
			again.Code = ErrorInvalidExtension
			return again
		}
		at += extensionHeader + length
	}
	p.EndMark = binary.BigEndian.Uint16(b[at:]) ^ endMark
	p.Trailer = clip(b[at+extensionHeader:])
	return nil
}

func (e *Extension) sameType(other Extension) bool { return e.Type == other.Type }

// countExtensions walks to the end mark.
func countExtensions(b []byte, at int) (int, *DecodeError) {
	for n := 0; ; n++ {
		if len(b)-at < extensionHeader {
			return 0, fault(ErrExtension, at, "no end mark, %d octets left", len(b)-at)
		}
		kind, length := binary.BigEndian.Uint16(b[at:])&typeMask, int(binary.BigEndian.Uint16(b[at+2:]))
		if kind == uint16(ExtensionEnd) {
			if length != 0 {
				return 0, fault(ErrExtension, at, "end mark of length %d", length)
			}
			return n, nil
		}
		if n == MaxExtensions {
			return 0, fault(ErrTooMany, at, "more than %d extensions", MaxExtensions)
		}
		if length > len(b)-at-extensionHeader {
			return 0, fault(ErrExtension, at, "%v of length %d, %d octets left",
				ExtensionType(kind), length, len(b)-at-extensionHeader)
		}
		at += extensionHeader + length
	}
}

func (e *Extension) append(b []byte) ([]byte, error) {
	if e.Type == ExtensionEnd || uint16(e.Type)&^typeMask != 0 {
		return b, fmt.Errorf("nhrp: extension of type %d", uint16(e.Type))
	}
	if len(e.Value) > maxPacket {
		return b, fmt.Errorf("nhrp: %v of %d octets, at most %d", e.Type, len(e.Value), maxPacket)
	}
	word := uint16(e.Type)
	if e.Compulsory {
		word |= compulsoryBit
	}
	if e.Unused {
		word |= unusedBit
	}
	b = binary.BigEndian.AppendUint16(b, word)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Value)))
	return append(b, e.Value...), nil
}

// Known says whether this package knows what the extension means. One that is
// not known and compulsory earns error 1 from the responder; in transit it is
// forwarded, but nothing is cached or recorded (RFC 2332, section 5.3).
func (t ExtensionType) Known() bool {
	switch t {
	case ExtensionResponderAddress, ExtensionForwardTransit, ExtensionReverseTransit,
		ExtensionAuthentication, ExtensionVendorPrivate, ExtensionNATAddress:
		return true
	}
	return false
}

// UnknownCompulsory gives the index of the first extension that is compulsory
// and not known, −1 if there is none.
func (p *Packet) UnknownCompulsory() int {
	return slices.IndexFunc(p.Extensions, func(e Extension) bool { return e.Compulsory && !e.Type.Known() })
}

// Index gives the index of the first extension of a type, −1 if there is none.
func (p *Packet) Index(t ExtensionType) int {
	return slices.IndexFunc(p.Extensions, func(e Extension) bool { return e.Type == t })
}

// Extension gives the first extension of a type, nil if there is none. It
// points into p.Extensions.
func (p *Packet) Extension(t ExtensionType) *Extension {
	if i := p.Index(t); i >= 0 {
		return &p.Extensions[i]
	}
	return nil
}

// SetExtension puts e in the place of the first of its type, or at the end if
// there is none. The slice is not shared with packets that p was copied from.
func (p *Packet) SetExtension(e Extension) {
	extensions := slices.Clone(p.Extensions)
	if i := p.Index(e.Type); i >= 0 {
		extensions[i] = e
	} else {
		extensions = append(extensions, e)
	}
	p.Extensions = extensions
}

// RemoveExtension takes away every extension of a type.
func (p *Packet) RemoveExtension(t ExtensionType) {
	p.Extensions = slices.DeleteFunc(slices.Clone(p.Extensions), func(e Extension) bool { return e.Type == t })
}

// ExtensionOffset is the place of extension i, in octets from the fixed header,
// for an Error Indication about it. It panics if there is no such extension.
func (p *Packet) ExtensionOffset(i int) int {
	f, _ := p.families()
	at := p.entriesOffset(f) + len(p.Contents)
	for j := range p.CIEs {
		at += p.CIEs[j].size(f)
	}
	for _, e := range p.Extensions[:i] {
		at += extensionHeader + len(e.Value)
	}
	_ = p.Extensions[i]
	return at
}
