// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Hint is what somebody on the way said about a datagram that was sent (ICMP).
// Anybody can say such things: a hint makes one look, and proves nothing. Quote
// has what only who saw the datagram knows.
type Hint struct {
	Local  netip.AddrPort // where the message went; our port
	Remote netip.AddrPort // where the datagram went
	From   netip.Addr     // who says so
	Err    unix.Errno     // ECONNREFUSED, EHOSTUNREACH, EMSGSIZE and the like
	MTU    int            // with EMSGSIZE: octets of an IP packet that fit; else 0
	Quote  []byte         // how the datagram began, as far as it was quoted, at most 64 octets; into the Batch
}

func (h Hint) String() string {
	if h.MTU > 0 {
		return fmt.Sprintf("%s says of %s: packets above %d octets do not fit", h.From, h.Remote, h.MTU)
	}
	return fmt.Sprintf("%s says of %s: %s", h.From, h.Remote, h.Err)
}

const (
	maxHints  = 16 // of one batch
	quoteSize = 64

	// sock_extended_err: errno 4, origin, type, code, pad, info 4, data 4; and behind
	// it the address of who says so.
	extendedErr = 16
)

// errorQueue is the room for reading errors.
type errorQueue struct {
	header  unix.Msghdr
	vector  unix.Iovec
	name    name
	control []byte
	quotes  []byte
}

func (q *errorQueue) init() {
	q.control = make([]byte, 256)
	q.quotes = make([]byte, maxHints*quoteSize)
	q.header.Name = (*byte)(unsafe.Pointer(&q.name))
	q.header.Control = &q.control[0]
	q.header.Iov = &q.vector
	q.header.SetIovlen(1)
}

// take takes the oldest error off the socket's queue; taken says that there was one, and
// hint that ICMP brought it. quote is the room for what it quotes.
func (q *errorQueue) take(fd uintptr, quote []byte, h *Hint) (hint, taken bool) {
	q.vector.Base = unsafe.SliceData(quote)
	q.vector.SetLen(len(quote))
	for {
		q.header.Namelen = unix.SizeofSockaddrInet6
		q.header.SetControllen(len(q.control))
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&q.header)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			h.Remote, h.Quote = q.name.get(), quote[:n]
			return q.read(h), true
		case unix.EINTR:
		default:
			return false, false
		}
	}
}

// drain empties the socket's error queue, as far as the batch has room; else it
// remembers to go on the next time.
func (b *Batch) drain(fd uintptr) {
	for len(b.Hints) < maxHints {
		h := Hint{Local: b.conn.local}
		hint, taken := b.queue.take(fd, b.queue.quotes[len(b.Hints)*quoteSize:][:quoteSize], &h)
		if !taken {
			return
		}
		if hint {
			b.Hints = append(b.Hints, h)
		}
	}
	b.conn.queued.Store(true)
}

// read reads what came beside the quote. What our own kernel says is left out: the
// sender heard it already.
func (q *errorQueue) read(h *Hint) bool {
	found, f := false, familyOf(h.Remote.Addr())
	control := q.control[:q.header.Controllen]
	for {
		level, kind, data, rest, ok := nextControl(control)
		if !ok {
			return found
		}
		switch {
		case level != f.level:
		case kind == f.destination:
			if a, ok := f.ours(data, true); ok {
				h.Local = netip.AddrPortFrom(a, h.Local.Port())
			}
		case kind == f.errors && len(data) >= extendedErr+int(f.nameLength):
			found = data[4] == f.origin
			h.Err = unix.Errno(binary.NativeEndian.Uint32(data))
			if h.Err == unix.EMSGSIZE {
				h.MTU = int(binary.NativeEndian.Uint32(data[8:]))
			}
			var from name
			from.family = binary.NativeEndian.Uint16(data[extendedErr:])
			copy(from.rest[:], data[extendedErr+4:])
			h.From = from.get().Addr()
		}
		control = rest
	}
}
