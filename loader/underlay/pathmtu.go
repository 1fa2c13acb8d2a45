// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// PathMTU gives the octets of an outer packet that the path to the address
// takes, as far as the kernel knows: from ICMP that answered us, else from the
// device. It must run in the network namespace of the Conn.
func (c *Conn) PathMTU(to netip.Addr) (int, error) {
	mtu, err := pathMTU(c.local, c.device, c.mark, to)
	if err != nil {
		return 0, fmt.Errorf("underlay: path MTU to %s: %w", to, err)
	}
	return mtu, nil
}

// PathMTU is that of Conn, from one of our addresses; an unspecified one stands
// for the one that the kernel chooses.
func (c *datagrams) PathMTU(local, to netip.Addr) (int, error) {
	if !local.IsValid() {
		local = unspecified(to)
	}
	mtu, err := pathMTU(local, c.device, c.mark, to)
	if err != nil {
		return 0, fmt.Errorf("underlay: path MTU to %s: %w", to, err)
	}
	return mtu, nil
}

// unspecified is the unspecified address of the family of another one.
func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func pathMTU(local netip.Addr, device string, mark uint32, to netip.Addr) (int, error) {
	// A connected socket of the same binding asks the routes; it sends nothing.
	f := familyOf(to)
	if familyOf(local) != f {
		return 0, fmt.Errorf("%w %s", ErrFamily, local)
	}
	fd, err := f.socket(unix.SOCK_DGRAM, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if device != "" {
		if err := unix.BindToDevice(fd, device); err != nil {
			return 0, err
		}
	}
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			return 0, err
		}
	}
	if err := unix.Bind(fd, systemAddress(netip.AddrPortFrom(local, 0))); err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, systemAddress(netip.AddrPortFrom(to, 9))); err != nil {
		return 0, err
	}
	return unix.GetsockoptInt(fd, f.level, f.mtu)
}
