// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Datagram is one that arrived, an IKE message or an ESP packet.
type Datagram struct {
	// Local is our address that it went to, and our port: what to answer from.
	Local, Remote netip.AddrPort
	Kind          Kind
	TOS           uint8  // outer, with the ECN bits
	Data          []byte // without the marker; into the Batch
}

// Batch is the room for what one ReadBatch gives, and what it gave: valid until
// the next one with it.
type Batch struct {
	Datagrams []Datagram
	Hints     []Hint

	conn     *datagrams
	receive  func(fd uintptr) bool // a method value, made once
	take     func() bool
	messages []mmsghdr
	vectors  []unix.Iovec
	names    []name
	controls []byte
	buffers  []byte
	queue    errorQueue
	read     int // messages
	err      error
}

// mmsghdr is that of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

const (
	bufferSize = 1 << 16 // of a message: the kernel merges up to 64 KiB
	sendings   = 16      // errors of earlier sendings that one read goes past
)

// controlSize has room for our address, the TOS octet and UDP_GRO.
var controlSize = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(4) + unix.CmsgSpace(4)

// NewBatch makes room for n messages of the kernel's, 64 KiB each, of which many
// datagrams can come.
func NewBatch(n int) *Batch {
	b := &Batch{
		messages: make([]mmsghdr, n), vectors: make([]unix.Iovec, n), names: make([]name, n),
		controls: make([]byte, n*controlSize), buffers: make([]byte, n*bufferSize),
	}
	for i := range b.messages {
		b.vectors[i].Base = &b.buffers[i*bufferSize]
		b.vectors[i].SetLen(bufferSize)
		h := &b.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.controls[i*controlSize]
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
	}
	b.receive = b.receiveFrom
	b.queue.init()
	return b
}

// ReadBatch waits until there is a datagram for us, or a hint, and gives all that
// fit into the batch. Merged datagrams are taken apart, keepalives and garbage
// dropped; all are counted. It allocates nothing. An error ends the socket;
// after Close it wraps os.ErrClosed. But after os.ErrDeadlineExceeded it may be
// called again.
func (d *datagrams) ReadBatch(b *Batch) error { return d.ReadBatches(b, once) }

func once() bool { return false }

// ReadBatches does what ReadBatch does again and again, and calls take for each batch,
// until that gives false. It is what to read with: it knows when the socket is empty without
// asking the kernel once more.
func (d *datagrams) ReadBatches(b *Batch, take func() bool) error {
	b.empty()
	b.conn, b.take, b.err = d, take, nil
	err := pollerError(d.descriptor.Read(b.receive))
	if err == nil {
		err = b.err
	}
	if err != nil {
		return fmt.Errorf("underlay: read %s socket on %s: %w", d.name, d.local, err)
	}
	return nil
}

// empty forgets what was in the batch.
func (b *Batch) empty() { b.Datagrams, b.Hints, b.read = b.Datagrams[:0], b.Hints[:0], 0 }

// receiveFrom is what the runtime's poller calls; false waits. What comes between a look at
// the socket and the wait is not missed: the poller keeps it in mind until it is called anew.
func (b *Batch) receiveFrom(fd uintptr) bool {
	for {
		more := b.fill(fd)
		b.split()
		if len(b.Datagrams)+len(b.Hints) > 0 && !b.take() || b.err != nil {
			return true
		}
		b.empty()
		if !more && !b.conn.queued.Load() {
			return false
		}
	}
}

// fill reads what the batch has room for; more says that there may be more.
func (b *Batch) fill(fd uintptr) (more bool) {
	if b.conn.queued.Swap(false) {
		b.drain(fd)
	}
	var errno unix.Errno
	for range sendings {
		for i := range b.messages {
			h := &b.messages[i].header
			h.Namelen = unix.SizeofSockaddrInet6
			h.SetControllen(controlSize)
		}
		var n uintptr
		n, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.messages[0])), uintptr(len(b.messages)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.read = int(n)
			return b.read == len(b.messages)
		case unix.EINTR:
		case unix.EAGAIN:
			b.drain(fd)
			return false
		default:
			// An ICMP message about something that was sent: that is in the queue.
			b.drain(fd)
		}
	}
	if len(b.Hints) == 0 {
		b.err = errno
	}
	return true
}

// split makes datagrams of messages.
func (b *Batch) split() {
	n := &b.conn.counters
	var ike, esp, keepalives, garbage uint64
	for i := range b.messages[:b.read] {
		m := &b.messages[i]
		if m.header.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			n.truncated.Add(1)
			continue
		}
		data := b.buffers[i*bufferSize : i*bufferSize+int(m.length)]
		d := Datagram{Remote: b.names[i].get(), Local: b.conn.local}
		size := b.readControl(i, &d)
		if size <= 0 {
			size = len(data)
		}
		for first := true; first || len(data) > 0; first = false {
			segment := data[:min(size, len(data))]
			data = data[len(segment):]
			d.Kind, d.Data = b.conn.sort(segment)
			if d.Remote.Port() == 0 && !b.conn.raw {
				d.Kind = Garbage
			}
			switch d.Kind {
			case IKE:
				ike++
			case ESP:
				esp++
			case Keepalive:
				keepalives++
				continue
			default:
				garbage++
				continue
			}
			b.Datagrams = append(b.Datagrams, d)
		}
	}
	n.ike.Add(ike)
	n.esp.Add(esp)
	n.keepalives.Add(keepalives)
	n.garbage.Add(garbage)
}

// sortIKE does on port 500 what Classify does on 4500, without the marker and ESP.
func sortIKE(b []byte) (Kind, []byte) {
	switch {
	case len(b) == 1 && b[0] == 0xFF:
		return Keepalive, b
	case len(b) == 0:
		return Garbage, nil
	}
	return IKE, b
}

// readControl reads what came beside a message, and gives the size of the
// datagrams that were merged in it, 0 for a single one.
func (b *Batch) readControl(i int, d *Datagram) (size int) {
	f := b.conn.family
	control := b.controls[i*controlSize : i*controlSize+int(b.messages[i].header.Controllen)]
	for {
		level, kind, data, rest, ok := nextControl(control)
		if !ok {
			return size
		}
		switch {
		case level == f.level && kind == f.destination:
			if a, ok := f.ours(data, false); ok {
				d.Local = netip.AddrPortFrom(a, b.conn.local.Port())
			}
		case level == f.level && kind == f.tos:
			d.TOS = f.outerTOS(data)
		case level == unix.IPPROTO_UDP && kind == unix.UDP_GRO && len(data) >= 4:
			size = int(binary.NativeEndian.Uint32(data))
		}
		control = rest
	}
}
