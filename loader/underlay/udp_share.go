// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// share lets other sockets of this user to the port, from now on.
func (c *UDPConn) share() error {
	return c.control("share the port", func(fd int) error { return set(fd, option{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}) })
}

// spread chooses among n sockets by the remote address and port, so that neighbours have different
// ones. The kernel's own choice, which IPv6 is left to, is by the same and at random.
func (c *UDPConn) spread(n int) error {
	if !c.local.Addr().Is4() {
		return nil
	}
	const (
		source = 12 // in the IP header
		net    = 0xfff00000
	)
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	filter := []unix.SockFilter{
		// A: the sum of the address's octets in the lowest one, and more above it.
		stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, net+source),
		stmt(unix.BPF_MISC|unix.BPF_TAX, 0),
		stmt(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, 16),
		stmt(unix.BPF_ALU|unix.BPF_ADD|unix.BPF_X, 0),
		stmt(unix.BPF_MISC|unix.BPF_TAX, 0),
		stmt(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, 8),
		stmt(unix.BPF_ALU|unix.BPF_ADD|unix.BPF_X, 0),
		stmt(unix.BPF_ST, 0),
		// And the port.
		stmt(unix.BPF_LDX|unix.BPF_B|unix.BPF_MSH, net),
		stmt(unix.BPF_LD|unix.BPF_H|unix.BPF_IND, net),
		stmt(unix.BPF_LDX|unix.BPF_W|unix.BPF_MEM, 0),
		stmt(unix.BPF_ALU|unix.BPF_ADD|unix.BPF_X, 0),
		stmt(unix.BPF_ALU|unix.BPF_MOD|unix.BPF_K, uint32(n)),
		stmt(unix.BPF_RET|unix.BPF_A, 0),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return c.control("choose among the sockets of the port", func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &program)
	})
}

// control runs f with the socket.
func (c *UDPConn) control(what string, f func(fd int) error) error {
	var inner error
	err := c.descriptor.Control(func(fd uintptr) { inner = f(int(fd)) })
	if err == nil {
		err = inner
	}
	if err != nil {
		return fmt.Errorf("underlay: UDP socket on %s: %s: %w", c.local, what, err)
	}
	return nil
}
