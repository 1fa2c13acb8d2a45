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
	mtu, err := c.pathMTU(to)
	if err != nil {
		return 0, fmt.Errorf("underlay: path MTU to %s: %w", to, err)
	}
	return mtu, nil
}

func (c *Conn) pathMTU(to netip.Addr) (int, error) {
	// A connected socket of the same binding asks the routes; it sends nothing.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if c.device != "" {
		if err := unix.BindToDevice(fd, c.device); err != nil {
			return 0, err
		}
	}
	if c.mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(c.mark)); err != nil {
			return 0, err
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: c.local.As4()}); err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: to.As4()}); err != nil {
		return 0, err
	}
	return unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
}
