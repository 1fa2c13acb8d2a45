// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Injector puts frames on a wire as they are, as if the node had sent them. It belongs to
// one goroutine.
type Injector struct {
	fd       int
	messages [injectBatch]mmsghdr
	vectors  [injectBatch]unix.Iovec
}

// injectBatch is how many frames one system call sends.
const injectBatch = 32

// mmsghdr is that of sendmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// Inject opens an injector on a device of the node.
func (n *Node) Inject(device string) (*Injector, error) {
	i := &Injector{fd: -1}
	err := n.Do(func() (err error) {
		link, err := n.Net.LinkByName(device)
		if err != nil {
			return err
		}
		// Of protocol 0: it sends, and receives nothing.
		if i.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(i.fd, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index})
	})
	if err != nil {
		i.Close()
		return nil, fmt.Errorf("node %s: inject on %s: %w", n.Name, device, err)
	}
	return i, nil
}

// Send sends the frames, which begin with their Ethernet header, in their order.
func (i *Injector) Send(frames ...[]byte) error {
	for len(frames) > 0 {
		n := min(len(frames), injectBatch)
		for k, frame := range frames[:n] {
			i.vectors[k].Base = &frame[0]
			i.vectors[k].SetLen(len(frame))
			i.messages[k].header.Iov = &i.vectors[k]
			i.messages[k].header.SetIovlen(1)
		}
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(i.fd), uintptr(unsafe.Pointer(&i.messages[0])), uintptr(n), 0, 0, 0)
		switch errno {
		case 0:
			frames = frames[sent:]
		case unix.EINTR, unix.ENOBUFS:
		default:
			return fmt.Errorf("inject: %w", errno)
		}
	}
	return nil
}

// Close closes the injector.
func (i *Injector) Close() {
	if i.fd >= 0 {
		_ = unix.Close(i.fd) // nothing was waiting in it
	}
	i.fd = -1
}
