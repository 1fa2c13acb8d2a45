// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// outgoingGRE is what one sendmsg(2) needs, kept from call to call so that nothing is
// allocated: multicast is copied packet by packet.
type outgoingGRE struct {
	header  unix.Msghdr
	vectors [2]unix.Iovec
	name    name
	gre     [baseLength + wordLength]byte
	control []byte

	try   func(fd uintptr) bool // a method value, made once; false waits
	errno unix.Errno
}

func newOutgoingGRE(c *Conn) *outgoingGRE {
	o := &outgoingGRE{control: make([]byte, unix.CmsgSpace(4))}
	o.header.Name = (*byte)(unsafe.Pointer(&o.name))
	o.header.Namelen = c.family.nameLength
	o.header.Iov = &o.vectors[0]
	o.header.SetIovlen(len(o.vectors))
	o.header.Control = &o.control[0]
	o.header.SetControllen(len(o.control))
	o.try = o.transmit
	return o
}

func (c *Conn) acquire() *outgoingGRE {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return newOutgoingGRE(c)
	}
	o := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return o
}

func (c *Conn) release(o *outgoingGRE) {
	c.mu.Lock()
	c.idle = append(c.idle, o)
	c.mu.Unlock()
}

// Send sends the payload in GRE with TTL 64, DF set and the TOS octet, to an address of
// the family of the Conn's. It waits while the socket's buffer is full, and allocates
// nothing. It wraps ErrTooBig where the packet is above the path's MTU.
func (c *Conn) Send(to netip.Addr, h Header, tos uint8, payload []byte) error {
	if !usable(to) || familyOf(to) != c.family {
		return fmt.Errorf("underlay: send to %s: %w %s", to, ErrFamily, c.local)
	}
	o := c.acquire()
	defer c.release(o)
	o.name.put(netip.AddrPortFrom(to, 0))
	o.put(0, h.appendTo(o.gre[:0]))
	o.put(1, payload)
	c.family.putTOS(o.control, tos)
	o.errno = 0
	err := pollerError(c.raw.Write(o.try))
	o.put(1, nil) // keep nobody's memory
	if err == nil && o.errno == 0 {
		return nil
	}
	if err == nil {
		err = explain(o.errno, c.local)
	}
	return fmt.Errorf("underlay: send GRE from %s to %s: %w", c.local, to, err)
}

func (o *outgoingGRE) put(i int, b []byte) {
	o.vectors[i].Base = unsafe.SliceData(b)
	o.vectors[i].SetLen(len(b))
}

func (o *outgoingGRE) transmit(fd uintptr) (done bool) {
	o.sendmsg(fd)
	if o.errno != 0 && o.errno != unix.EAGAIN {
		// It may be an ICMP message about an earlier packet that the kernel tells now,
		// of which nothing was sent: ask again. The reader finds it in the queue.
		_, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		o.sendmsg(fd)
	}
	return o.errno != unix.EAGAIN
}

func (o *outgoingGRE) sendmsg(fd uintptr) {
	for {
		_, _, o.errno = unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&o.header)), unix.MSG_DONTWAIT)
		if o.errno != unix.EINTR {
			return
		}
	}
}
