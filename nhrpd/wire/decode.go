// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// Layout of the fixed header (RFC 2332, section 5.1) and of the beginning of
// the mandatory part (section 5.2), which all types have alike.
const (
	offFamily     = 0
	offProtocol   = 2
	offSNAP       = 4
	offHopCount   = 9
	offSize       = 10
	offChecksum   = 12
	offExtensions = 14
	offVersion    = 16
	offType       = 17
	offNBMA       = 18 // type and length of the source NBMA address
	offSub        = 19 // of the source subaddress

	offSourceLength      = 20
	offDestinationLength = 21
	offFlags             = 22
	offRequestID         = 24
	offErrorCode         = 24
	offErrorOffset       = 26
	offAddresses         = 28

	fixedSize = 20
)

// Decode reads one packet: b begins with the fixed header; what follows the
// packet size that the header states is link padding and ignored. Subaddresses,
// contents, extension values and the trailer of the result alias b: the caller
// leaves b alone as long as the packet is in use, or uses Clone.
//
// What is accepted is encoded again to the same octets, but for a checksum of
// 0xFFFF. Refused, beyond what cannot be read, is what no type may have: a
// source without protocol address, a second entry in a Resolution Request, no
// entry in a Registration, a Purge of no address, a prefix length between a
// host's and 0xFF, an extension given twice.
//
// Every error is a *DecodeError.
func Decode(b []byte) (*Packet, error) {
	p, err := decode(b)
	if err != nil {
		err.Packet = peek(b)
		return nil, err
	}
	return p, nil
}

func decode(b []byte) (*Packet, *DecodeError) {
	if len(b) < fixedSize {
		return nil, fault(ErrTruncated, offSize, "%d octets, less than a fixed header", len(b))
	}
	size := int(binary.BigEndian.Uint16(b[offSize:]))
	if size < fixedSize || size > len(b) {
		return nil, fault(ErrSize, offSize, "packet size %d, received %d octets", size, len(b))
	}
	b = b[:size:size]
	if Checksum(b) != 0 {
		return nil, fault(ErrChecksum, offChecksum, "0x%04x", binary.BigEndian.Uint16(b[offChecksum:]))
	}
	if b[offVersion] != Version {
		return nil, fault(ErrVersion, offVersion, "%d", b[offVersion])
	}
	p := header(b)
	if !p.Type.known() {
		return nil, fault(ErrType, offType, "%d", uint8(p.Type))
	}
	f, err := p.families()
	if err != nil {
		return nil, err
	}
	extensions := int(binary.BigEndian.Uint16(b[offExtensions:]))
	end := size // of the mandatory part
	if extensions != 0 {
		if extensions <= fixedSize || extensions >= size {
			return nil, fault(ErrOffset, offExtensions, "extension offset %d in a packet of %d octets", extensions, size)
		}
		end = extensions
	}
	if err := p.mandatory(b[:end:end], f); err != nil {
		if err.Fault == ErrTruncated && extensions != 0 {
			err.Fault, err.Offset = ErrOffset, offExtensions
		}
		return nil, err
	}
	if extensions != 0 {
		if err := p.parseExtensions(b, extensions); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// header reads the fixed header of b as far as Packet keeps it.
func header(b []byte) *Packet {
	p := &Packet{
		AddressFamily: binary.BigEndian.Uint16(b[offFamily:]),
		ProtocolType:  binary.BigEndian.Uint16(b[offProtocol:]),
		HopCount:      b[offHopCount],
		Type:          Type(b[offType]),
	}
	copy(p.SNAP[:], b[offSNAP:])
	return p
}

// peek reads of a faulty packet what DecodeError.Packet promises.
func peek(b []byte) *Packet {
	if len(b) < fixedSize {
		return nil
	}
	p := header(b)
	f, err := p.families()
	if err == nil && p.addresses(b, f) == nil && !p.Type.Indication() {
		p.RequestID = binary.BigEndian.Uint32(b[offRequestID:])
	}
	return p
}

// addresses reads the beginning of the mandatory part, to the destination.
func (p *Packet) addresses(b []byte, f families) *DecodeError {
	if len(b) < offAddresses {
		return fault(ErrTruncated, len(b), "mandatory part of %d octets", len(b)-fixedSize)
	}
	nbma, err := typeLength(b[offNBMA], f.nbma, offNBMA, "source NBMA address")
	if err != nil {
		return err
	}
	sub, err := typeLength(b[offSub], -1, offSub, "source subaddress")
	if err != nil {
		return err
	}
	source, destination := int(b[offSourceLength]), int(b[offDestinationLength])
	if source != f.protocol {
		return fault(ErrLength, offSourceLength, "source protocol address of %d octets, not %d", source, f.protocol)
	}
	if err := addressLength(destination, f.protocol, offDestinationLength, "destination protocol address"); err != nil {
		return err
	}
	if want := offAddresses + nbma + sub + source + destination; len(b) < want {
		return fault(ErrTruncated, offAddresses, "addresses end at octet %d, the mandatory part at %d", want, len(b))
	}
	p.Flags = binary.BigEndian.Uint16(b[offFlags:])
	b = b[offAddresses:]
	p.SourceNBMA, b = address(b[:nbma]), b[nbma:]
	p.SourceSubaddress, b = clip(b[:sub]), b[sub:]
	p.SourceProtocol, b = address(b[:source]), b[source:]
	p.DestinationProtocol = address(b[:destination])
	return nil
}

// mandatory reads the mandatory part, which ends with b.
func (p *Packet) mandatory(b []byte, f families) *DecodeError {
	if err := p.addresses(b, f); err != nil {
		return err
	}
	at := p.entriesOffset(f)
	if p.Type.Indication() {
		p.ErrorCode = ErrorCode(binary.BigEndian.Uint16(b[offErrorCode:]))
		p.ErrorOffset = binary.BigEndian.Uint16(b[offErrorOffset:])
		p.Contents = clip(b[at:])
		return nil
	}
	p.RequestID = binary.BigEndian.Uint32(b[offRequestID:])
	entries, err := parseCIEs(b[at:], f, at)
	if err != nil {
		return err
	}
	p.CIEs = entries
	return p.checkEntries(f)
}

// entriesOffset is where entries or contents begin.
func (p *Packet) entriesOffset(f families) int {
	return offAddresses + addressSize(p.SourceNBMA, f.nbma) + len(p.SourceSubaddress) +
		addressSize(p.SourceProtocol, f.protocol) + addressSize(p.DestinationProtocol, f.protocol)
}

// CIEOffset is the place of entry i, in octets from the fixed header, for an
// Error Indication about it. It panics if there is no such entry.
func (p *Packet) CIEOffset(i int) int {
	f, _ := p.families()
	at := p.entriesOffset(f)
	for j := range p.CIEs[:i] {
		at += p.CIEs[j].size(f)
	}
	_ = p.CIEs[i]
	return at
}

// checkEntries holds the entries to what their type allows (RFC 2332, sections
// 5.2.1, 5.2.3, 5.2.5) and to prefix lengths that the protocol has.
func (p *Packet) checkEntries(f families) *DecodeError {
	switch n := len(p.CIEs); p.Type {
	case ResolutionRequest:
		if n > 1 {
			return fault(ErrEntries, p.CIEOffset(1), "%d in a Resolution Request", n)
		}
	case RegistrationRequest, RegistrationReply:
		if n == 0 {
			return fault(ErrEntries, p.entriesOffset(f), "none in a %v", p.Type)
		}
	case ProbeRequest, ProbeReply:
		if n > 0 {
			return fault(ErrEntries, p.entriesOffset(f), "%d in a %v", n, p.Type)
		}
	}
	for i := range p.CIEs {
		c := &p.CIEs[i]
		if c.PrefixLength != HostPrefix && int(c.PrefixLength) > 8*f.protocol {
			return fault(ErrPrefixLength, p.CIEOffset(i)+1, "%d of %d bits", c.PrefixLength, 8*f.protocol)
		}
		if !c.Protocol.IsValid() && (p.Type == PurgeRequest || p.Type == PurgeReply) {
			return fault(ErrLength, p.CIEOffset(i)+cieProtocol, "a %v of no address", p.Type)
		}
	}
	return nil
}
