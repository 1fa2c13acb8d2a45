// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// Layout of a client information entry (RFC 2332, section 5.2.0.1).
const (
	cieNBMA     = 8  // type and length of the NBMA address
	cieSub      = 9  // of the subaddress
	cieProtocol = 10 // length of the protocol address
	cieSize     = 12
)

// parseCIEs parses b, which must hold whole entries; base is b's place in the
// packet and counts in the offset of errors.
func parseCIEs(b []byte, f families, base int) ([]CIE, *DecodeError) {
	if len(b) == 0 {
		return nil, nil
	}
	n, err := countCIEs(b, f, base)
	if err != nil {
		return nil, err
	}
	entries := make([]CIE, n)
	for i := range entries {
		b = entries[i].read(b)
	}
	return entries, nil
}

// countCIEs checks every entry of b before anything is stored of one.
func countCIEs(b []byte, f families, base int) (int, *DecodeError) {
	n := 0
	for off := 0; off < len(b); n++ {
		if n == MaxCIEs {
			return 0, fault(ErrTooMany, base+off, "more than %d client information entries", MaxCIEs)
		}
		e, at := b[off:], base+off
		if len(e) < cieSize {
			return 0, fault(ErrTruncated, at, "client information entry of %d octets", len(e))
		}
		nbma, err := typeLength(e[cieNBMA], f.nbma, at+cieNBMA, "client NBMA address")
		if err != nil {
			return 0, err
		}
		sub, err := typeLength(e[cieSub], -1, at+cieSub, "client subaddress")
		if err != nil {
			return 0, err
		}
		protocol := int(e[cieProtocol])
		if err := addressLength(protocol, f.protocol, at+cieProtocol, "client protocol address"); err != nil {
			return 0, err
		}
		size := cieSize + nbma + sub + protocol
		if len(e) < size {
			return 0, fault(ErrTruncated, at, "client information entry of %d octets has %d", size, len(e))
		}
		off += size
	}
	return n, nil
}

// read fills the entry from the beginning of b, which countCIEs has checked,
// and returns the rest. Subaddress aliases b.
func (c *CIE) read(b []byte) []byte {
	nbma, sub, protocol := int(b[cieNBMA]), int(b[cieSub]), int(b[cieProtocol])
	*c = CIE{
		Code:         Code(b[0]),
		PrefixLength: b[1],
		Unused:       binary.BigEndian.Uint16(b[2:]),
		MTU:          binary.BigEndian.Uint16(b[4:]),
		HoldingTime:  binary.BigEndian.Uint16(b[6:]),
		Preference:   b[11],
	}
	b = b[cieSize:]
	c.NBMA, b = address(b[:nbma]), b[nbma:]
	c.Subaddress, b = clip(b[:sub]), b[sub:]
	c.Protocol, b = address(b[:protocol]), b[protocol:]
	return b
}

// clip is b without room to append over what follows, nil if empty.
func clip(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b[:len(b):len(b)]
}

// size is the length of the entry on the wire.
func (c *CIE) size(f families) int {
	return cieSize + addressSize(c.NBMA, f.nbma) + len(c.Subaddress) + addressSize(c.Protocol, f.protocol)
}

// append appends the entry; it fails if an address does not fit its family.
func (c *CIE) append(b []byte, f families) ([]byte, error) {
	if err := checkAddress(c.NBMA, f.nbma, "client NBMA address"); err != nil {
		return b, err
	}
	if err := checkSubaddress(c.Subaddress, "client subaddress"); err != nil {
		return b, err
	}
	if err := checkAddress(c.Protocol, f.protocol, "client protocol address"); err != nil {
		return b, err
	}
	b = append(b, byte(c.Code), c.PrefixLength)
	b = binary.BigEndian.AppendUint16(b, c.Unused)
	b = binary.BigEndian.AppendUint16(b, c.MTU)
	b = binary.BigEndian.AppendUint16(b, c.HoldingTime)
	b = append(b, byte(addressSize(c.NBMA, f.nbma)), byte(len(c.Subaddress)),
		byte(addressSize(c.Protocol, f.protocol)), c.Preference)
	b = appendAddress(b, c.NBMA, f.nbma)
	b = append(b, c.Subaddress...)
	return appendAddress(b, c.Protocol, f.protocol), nil
}
