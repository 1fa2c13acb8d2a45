// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
)

// endMark is the type field of the end mark (RFC 2332, section 5.3).
const endMark = compulsoryBit

const maxPacket = 0xFFFF

// Size is the length of the encoded packet in octets; it may exceed what
// Append accepts. The engine compares it with the MTU before it sends.
func (p *Packet) Size() int {
	f, _ := p.families()
	n := p.entriesOffset(f)
	if p.Type.Indication() {
		n += len(p.Contents)
	} else {
		for i := range p.CIEs {
			n += p.CIEs[i].size(f)
		}
	}
	if p.Extensions == nil {
		return n
	}
	for i := range p.Extensions {
		n += extensionHeader + len(p.Extensions[i].Value)
	}
	return n + extensionHeader + len(p.Trailer)
}

// Marshal encodes the packet: Append to nothing.
func (p *Packet) Marshal() ([]byte, error) {
	return p.Append(make([]byte, 0, p.Size()))
}

// Append appends the encoded packet to b, with packet size, extension offset
// and checksum filled in. It fails, and returns b as it was, if an address does
// not fit its family, a subaddress exceeds 63 octets, an extension its length
// field, or the packet 65535 octets.
func (p *Packet) Append(b []byte) ([]byte, error) {
	f, fail := p.families()
	if fail != nil {
		return b, fail
	}
	if size := p.Size(); size > maxPacket {
		return b, fmt.Errorf("nhrp: %v of %d octets, at most %d", p.Type, size, maxPacket)
	}
	start := len(b)
	out, err := p.appendMandatory(b, f)
	if err != nil {
		return b, err
	}
	if p.Extensions != nil {
		binary.BigEndian.PutUint16(out[start+offExtensions:], uint16(len(out)-start))
		for i := range p.Extensions {
			if out, err = p.Extensions[i].append(out); err != nil {
				return b, err
			}
		}
		out = binary.BigEndian.AppendUint16(out, endMark^p.EndMark&(compulsoryBit|unusedBit))
		out = append(out, 0, 0)
		out = append(out, p.Trailer...)
	}
	binary.BigEndian.PutUint16(out[start+offSize:], uint16(len(out)-start))
	binary.BigEndian.PutUint16(out[start+offChecksum:], Checksum(out[start:]))
	return out, nil
}

// appendMandatory appends fixed header and mandatory part, with packet size,
// checksum and extension offset zero.
func (p *Packet) appendMandatory(b []byte, f families) ([]byte, error) {
	for _, err := range []error{
		checkAddress(p.SourceNBMA, f.nbma, "source NBMA address"),
		checkSubaddress(p.SourceSubaddress, "source subaddress"),
		checkAddress(p.SourceProtocol, f.protocol, "source protocol address"),
		checkAddress(p.DestinationProtocol, f.protocol, "destination protocol address"),
	} {
		if err != nil {
			return b, err
		}
	}
	b = binary.BigEndian.AppendUint16(b, p.AddressFamily)
	b = binary.BigEndian.AppendUint16(b, p.ProtocolType)
	b = append(b, p.SNAP[:]...)
	b = append(b, p.HopCount, 0, 0, 0, 0, 0, 0, Version, byte(p.Type),
		byte(addressSize(p.SourceNBMA, f.nbma)), byte(len(p.SourceSubaddress)),
		byte(addressSize(p.SourceProtocol, f.protocol)), byte(addressSize(p.DestinationProtocol, f.protocol)))
	b = binary.BigEndian.AppendUint16(b, p.Flags)
	if p.Type.Indication() {
		b = binary.BigEndian.AppendUint16(b, uint16(p.ErrorCode))
		b = binary.BigEndian.AppendUint16(b, p.ErrorOffset)
	} else {
		b = binary.BigEndian.AppendUint32(b, p.RequestID)
	}
	b = appendAddress(b, p.SourceNBMA, f.nbma)
	b = append(b, p.SourceSubaddress...)
	b = appendAddress(b, p.SourceProtocol, f.protocol)
	b = appendAddress(b, p.DestinationProtocol, f.protocol)
	if p.Type.Indication() {
		return append(b, p.Contents...), nil
	}
	var err error
	for i := range p.CIEs {
		if b, err = p.CIEs[i].append(b, f); err != nil {
			return b, err
		}
	}
	return b, nil
}
