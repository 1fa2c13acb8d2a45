// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// conn is a socket for what rides in IP, as a net.IPConn is.
type conn interface {
	ReadFromIP(b []byte) (int, *net.IPAddr, error)
	WriteToIP(b []byte, to *net.IPAddr) (int, error)
	Close() error
}

// listen opens a conn for GRE at an address of this host.
type listen func(netip.Addr) (conn, error)

// rawGRE is the kernel's. It wants root.
func rawGRE(a netip.Addr) (conn, error) {
	c, err := rawAt(a)
	if err != nil {
		return nil, fmt.Errorf("raw GRE socket at %v: %w; --local takes addresses of this host (ip route add local PREFIX dev lo makes a prefix one), and it needs root", a, err)
	}
	return c, nil
}

func rawAt(a netip.Addr) (*net.IPConn, error) {
	network, how := "ip4:47", net.ListenConfig{}
	if a.Is6() {
		network = "ip6:47"
		if routedHere(a) {
			how.Control = freely
		}
	}
	c, err := how.ListenPacket(context.Background(), network, a.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.IPConn), nil
}

// routedHere says whether an address is this host's, by a route if by nothing else.
func routedHere(a netip.Addr) bool {
	routes, err := netlink.RouteGet(a.WithZone("").AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

// freely lets a socket have an IPv6 address that no interface has: what is local by a route is refused otherwise.
func freely(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1) })
	return errors.Join(err, set)
}
