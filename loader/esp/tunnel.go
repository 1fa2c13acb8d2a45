// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Specification.
const (
	// NextIPv4 is the next header of tunnel mode: an IPv4 packet (RFC 4303, section 2.6).
	NextIPv4 = 4
	// TunnelHeader is the length of the inner header that we make.
	TunnelHeader = 20

	innerTTL      = 64
	flagDF        = 0x4000
	maskFragments = 0x3fff // MF and offset
)

// What Take refuses, besides ErrTruncated.
var (
	// ErrSelectors: the inner header is not what the SA was negotiated for (RFC 4301, section 5.2).
	ErrSelectors = errors.New("esp: addresses or protocol are not the SA's")
	// ErrFragment: the inner packet is a fragment, which nobody puts together here.
	ErrFragment = errors.New("esp: the inner packet is a fragment")
)

// Tunnel is the tunnel mode of an association (RFC 4301, section 5.1.2) that carries one
// protocol between one address at each end: an inner IPv4 header stands around it. The
// outer one is whoever's who sends.
type Tunnel struct {
	here, there [4]byte
	protocol    uint8
	sum         uint32 // of the header without length and TOS
}

// NewTunnel takes the addresses of this end and the peer's, which must be IPv4.
func NewTunnel(here, there netip.Addr, protocol uint8) (*Tunnel, error) {
	if !here.Is4() || !there.Is4() {
		return nil, fmt.Errorf("esp: tunnel mode between %s and %s: not IPv4", here, there)
	}
	t := &Tunnel{here: here.As4(), there: there.As4(), protocol: protocol}
	t.sum = 4<<12 | 5<<8 + flagDF + innerTTL<<8 + uint32(protocol)
	for _, a := range [][4]byte{t.here, t.there} {
		t.sum += uint32(binary.BigEndian.Uint16(a[:])) + uint32(binary.BigEndian.Uint16(a[2:]))
	}
	return t, nil
}

// Append appends the inner header of a packet with length octets of payload. The packet begins
// here, so that nothing is decremented, and has DF, so that its identification may be 0 (RFC
// 6864); who sends copies TOS, ECN included (RFC 6040, section 4.1), and DF into the outer one.
func (t *Tunnel) Append(b []byte, tos uint8, length int) []byte {
	total := TunnelHeader + length
	sum := t.sum + uint32(tos) + uint32(total)
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	b = append(b, 0x45, tos, byte(total>>8), byte(total), 0, 0, flagDF>>8, 0, innerTTL, t.protocol)
	b = binary.BigEndian.AppendUint16(b, ^uint16(sum))
	b = append(b, t.here[:]...)
	return append(b, t.there[:]...)
}

// Take checks the inner header of a packet that came in against what was negotiated, and
// gives its payload, without padding behind it, and its TOS, whose ECN bits the outer ones
// are still to be combined with. An error is ErrTruncated, ErrFragment or ErrSelectors.
func (t *Tunnel) Take(b []byte) (payload []byte, tos uint8, err error) {
	if len(b) < TunnelHeader || b[0]>>4 != 4 {
		return nil, 0, ErrTruncated
	}
	header, total := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case header < TunnelHeader || total < header || total > len(b):
		return nil, 0, ErrTruncated
	case [4]byte(b[12:]) != t.there || [4]byte(b[16:]) != t.here || b[9] != t.protocol:
		return nil, 0, ErrSelectors
	case binary.BigEndian.Uint16(b[6:])&maskFragments != 0:
		return nil, 0, ErrFragment
	}
	return b[header:total], b[1], nil
}
