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
		local = netip.IPv4Unspecified()
	}
	mtu, err := pathMTU(local, c.device, c.mark, to)
	if err != nil {
		return 0, fmt.Errorf("underlay: path MTU to %s: %w", to, err)
	}
	return mtu, nil
}

func pathMTU(local netip.Addr, device string, mark uint32, to netip.Addr) (int, error) {
	// A connected socket of the same binding asks the routes; it sends nothing.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
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
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: to.As4()}); err != nil {
		return 0, err
	}
	return unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
}
