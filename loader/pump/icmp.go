// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Specification: RFC 792, RFC 1191 section 4; RFC 4443, sections 2.4 and 3.2.
const (
	icmpUnreachable   = 3
	icmpFragmentation = 4 // code: fragmentation needed and DF set
	icmpHeader        = 8
	icmpEchoReply     = 0
	icmpEcho          = 8

	icmp6TooBig   = 2
	icmp6Informs  = 128 // types from here on are no errors
	icmp6Redirect = 137
	smallestMTU6  = 1280 // RFC 8200, section 5
)

// Implementation.
const (
	icmpQuote  = 128                                   // octets of the packet that an answer quotes
	icmp6Quote = smallestMTU6 - ip6Header - icmpHeader // as many as may be
	icmpRate   = 200                                   // answers a second
)

// icmp sends answers to those who send too big packets. A nil icmp sends none.
type icmp struct {
	file, file6 *os.File // file6 is nil where the kernel has no IPv6
	rate        bucket
}

func openICMP() (*icmp, error) {
	i := &icmp{rate: bucket{rate: icmpRate}}
	var err error
	if i.file, err = openRaw(unix.AF_INET, unix.IPPROTO_ICMP); err != nil {
		return nil, err
	}
	i.file6, _ = openRaw(unix.AF_INET6, unix.IPPROTO_ICMPV6)
	return i, nil
}

// openRaw opens a socket that receives nothing: a copy of every ICMP packet would fill its
// buffer.
func openRaw(family, protocol int) (*os.File, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("raw ICMP socket: %w", err)
	}
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("raw ICMP socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "icmp"), nil
}

// tooBig tells the sender of the packet that mtu octets are the most. The
// kernel routes the answer and gives it its source.
func (i *icmp) tooBig(packet inner, mtu int) {
	if i == nil || !answerable(packet) || !i.rate.take(time.Now()) {
		return
	}
	file, to := i.file, unix.Sockaddr(nil)
	b := make([]byte, icmpHeader, icmpHeader+icmp6Quote)
	if packet.six() {
		// Who cannot send less than IPv6's least is told that: smaller packets are lost here.
		file, to = i.file6, &unix.SockaddrInet6{Addr: packet.source().As16()}
		b[0] = icmp6TooBig
		binary.BigEndian.PutUint32(b[4:], uint32(max(mtu, smallestMTU6)))
		b = append(b, packet.b[:min(len(packet.b), icmp6Quote)]...)
		// The kernel writes the checksum (RFC 3542, section 3.1).
	} else {
		to = &unix.SockaddrInet4{Addr: packet.source().As4()}
		b[0], b[1] = icmpUnreachable, icmpFragmentation
		binary.BigEndian.PutUint16(b[6:], uint16(mtu))
		b = append(b, packet.b[:min(len(packet.b), icmpQuote)]...)
		binary.BigEndian.PutUint16(b[2:], ^fold(sum(0, b)))
	}
	if file == nil {
		return
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return
	}
	// An answer that cannot be sent is like one that is lost.
	_ = raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, to) })
}

// answerable keeps the rules of RFC 1122 section 3.2.2 and of RFC 4443 section 2.4: no error
// about an error, a later fragment, or what came from many; or, of IPv4, goes to many.
func answerable(packet inner) bool {
	source := packet.source()
	if !packet.first() || source.IsUnspecified() || source.IsMulticast() {
		return false
	}
	b := packet.payload()
	if packet.six() {
		// A link-local address says nothing without its link.
		return !source.IsLinkLocalUnicast() && (packet.protocol() != protocolICMPv6 || len(b) > 0 && b[0] >= icmp6Informs && b[0] != icmp6Redirect)
	}
	if source.As4()[0] >= 224 || packet.destination().As4()[0] >= 224 {
		return false
	}
	if packet.protocol() != protocolICMP {
		return true
	}
	return len(b) > 0 && (b[0] == icmpEcho || b[0] == icmpEchoReply)
}
