// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Listener takes UDP datagrams that are for many by one device of a node.
type Listener struct {
	conn *net.UDPConn
	wait sync.WaitGroup

	mu   sync.Mutex
	came map[string]int
}

// Listen takes what comes to a multicast group, or to the broadcast address, and port by a
// device of the node.
func (n *Node) Listen(device string, group netip.AddrPort) (*Listener, error) {
	l := &Listener{came: map[string]int{}}
	c, err := n.bound(device, group, func(fd int, index int) error {
		switch {
		case !group.Addr().IsMulticast():
			return nil
		case group.Addr().Is6():
			return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
				&unix.IPv6Mreq{Multiaddr: group.Addr().As16(), Interface: uint32(index)})
		}
		return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP,
			&unix.IPMreqn{Multiaddr: group.Addr().As4(), Ifindex: int32(index)})
	})
	if err != nil {
		return nil, err
	}
	l.conn = c
	l.wait.Go(func() {
		b := make([]byte, 2048)
		for {
			k, _, err := c.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				l.mu.Lock()
				l.came[string(b[:k])]++
				l.mu.Unlock()
			}
		}
	})
	return l, nil
}

// Came is how often a text came so far.
func (l *Listener) Came(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.came[text]
}

// Close ends it.
func (l *Listener) Close() {
	l.conn.Close()
	l.wait.Wait()
}

// Tell sends a text to a multicast group, or to the broadcast address, by a device of the
// node, so many times.
func (n *Node) Tell(device string, group netip.AddrPort, text string, times int) error {
	c, err := n.bound(device, netip.AddrPortFrom(group.Addr(), 0), func(fd, index int) error {
		if group.Addr().Is6() {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index)
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
			unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(index)}))
	})
	if err != nil {
		return err
	}
	defer c.Close()
	for range times {
		if _, err := c.WriteToUDPAddrPort([]byte(text), group); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return nil
}

// bound opens a UDP socket of a group's family and port, which is bound to a device of the node; set may set more.
func (n *Node) bound(device string, group netip.AddrPort, set func(fd, index int) error) (c *net.UDPConn, err error) {
	link, err := n.Net.LinkByName(device)
	if err != nil {
		return nil, fmt.Errorf("node %s: %s: %w", n.Name, device, err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = errors.Join(unix.BindToDevice(int(fd), device), set(int(fd), link.Attrs().Index))
		})
		return errors.Join(err, failed)
	}}
	network, any := "udp4", netip.IPv4Unspecified()
	if group.Addr().Is6() {
		network, any = "udp6", netip.IPv6Unspecified()
	}
	err = n.Do(func() error {
		p, err := lc.ListenPacket(context.Background(), network, netip.AddrPortFrom(any, group.Port()).String())
		if err == nil {
			c = p.(*net.UDPConn)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: socket by %s: %w", n.Name, device, err)
	}
	return c, nil
}
