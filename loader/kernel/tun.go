// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// tunFlags are those of every queue of ours. A queue opened without
// IFF_VNET_HDR would switch it off for all.
const tunFlags = unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE

// What the reader of the queue takes: partial checksums and TCP as GSO; USO
// from kernel 6.2 on.
const (
	offloadTSO = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	offloadUSO = unix.TUN_F_USO4 | unix.TUN_F_USO6
)

// VnetHeader is the length of the virtio_net_hdr in front of every packet.
const VnetHeader = 10

// tunSetCarrier is TUNSETCARRIER of linux/if_tun.h, from kernel 5.0 on: _IOW('T', 226, int).
// What is in front of the number differs between machines; TUNSETOFFLOAD has the same there.
const tunSetCarrier = unix.TUNSETOFFLOAD&^0xff | 226

const tunPath = "/dev/net/tun"

// openQueue opens one queue of the TUN device, which is made where it is not
// there, and makes the device persistent.
func openQueue(name string) (*os.File, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			return nil, fmt.Errorf("%s is missing: load the kernel module tun: %w", tunPath, err)
		}
		return nil, fmt.Errorf("open %s: %w", tunPath, err)
	}
	if err := setQueue(fd, name); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	// Only now: an epoll of a descriptor without a device reports an error.
	return os.NewFile(uintptr(fd), name), nil
}

func setQueue(fd int, name string) error {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("device name %q: use at most 15 octets", name)
	}
	req.SetUint16(tunFlags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		switch {
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("make device %s: the capability CAP_NET_ADMIN is missing: %w", name, err)
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EINVAL):
			return fmt.Errorf("device %s: %w (%w)", name, ErrNameTaken, err)
		}
		return fmt.Errorf("make device %s: TUNSETIFF: %w", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("device %s: TUNSETPERSIST: %w", name, err)
	}
	return setOffloads(fd, name)
}

// setOffloads keeps GSO packets whole on their way to TC and to us. The
// settings are the device's, so they are made again for an adopted queue.
func setOffloads(fd int, name string) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, VnetHeader); err != nil {
		return fmt.Errorf("device %s: TUNSETVNETHDRSZ: %w", name, err)
	}
	err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadTSO|offloadUSO)
	if errors.Is(err, unix.EINVAL) {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadTSO)
	}
	if err != nil {
		return fmt.Errorf("device %s: TUNSETOFFLOAD: %w", name, err)
	}
	return nil
}

// queueOf gives the name of the device that the queue is attached to, "" if its
// device was deleted, and whether the flags are ours.
func queueOf(f *os.File) (name string, ours bool, err error) {
	err = control(f, func(fd int) error {
		req, err := unix.NewIfreq("")
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, req); err != nil {
			if errors.Is(err, unix.EBADFD) {
				return nil
			}
			return fmt.Errorf("TUNGETIFF: %w", err)
		}
		name, ours = req.Name(), req.Uint16()&tunFlags == tunFlags
		return nil
	})
	return name, ours, err
}

// control runs fn with the descriptor, which stays non-blocking.
func control(f *os.File, fn func(fd int) error) error {
	var raw syscall.RawConn
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}
