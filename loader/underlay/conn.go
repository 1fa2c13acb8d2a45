// SPDX-License-Identifier: Apache-2.0

// Package underlay holds the sockets that send and receive outer packets: the
// raw GRE socket of the slow path, those of UDP for IKE and ESP, and the raw one of
// ESP.
package underlay

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrTooBig says that an outer packet is above the path's MTU.
var ErrTooBig = errors.New("underlay: packet is above the path's MTU")

// Full says that the socket's buffer was full: what takes the packets is slower than we are.
type Full struct {
	Sent int // packets of the call that went before
}

func (f *Full) Error() string { return "the socket's buffer is full" }

// ErrFamily says that one address is of IPv4 and the other of IPv6.
var ErrFamily = errors.New("not of the family of")

// Implementation.
const (
	outerTTL = 64
	// receiveBuffer is what waits while the daemon is away, in octets.
	receiveBuffer = 4 << 20
	// sendBuffer is what waits for the device.
	sendBuffer = 4 << 20
	// MaxPacket is the size of the buffer that Read needs for every packet.
	MaxPacket = 65535
)

// Config says where outer packets leave.
type Config struct {
	Local  netip.Addr // outer source, and destination of what is received
	Device string     // bound to it, with its VRF; "": not bound
	Mark   uint32     // of what is sent; 0: none
	Adopt  *os.File   // the socket that a holder kept; nil: one is opened
}

// Conn is a raw GRE socket. Send may be called together with Read and itself;
// Read by one goroutine at a time.
type Conn struct {
	file   *os.File
	raw    syscall.RawConn
	local  netip.Addr
	device string
	mark   uint32
	family *family

	errors   errorQueue // the reader's
	received received   // the reader's

	mu   sync.Mutex
	idle []*outgoingGRE
}

// Open opens the socket or takes over the adopted one, and binds it to the
// local address, device and mark. An adopted one that is bound elsewhere is
// closed and a new one opened. It needs CAP_NET_RAW.
func Open(c Config) (*Conn, error) {
	if !usable(c.Local) {
		return nil, fmt.Errorf("underlay: raw GRE socket on %s: no address without a zone", c.Local)
	}
	fits := func(fd int) bool {
		at, ok := boundAddress(fd, unix.IPPROTO_GRE, c.Device, c.Mark)
		return ok && at.Addr() == c.Local && setOptions(fd, familyOf(c.Local)) == nil
	}
	f, raw, err := adoptOr(c.Adopt, fits, func() (*os.File, error) { return open(c) })
	if err != nil {
		return nil, fmt.Errorf("underlay: raw GRE socket on %s: %w", c.Local, err)
	}
	conn := &Conn{file: f, raw: raw, local: c.Local, device: c.Device, mark: c.Mark}
	conn.family = familyOf(c.Local)
	conn.errors.init()
	conn.received.init()
	return conn, nil
}

func open(c Config) (*os.File, error) {
	fd, err := familyOf(c.Local).rawSocket(unix.IPPROTO_GRE)
	if err != nil {
		return nil, err
	}
	return prepared(fd, "gre "+c.Local.String(), func(fd int) error { return prepare(fd, c) })
}

// prepare makes the socket what the Config says: bound to the device before the
// address, which may exist in several VRFs.
func prepare(fd int, c Config) error {
	if err := setDevice(fd, c.Device, c.Mark); err != nil {
		return err
	}
	if err := setOptions(fd, familyOf(c.Local)); err != nil {
		return err
	}
	if err := unix.Bind(fd, systemAddress(netip.AddrPortFrom(c.Local, 0))); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// setOptions sets what a socket has wherever it is bound.
func setOptions(fd int, f *family) error {
	all := []option{
		{f.level, f.hops, outerTTL},
		{f.level, f.discover, unix.IP_PMTUDISC_DO}, // DF
		{f.level, f.errors, 1},                     // ICMP about what BPF sent comes here too
	}
	if f == ipv6 { // whose raw sockets do not give the header
		all = append(all, option{f.level, f.tellDestination, 1}, option{f.level, f.tellTOS, 1},
			option{f.level, unix.IPV6_RECVHOPOPTS, 1}, option{f.level, unix.IPV6_RECVDSTOPTS, 1})
	}
	return set(fd, all...)
}

// setDevice makes packets of the socket leave by the device, which also means its
// VRF, with the mark, and gives it room for what waits.
func setDevice(fd int, device string, mark uint32) error {
	if device != "" {
		if err := unix.BindToDevice(fd, device); err != nil {
			return fmt.Errorf("bind to device %s: %w", device, err)
		}
	}
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			return fmt.Errorf("set mark %d: %w", mark, err)
		}
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	return nil
}

// boundAddress gives the address of a socket of the protocol that is bound to the device
// and has the mark.
func boundAddress(fd, protocol int, device string, mark uint32) (at netip.AddrPort, ok bool) {
	p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || p != protocol {
		return at, false
	}
	d, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	if err != nil || d != device {
		return at, false
	}
	m, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK)
	if err != nil || uint32(m) != mark {
		return at, false
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return at, false
	}
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), true
	}
	return at, false
}

// Local gives the address that the socket is bound to.
func (c *Conn) Local() netip.Addr { return c.local }

// File gives the socket for a holder to duplicate. It stays the Conn's.
func (c *Conn) File() *os.File { return c.file }

// Read waits for the next packet; buf should have MaxPacket octets. Outer
// fragments are put together by the kernel. A *Malformed error is about one
// packet, a *Narrow one about one path: read on. Every other ends the Conn; after
// Close it wraps os.ErrClosed.
func (c *Conn) Read(buf []byte) (Packet, error) {
	var n int
	var errno error
	var narrow *Narrow
	err := pollerError(c.raw.Read(func(fd uintptr) bool {
		for range sendings {
			if n, errno = c.received.read(fd, buf); errno == nil {
				return true
			}
			if narrow = c.narrowed(fd); narrow != nil {
				return true
			}
			if errors.Is(errno, unix.EAGAIN) {
				return false
			}
		}
		return true
	}))
	switch {
	case err == nil && narrow != nil:
		return Packet{}, narrow
	case err == nil:
		err = errno
	}
	if err != nil {
		return Packet{}, fmt.Errorf("underlay: read raw GRE socket on %s: %w", c.local, err)
	}
	if c.family == ipv6 {
		return c.received.parse(buf[:n], c.local)
	}
	return parse(buf[:n])
}

// Close ends a Read that waits.
func (c *Conn) Close() error { return c.file.Close() }
