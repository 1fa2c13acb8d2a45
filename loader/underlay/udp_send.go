// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// outgoing is what one sendmsg(2) needs, kept from call to call so that nothing
// is allocated.
type outgoing struct {
	header  unix.Msghdr
	vectors [2]unix.Iovec
	name    name
	control []byte
	marker  [4]byte

	conn  *UDPConn
	try   func(fd uintptr)      // method values, made once
	wait  func(fd uintptr) bool // false waits
	errno unix.Errno

	cut     bool // IP may fragment it, and it may wait: IKE
	tos     uint8
	segment int // octets of one of several datagrams, 0 for a single one
}

func newOutgoing(c *UDPConn) *outgoing {
	o := &outgoing{conn: c, marker: NonESPMarker,
		control: make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo)+unix.CmsgSpace(4)+unix.CmsgSpace(2))}
	o.header.Name = (*byte)(unsafe.Pointer(&o.name))
	o.header.Namelen = c.family.nameLength
	o.try, o.wait = o.transmit, func(fd uintptr) bool {
		o.transmit(fd)
		return o.errno != unix.EAGAIN
	}
	return o
}

// Send sends an IKE message: with the non-ESP marker, which is for port 4500 and
// its like, or without. It leaves with the local address, unless that is
// unspecified, or the one that the socket is bound to. One that is above the
// path's MTU is fragmented by IP. It waits while the socket's buffer is full.
func (c *UDPConn) Send(local, remote netip.AddrPort, marker bool, b []byte) error {
	o := c.acquire()
	defer c.release(o)
	n := 0
	if marker {
		o.put(0, o.marker[:])
		n = 1
	}
	o.put(n, b)
	o.cut = true
	return c.send(o, local, remote, n+1, 1)
}

// SendSegments sends ESP packets of one size, but for the last, which may be
// shorter, with the TOS octet and DF; the kernel or the device takes them apart.
// At most MaxSegments and 65507 octets together. It wraps ErrTooBig where they
// are above the path's MTU, and then sent none of them, and a *Full where the socket's buffer is
// full: ESP does not wait, for what is behind it may go elsewhere.
func (c *UDPConn) SendSegments(local, remote netip.AddrPort, tos uint8, size int, b []byte) error {
	if size < 1 || len(b) > size*MaxSegments {
		return fmt.Errorf("underlay: send to %s: %d octets in segments of %d, at most %d of them", remote, len(b), size, MaxSegments)
	}
	o := c.acquire()
	defer c.release(o)
	o.tos = tos
	if len(b) > size {
		o.put(0, b)
		o.segment = size
		err := c.send(o, local, remote, 1, (len(b)+size-1)/size)
		if o.errno != unix.EIO && o.errno != unix.EINVAL {
			return err
		}
		// The device has no checksums of its own, for which the kernel takes nothing
		// apart, or a segment is too big, for which kernels have two errors.
		o.segment = 0
	}
	for sent := 0; len(b) > 0; sent++ {
		o.put(0, b[:min(size, len(b))])
		if err := c.send(o, local, remote, 1, 1); err != nil {
			if full := (*Full)(nil); errors.As(err, &full) {
				full.Sent = sent
			}
			return err
		}
		b = b[min(size, len(b)):]
	}
	return nil
}

// MaxSegments is how many packets one SendSegments may have: UDP_MAX_SEGMENTS of
// kernels to 6.8.
const MaxSegments = 64

func (c *UDPConn) acquire() *outgoing {
	if o := c.idle.take(); o != nil {
		return o
	}
	return newOutgoing(c)
}

func (c *UDPConn) release(o *outgoing) {
	o.cut, o.tos, o.segment = false, 0, 0
	c.idle.give(o)
}

func (o *outgoing) put(i int, b []byte) {
	o.vectors[i].Base = unsafe.SliceData(b)
	o.vectors[i].SetLen(len(b))
}

// send sends what stands in the vectors, as so many datagrams.
func (c *UDPConn) send(o *outgoing, local, remote netip.AddrPort, vectors, datagrams int) error {
	switch {
	case !usable(remote.Addr()) || remote.Port() == 0:
		return fmt.Errorf("underlay: send to %s: not an address with a port", remote)
	case familyOf(remote.Addr()) != c.family:
		return fmt.Errorf("underlay: send to %s: %w %s", remote, ErrFamily, c.local.Addr())
	}
	o.errno = 0
	o.name.put(remote)
	o.header.Iov = &o.vectors[0]
	o.header.SetIovlen(vectors)
	o.putControls(local.Addr())
	// Write would let one sender in at a time: it is for waiting alone.
	err := pollerError(c.descriptor.Control(o.try))
	if err == nil && o.errno == unix.EAGAIN {
		if !o.cut {
			return c.failed(0, &Full{}, local, remote)
		}
		err = pollerError(c.descriptor.Write(o.wait))
	}
	o.vectors = [2]unix.Iovec{} // keep nobody's memory
	switch {
	case err == nil && o.errno == 0:
		c.counters.sent.Add(uint64(datagrams))
		return nil
	case o.segment != 0 && (o.errno == unix.EIO || o.errno == unix.EINVAL):
		return nil // not the last word
	}
	return c.failed(o.errno, err, local, remote)
}

// putControls makes the control messages: source address, TOS, segment size.
func (o *outgoing) putControls(local netip.Addr) {
	rest := o.conn.family.putSource(o.control, local)
	if o.tos != 0 {
		rest = o.conn.family.putTOS(rest, o.tos)
	}
	if o.segment != 0 {
		var data []byte
		data, rest = putControl(rest, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)
		binary.NativeEndian.PutUint16(data, uint16(o.segment))
	}
	o.header.Control = nil
	if len(rest) < len(o.control) {
		o.header.Control = &o.control[0]
	}
	o.header.SetControllen(len(o.control) - len(rest))
}

func (o *outgoing) transmit(fd uintptr) {
	o.sendmsg(fd)
	if o.errno != 0 && o.errno != unix.EAGAIN {
		// It may be an ICMP message about an earlier datagram that the kernel tells now,
		// of which nothing was sent: ask again. The reader finds it in the queue.
		o.conn.queued.Store(true)
		_, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		o.sendmsg(fd)
	}
	if o.errno == unix.EMSGSIZE && o.cut && o.conn.encapsulation {
		o.sendFragmented(fd)
	}
}

func (o *outgoing) sendmsg(fd uintptr) {
	for {
		_, _, o.errno = unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&o.header)), unix.MSG_DONTWAIT)
		if o.errno != unix.EINTR {
			return
		}
	}
}

// sendFragmented lets the kernel fragment for one message. An ESP packet that
// leaves in this moment may be fragmented too, which does no harm.
func (o *outgoing) sendFragmented(fd uintptr) {
	o.conn.fragment.Lock()
	defer o.conn.fragment.Unlock()
	f := o.conn.family
	if unix.SetsockoptInt(int(fd), f.level, f.discover, unix.IP_PMTUDISC_WANT) != nil {
		return
	}
	o.sendmsg(fd)
	_ = unix.SetsockoptInt(int(fd), f.level, f.discover, unix.IP_PMTUDISC_DO)
}

// failed counts and explains.
func (c *UDPConn) failed(errno unix.Errno, err error, local, remote netip.AddrPort) error {
	if err == nil {
		err = explain(errno, local.Addr())
	}
	if err == ErrTooBig {
		c.counters.tooBig.Add(1)
	} else {
		c.counters.failed.Add(1)
	}
	return fmt.Errorf("underlay: send UDP from %s to %s: %w", c.local, remote, err)
}

// explain says what an error of sending means to an operator.
func explain(errno unix.Errno, local netip.Addr) error {
	switch {
	case errno == unix.EMSGSIZE:
		return ErrTooBig
	case errno == unix.EPERM:
		return fmt.Errorf("%w: a firewall rule of this machine drops it", errno)
	case (errno == unix.EINVAL || errno == unix.ENETUNREACH) && local.IsValid():
		return fmt.Errorf("%w: no route, or %s is no address of ours any more", errno, local)
	}
	return errno
}
