// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// family is what IPv4 and IPv6 have under names of their own.
type family struct {
	domain     int // AF_INET, AF_INET6
	level      int // of options and control messages
	nameLength uint32
	header     int // octets of the IP header without options

	hops, discover, errors, tellDestination, tellTOS, mtu int // options

	destination     int // control message of the destination, and of the source when sending
	destinationSize int
	tos             int // control message of the TOS octet
	origin          uint8
}

var (
	ipv4 = &family{
		domain: unix.AF_INET, level: unix.IPPROTO_IP, nameLength: unix.SizeofSockaddrInet4, header: 20,
		hops: unix.IP_TTL, discover: unix.IP_MTU_DISCOVER, errors: unix.IP_RECVERR,
		tellDestination: unix.IP_PKTINFO, tellTOS: unix.IP_RECVTOS, mtu: unix.IP_MTU,
		destination: unix.IP_PKTINFO, destinationSize: unix.SizeofInet4Pktinfo, tos: unix.IP_TOS, origin: unix.SO_EE_ORIGIN_ICMP,
	}
	ipv6 = &family{
		domain: unix.AF_INET6, level: unix.IPPROTO_IPV6, nameLength: unix.SizeofSockaddrInet6, header: 40,
		hops: unix.IPV6_UNICAST_HOPS, discover: unix.IPV6_MTU_DISCOVER, errors: unix.IPV6_RECVERR,
		tellDestination: unix.IPV6_RECVPKTINFO, tellTOS: unix.IPV6_RECVTCLASS, mtu: unix.IPV6_MTU,
		destination: unix.IPV6_PKTINFO, destinationSize: unix.SizeofInet6Pktinfo, tos: unix.IPV6_TCLASS, origin: unix.SO_EE_ORIGIN_ICMP6,
	}
)

// familyOf gives that of an address, which must be valid; ::ffff:a.b.c.d is of IPv6, and
// nobody's.
func familyOf(a netip.Addr) *family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// IPHeader gives the octets of the IP header without options around what goes to an address.
func IPHeader(to netip.Addr) int { return familyOf(to).header }

// usable says that packets can go to, or come from, an address: one of IPv6 needs no zone.
func usable(a netip.Addr) bool { return a.IsValid() && !a.Is4In6() && a.Zone() == "" }

// socket opens one of the family alone.
func (f *family) socket(kind, protocol int) (int, error) {
	fd, err := unix.Socket(f.domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil || f == ipv4 || kind&unix.SOCK_RAW == unix.SOCK_RAW { // those are of one family by nature
		return fd, err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("set IPV6_V6ONLY: %w", err)
	}
	return fd, nil
}

// option is one of a socket.
type option struct{ level, name, value int }

// set sets options, in their order.
func set(fd int, all ...option) error {
	for _, o := range all {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("set option %d of level %d: %w", o.name, o.level, err)
		}
	}
	return nil
}

// systemAddress is an address as bind(2) wants it.
func systemAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// name is a sockaddr of either family, as the kernel reads and writes it.
type name struct {
	family uint16
	port   [2]byte
	rest   [24]byte // IPv4: address; IPv6: flow, address, scope
}

func (n *name) put(a netip.AddrPort) {
	*n = name{}
	binary.BigEndian.PutUint16(n.port[:], a.Port())
	if a.Addr().Is4() {
		n.family = unix.AF_INET
		b := a.Addr().As4()
		copy(n.rest[:], b[:])
		return
	}
	n.family = unix.AF_INET6
	b := a.Addr().As16()
	copy(n.rest[4:], b[:])
}

func (n *name) get() netip.AddrPort {
	port := binary.BigEndian.Uint16(n.port[:])
	if n.family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n.rest[:])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(n.rest[4:])), port)
}

// putSource writes the control message that makes one packet leave with a source address;
// none where that is unspecified.
func (f *family) putSource(b []byte, local netip.Addr) (rest []byte) {
	if !local.IsValid() || local.IsUnspecified() || familyOf(local) != f {
		return b
	}
	data, rest := putControl(b, f.level, f.destination, f.destinationSize)
	clear(data)
	if f == ipv4 {
		a := local.As4()
		copy(data[4:8], a[:]) // behind the index of the device
	} else {
		a := local.As16()
		copy(data, a[:])
	}
	return rest
}

// putTOS writes the control message that sets the TOS octet, or traffic class, of one
// packet.
func (f *family) putTOS(b []byte, tos uint8) (rest []byte) {
	data, rest := putControl(b, f.level, f.tos, 4)
	binary.NativeEndian.PutUint32(data, uint32(tos))
	return rest
}

// ours reads our own address out of a control message about what was received: also where
// an IPv4 datagram went to a broadcast. heard: out of one about an error, where IPv4 has it
// at another place.
func (f *family) ours(data []byte, heard bool) (netip.Addr, bool) {
	switch {
	case len(data) < f.destinationSize:
		return netip.Addr{}, false
	case f == ipv6:
		return netip.AddrFrom16([16]byte(data)), true
	case heard:
		return netip.AddrFrom4([4]byte(data[8:])), true
	}
	return netip.AddrFrom4([4]byte(data[4:])), true
}

// outerTOS reads the TOS octet: one octet of IPv4, an integer of IPv6.
func (f *family) outerTOS(data []byte) uint8 {
	if f == ipv6 && len(data) >= 4 {
		return uint8(binary.NativeEndian.Uint32(data))
	}
	if len(data) >= 1 {
		return data[0]
	}
	return 0
}
