// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Filter is a program that judges packets before they take room in a socket
// (loader.ESPFilter).
type Filter interface {
	FD() int
	// Refused gives how many datagrams it has kept from the UDP socket with a cookie.
	Refused(cookie uint64) (uint64, error)
}

// SetFilter puts the filter in front of the socket, in place of the one that it had. It must
// come before Counters is called.
func (d *datagrams) SetFilter(f Filter) error {
	var cookie uint64
	var set error
	err := d.descriptor.Control(func(fd uintptr) {
		if cookie, set = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE); set == nil {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_BPF, f.FD())
		}
	})
	if err == nil {
		err = set
	}
	if err != nil {
		return fmt.Errorf("underlay: filter of %s socket on %s: %w", d.name, d.local, err)
	}
	d.filter, d.cookie = f, cookie
	return nil
}

// overflows gives how many packets a full buffer has lost. The kernel counts among them what
// the filter keeps from a UDP socket.
func (d *datagrams) overflows() uint32 {
	const tries = 16 // for a moment without a packet between the two counters
	d.lossesMu.Lock()
	defer d.lossesMu.Unlock()
	for range tries {
		before, ok := d.refused()
		all, has := d.dropped()
		after, _ := d.refused()
		if !ok || !has {
			break
		}
		// One that is being refused may not be in both yet.
		if lost := int32(all - before - d.losses); before == after {
			d.losses += uint32(max(lost, 0))
			break
		}
	}
	return d.losses
}

// refused is what the filter has kept, as the kernel counts: in 32 bits.
func (d *datagrams) refused() (uint32, bool) {
	if d.filter == nil {
		return 0, true
	}
	n, err := d.filter.Refused(d.cookie)
	return uint32(n), err == nil
}

// dropped is the kernel's counter of the socket.
func (d *datagrams) dropped() (n uint32, ok bool) {
	const drops = 8 // its place in what SO_MEMINFO gives
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	var errno unix.Errno
	err := d.descriptor.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	return info[drops], err == nil && errno == 0 && size == uint32(unsafe.Sizeof(info))
}
