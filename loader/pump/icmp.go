// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Specification: RFC 792, RFC 1191 section 4.
const (
	icmpUnreachable   = 3
	icmpFragmentation = 4 // code: fragmentation needed and DF set
	icmpHeader        = 8
	icmpEchoReply     = 0
	icmpEcho          = 8
)

// Implementation.
const (
	icmpQuote = 128 // octets of the packet that an answer quotes
	icmpRate  = 200 // answers a second
)

// icmp sends answers to those who send too big packets. A nil icmp sends none.
type icmp struct {
	file *os.File
	rate bucket
}

func openICMP() (*icmp, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return nil, fmt.Errorf("raw ICMP socket: %w", err)
	}
	// It receives nothing: a copy of every ICMP packet would fill its buffer.
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("raw ICMP socket: %w", err)
	}
	return &icmp{file: os.NewFile(uintptr(fd), "icmp"), rate: bucket{rate: icmpRate}}, nil
}

// tooBig tells the sender of the packet that mtu octets are the most. The
// kernel routes the answer and gives it its source.
func (i *icmp) tooBig(packet inner, mtu int) {
	source := packet.source()
	if i == nil || !answerable(packet) || !i.rate.take(time.Now()) {
		return
	}
	quote := packet.b[:min(len(packet.b), icmpQuote)]
	b := make([]byte, icmpHeader, icmpHeader+len(quote))
	b[0], b[1] = icmpUnreachable, icmpFragmentation
	binary.BigEndian.PutUint16(b[6:], uint16(mtu))
	b = append(b, quote...)
	binary.BigEndian.PutUint16(b[2:], ^fold(sum(0, b)))
	raw, err := i.file.SyscallConn()
	if err != nil {
		return
	}
	// An answer that cannot be sent is like one that is lost.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: source.As4()})
	})
}

// answerable keeps the rules of RFC 1122 section 3.2.2: no error about an error,
// a later fragment, or what came from or goes to many.
func answerable(packet inner) bool {
	source := packet.source()
	if !packet.first() || source.IsUnspecified() || source.IsMulticast() || source.As4()[0] >= 224 || packet.destination().As4()[0] >= 224 {
		return false
	}
	if packet.protocol() != protocolICMP {
		return true
	}
	b := packet.payload()
	return len(b) > 0 && (b[0] == icmpEcho || b[0] == icmpEchoReply)
}
