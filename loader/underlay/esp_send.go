// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// outgoingESP is what one sendmmsg(2) needs, kept from call to call so that nothing is
// allocated.
type outgoingESP struct {
	messages [MaxSegments]mmsghdr
	vectors  [MaxSegments]unix.Iovec
	name     name
	control  []byte

	conn  *ESPConn
	try   func(fd uintptr) // a method value, made once
	count int              // messages
	sent  int
	errno unix.Errno
}

func newOutgoingESP(c *ESPConn) *outgoingESP {
	o := &outgoingESP{conn: c, control: make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo)+unix.CmsgSpace(4))}
	for i := range o.messages {
		h := &o.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&o.name))
		h.Namelen = c.family.nameLength
		h.Iov = &o.vectors[i]
		h.SetIovlen(1)
	}
	o.try = o.transmit
	return o
}

// SendSegments sends ESP packets of one size, but for the last, which may be shorter,
// with the TOS octet and DF, by one call of the kernel. At most MaxSegments. It leaves
// with the local address, unless that is unspecified, or the one that the socket is bound
// to. It wraps ErrTooBig where a packet is above the path's MTU: those before it were
// sent. It wraps a *Full where the socket's buffer is full; it does not wait.
func (c *ESPConn) SendSegments(local, remote netip.Addr, tos uint8, size int, b []byte) error {
	if !usable(remote) || familyOf(remote) != c.family {
		return fmt.Errorf("underlay: send ESP to %s: %w %s", remote, ErrFamily, c.local.Addr())
	}
	if size < 1 || len(b) > size*MaxSegments {
		return fmt.Errorf("underlay: send ESP to %s: %d octets in packets of %d, at most %d of them", remote, len(b), size, MaxSegments)
	}
	o := c.idle.take()
	if o == nil {
		o = newOutgoingESP(c)
	}
	defer c.idle.give(o)
	o.name.put(netip.AddrPortFrom(remote, 0))
	o.put(local, tos)
	for o.count = 0; len(b) > 0; o.count++ {
		n := min(size, len(b))
		o.vectors[o.count].Base = unsafe.SliceData(b)
		o.vectors[o.count].SetLen(n)
		b = b[n:]
	}
	o.sent, o.errno = 0, 0
	// Write would let one sender in at a time: it is for waiting alone.
	err := pollerError(c.descriptor.Control(o.try))
	if err == nil && o.errno == unix.EAGAIN {
		err = &Full{o.sent}
	}
	clear(o.vectors[:o.count]) // keep nobody's memory
	c.counters.sent.Add(uint64(o.sent))
	if err == nil && o.errno == 0 {
		return nil
	}
	return c.failed(o.errno, err, local, remote, o.count-o.sent)
}

// put makes the control messages of all: source address and TOS.
func (o *outgoingESP) put(local netip.Addr, tos uint8) {
	rest := o.conn.family.putTOS(o.conn.family.putSource(o.control, local), tos)
	for i := range o.messages {
		h := &o.messages[i].header
		h.Control = &o.control[0]
		h.SetControllen(len(o.control) - len(rest))
	}
}

// transmit sends what is left. An error may be about an ICMP message that the kernel tells
// now, of which nothing was sent: it asks again, once for each packet.
func (o *outgoingESP) transmit(fd uintptr) {
	for again := false; o.sent < o.count; {
		o.sendmmsg(fd)
		switch {
		case o.errno == 0:
			again = false
		case o.errno == unix.EAGAIN || again:
			return
		default:
			again = true
			o.conn.queued.Store(true)
			_, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		}
	}
}

func (o *outgoingESP) sendmmsg(fd uintptr) {
	for {
		var n uintptr
		n, _, o.errno = unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.messages[o.sent])), uintptr(o.count-o.sent), unix.MSG_DONTWAIT, 0, 0)
		if o.errno == 0 {
			o.sent += int(n)
		}
		if o.errno != unix.EINTR {
			return
		}
	}
}

// failed counts and explains.
func (c *ESPConn) failed(errno unix.Errno, err error, local, remote netip.Addr, packets int) error {
	if err == nil {
		err = explain(errno, local)
	}
	if err == ErrTooBig {
		c.counters.tooBig.Add(uint64(packets))
	} else {
		c.counters.failed.Add(uint64(packets))
	}
	return fmt.Errorf("underlay: send ESP from %s to %s: %w", c.local.Addr(), remote, err)
}
