// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"net/netip"
)

// families are the address lengths of one packet, in octets.
type families struct {
	nbma, protocol int
}

func (p *Packet) families() (families, *DecodeError) {
	var f families
	switch p.AddressFamily {
	case FamilyIPv4:
		f.nbma = 4
	case FamilyIPv6:
		f.nbma = 16
	default:
		return f, fault(ErrFamily, offFamily, "%d is neither 1 (IPv4) nor 2 (IPv6)", p.AddressFamily)
	}
	switch p.ProtocolType {
	case ProtocolIPv4:
		f.protocol = 4
	case ProtocolIPv6:
		f.protocol = 16
	default:
		return f, fault(ErrProtocol, offProtocol, "0x%04x is neither 0x0800 (IPv4) nor 0x86dd (IPv6)", p.ProtocolType)
	}
	return f, nil
}

// FamilyOf gives the address family of an NBMA address, 0 for an invalid one.
func FamilyOf(a netip.Addr) uint16 {
	switch a = a.Unmap(); {
	case a.Is4():
		return FamilyIPv4
	case a.Is6():
		return FamilyIPv6
	}
	return 0
}

// ProtocolOf gives the protocol type of a protocol address, 0 for an invalid one.
func ProtocolOf(a netip.Addr) uint16 {
	switch a = a.Unmap(); {
	case a.Is4():
		return ProtocolIPv4
	case a.Is6():
		return ProtocolIPv6
	}
	return 0
}

// maxSubaddress is what the type and length octet of an NBMA address leaves for
// the length: its top bit is zero, and the next one, E.164, is of no family of
// ours (RFC 2332, section 5.1).
const maxSubaddress = 63

// typeLength checks a type and length octet; want −1 takes any length.
func typeLength(octet byte, want, offset int, name string) (int, *DecodeError) {
	n := int(octet)
	if n > maxSubaddress {
		return 0, fault(ErrLength, offset, "type and length 0x%02x of the %s has bits that are not zero", octet, name)
	}
	return n, addressLength(n, want, offset, name)
}

func addressLength(n, want, offset int, name string) *DecodeError {
	if n != 0 && want >= 0 && n != want {
		return fault(ErrLength, offset, "%s of %d octets, not %d", name, n, want)
	}
	return nil
}

// address makes an address of 0, 4 or 16 octets.
func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// appendAddress appends a in the n octets of its family; an invalid one is
// nothing. An IPv4 address in IPv6 form counts as IPv4 where n is 4.
func appendAddress(b []byte, a netip.Addr, n int) []byte {
	switch addressSize(a, n) {
	case 4:
		v := a.Unmap().As4()
		return append(b, v[:]...)
	case 16:
		v := a.As16()
		return append(b, v[:]...)
	}
	return b
}

// addressSize is the length that appendAddress appends.
func addressSize(a netip.Addr, n int) int {
	if !a.IsValid() {
		return 0
	}
	return n
}

// checkAddress says whether a can be sent in n octets.
func checkAddress(a netip.Addr, n int, name string) error {
	if n == 4 && a.IsValid() && !a.Unmap().Is4() || n == 16 && a.Is4() {
		return fmt.Errorf("nhrp: %s %v does not fit its family of %d octets", name, a, n)
	}
	return nil
}

func checkSubaddress(b []byte, name string) error {
	if len(b) > maxSubaddress {
		return fmt.Errorf("nhrp: %s of %d octets, at most %d", name, len(b), maxSubaddress)
	}
	return nil
}
