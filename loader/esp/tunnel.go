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
	// NextIPv6 is the same of IPv6.
	NextIPv6 = 41

	headerIPv4 = 20
	headerIPv6 = 40

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
// protocol between one address at each end: an inner IP header stands around it. The
// outer one is whoever's who sends, and may be of the other version.
type Tunnel struct {
	here, there netip.Addr
	protocol    uint8
	sum         uint32 // of the IPv4 header without length and TOS
}

// NewTunnel takes the addresses of this end and the peer's, which must be of one version.
func NewTunnel(here, there netip.Addr, protocol uint8) (*Tunnel, error) {
	if !here.IsValid() || here.Is4() != there.Is4() || here.Is4In6() || there.Is4In6() {
		return nil, fmt.Errorf("esp: tunnel mode between %s and %s: not two addresses of one version", here, there)
	}
	t := &Tunnel{here: here, there: there, protocol: protocol}
	if here.Is4() {
		t.sum = 4<<12 | 5<<8 + flagDF + innerTTL<<8 + uint32(protocol)
		for _, a := range [][]byte{here.AsSlice(), there.AsSlice()} {
			t.sum += uint32(binary.BigEndian.Uint16(a)) + uint32(binary.BigEndian.Uint16(a[2:]))
		}
	}
	return t, nil
}

// Header is the length of the inner header that we make.
func (t *Tunnel) Header() int { return TunnelHeader(t.here) }

// TunnelHeader is the length of an inner header of the version of an address.
func TunnelHeader(a netip.Addr) int {
	if a.Is4() {
		return headerIPv4
	}
	return headerIPv6
}

// Next is the next header of packets in tunnel mode: NextIPv4 or NextIPv6.
func (t *Tunnel) Next() uint8 {
	if t.here.Is4() {
		return NextIPv4
	}
	return NextIPv6
}

// Append appends the inner header of a packet with length octets of payload. The packet begins
// here, so that nothing is decremented, and has DF, so that its identification may be 0 (RFC
// 6864); who sends copies TOS, ECN included (RFC 6040, section 4.1), and DF into the outer one.
func (t *Tunnel) Append(b []byte, tos uint8, length int) []byte {
	if t.here.Is6() {
		here, there := t.here.As16(), t.there.As16()
		b = append(b, 0x60|tos>>4, tos<<4, 0, 0, byte(length>>8), byte(length), t.protocol, innerTTL)
		return append(append(b, here[:]...), there[:]...)
	}
	here, there := t.here.As4(), t.there.As4()
	total := headerIPv4 + length
	sum := t.sum + uint32(tos) + uint32(total)
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	b = append(b, 0x45, tos, byte(total>>8), byte(total), 0, 0, flagDF>>8, 0, innerTTL, t.protocol)
	b = binary.BigEndian.AppendUint16(b, ^uint16(sum))
	return append(append(b, here[:]...), there[:]...)
}

// Take checks the inner header of a packet that came in against what was negotiated, and
// gives its payload, without padding behind it, and its TOS, whose ECN bits the outer ones
// are still to be combined with. An error is ErrTruncated, ErrFragment or ErrSelectors: of
// IPv6 this is also what stands behind extension headers.
func (t *Tunnel) Take(b []byte) (payload []byte, tos uint8, err error) {
	if t.here.Is6() {
		return t.take6(b)
	}
	if len(b) < headerIPv4 || b[0]>>4 != 4 {
		return nil, 0, ErrTruncated
	}
	header, total := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case header < headerIPv4 || total < header || total > len(b):
		return nil, 0, ErrTruncated
	case [4]byte(b[12:]) != t.there.As4() || [4]byte(b[16:]) != t.here.As4() || b[9] != t.protocol:
		return nil, 0, ErrSelectors
	case binary.BigEndian.Uint16(b[6:])&maskFragments != 0:
		return nil, 0, ErrFragment
	}
	return b[header:total], b[1], nil
}

func (t *Tunnel) take6(b []byte) (payload []byte, tos uint8, err error) {
	const fragment = 44 // RFC 8200, section 4.5
	if len(b) < headerIPv6 || b[0]>>4 != 6 {
		return nil, 0, ErrTruncated
	}
	total := headerIPv6 + int(binary.BigEndian.Uint16(b[4:]))
	switch {
	case total > len(b):
		return nil, 0, ErrTruncated
	case [16]byte(b[8:]) != t.there.As16() || [16]byte(b[24:]) != t.here.As16():
		return nil, 0, ErrSelectors
	case b[6] == fragment:
		return nil, 0, ErrFragment
	case b[6] != t.protocol:
		return nil, 0, ErrSelectors
	}
	return b[headerIPv6:total], b[0]<<4 | b[1]>>4, nil
}
