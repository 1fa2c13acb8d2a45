// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"dmvpn/loader/tables"
)

// received is the room for one packet of a raw GRE socket and what came beside it.
type received struct {
	header  unix.Msghdr
	vector  unix.Iovec
	name    name
	control []byte
}

func (r *received) init() {
	r.control = make([]byte, 512) // extension headers too; what is longer is cut
	r.header.Name = (*byte)(unsafe.Pointer(&r.name))
	r.header.Control = &r.control[0]
	r.header.Iov = &r.vector
	r.header.SetIovlen(1)
}

// read is recvmsg(2).
func (r *received) read(fd uintptr, buf []byte) (int, error) {
	r.vector.Base = unsafe.SliceData(buf)
	r.vector.SetLen(len(buf))
	r.header.Namelen = unix.SizeofSockaddrInet6
	r.header.SetControllen(len(r.control))
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.header)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// parse reads GRE that came in IPv6. The error is a *Malformed, whose octets are those
// behind the IP header and its own 40.
func (r *received) parse(b []byte, local netip.Addr) (Packet, error) {
	p := Packet{Source: r.name.get().Addr(), Destination: local}
	control := r.control[:r.header.Controllen]
	for {
		level, kind, data, rest, ok := nextControl(control)
		if !ok {
			break
		}
		control = rest
		switch {
		case level != ipv6.level:
		case kind == ipv6.destination:
			if a, ok := ipv6.ours(data, false); ok {
				p.Destination = a
			}
		case kind == ipv6.tos:
			p.TOS = ipv6.outerTOS(data)
		case kind == unix.IPV6_HOPOPTS, kind == unix.IPV6_DSTOPTS:
			p.Options = true
		}
	}
	var reason tables.Reason
	if p.Header, p.Payload, reason = ParseGRE(b); reason != tables.DropNone {
		return Packet{}, &Malformed{Packet: p, Reason: reason, Octets: len(b) + ipv6.header}
	}
	return p, nil
}
