// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A Node is a network namespace and what a process in it finds of its own: its
// /run/dmvpn, its /sys with its /sys/fs/bpf, and the files given by File.
type Node struct {
	Name string
	Dir  string          // the node's folder on the host
	Net  *netlink.Handle // netlink inside the namespace

	lab   *Lab
	ns    netns.NsHandle
	binds map[string]string
}

// Node makes a node: loopback up, no forwarding.
func (l *Lab) Node(name string) *Node {
	n := &Node{Name: name, Dir: filepath.Join(l.Dir, name), lab: l, ns: netns.None()}
	if l.err != nil {
		return n
	}
	if l.nodes[name] != nil {
		l.fail("node %s exists already", name)
		return n
	}
	err := l.build(func() error {
		if err := n.make(); err != nil {
			n.close()
			return err
		}
		l.nodes[name] = n
		l.order = append(l.order, name)
		return nil
	})
	if err != nil {
		l.fail("node %s: %w", name, err)
	}
	return n
}

// Router makes a node that forwards.
func (l *Lab) Router(name string) *Node {
	n := l.Node(name)
	n.Sysctl("net/ipv4/ip_forward", "1")
	return n
}

func (n *Node) make() error {
	for _, dir := range []string{n.runDir(), filepath.Join(n.lab.bpffs(), n.Name)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := shareNamespaces(); err != nil {
		return err
	}
	err := onThread(func() (err error) {
		n.ns, err = netns.NewNamed(namespaceName(n.lab.Name, n.Name))
		return err
	})
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	return n.open()
}

// open makes what a node needs whose namespace is there.
func (n *Node) open() error {
	h, err := netlink.NewHandleAt(n.ns)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	n.Net = h
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return err
	}
	// Addresses of IPv6 are there at once.
	return n.Do(func() error {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
		if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
			return nil
		}
		return err
	})
}

func (n *Node) runDir() string { return filepath.Join(n.Dir, "run") }

func (n *Node) close() {
	if n.Net != nil {
		n.Net.Close()
	}
	if n.ns.IsOpen() {
		n.ns.Close()
	}
}

// Do runs f on a thread inside the node: sockets that f opens are the node's,
// and stay so when f has returned.
func (n *Node) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.ns); err != nil {
			return fmt.Errorf("node %s: enter its namespace: %w", n.Name, err)
		}
		return f()
	})
}

// onThread runs f on a thread that ends with it, so that what f does to its
// thread's namespaces stays there.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes with the goroutine
		done <- f()
	}()
	return <-done
}

// Sysctl writes a sysctl by its path under /proc/sys.
func (n *Node) Sysctl(path, value string) {
	if n.lab.err != nil {
		return
	}
	err := n.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) })
	if err != nil {
		n.lab.fail("node %s: sysctl %s = %s: %w", n.Name, path, value, err)
	}
}

// Address adds an address with its prefix length to a device.
func (n *Node) Address(device, prefix string) {
	if n.lab.err != nil {
		return
	}
	if err := n.AddAddress(device, prefix); err != nil {
		n.lab.fail("%w", err)
	}
}

// AddAddress is Address after the lab was built.
func (n *Node) AddAddress(device, prefix string) error {
	return n.address(device, prefix, n.Net.AddrAdd)
}

// DeleteAddress takes an address away from a device.
func (n *Node) DeleteAddress(device, prefix string) error {
	return n.address(device, prefix, n.Net.AddrDel)
}

func (n *Node) address(device, prefix string, do func(netlink.Link, *netlink.Addr) error) error {
	addr, err := netlink.ParseAddr(prefix)
	if err != nil {
		return fmt.Errorf("node %s: address %s: %w", n.Name, prefix, err)
	}
	link, err := n.Net.LinkByName(device)
	if err != nil {
		return fmt.Errorf("node %s: device %s: %w", n.Name, device, err)
	}
	if err := do(link, addr); err != nil {
		return fmt.Errorf("node %s: address %s on %s: %w", n.Name, prefix, device, err)
	}
	return nil
}

// Route adds routes to prefixes by a gateway; "default" is 0.0.0.0/0.
func (n *Node) Route(gateway string, prefixes ...string) {
	if n.lab.err != nil {
		return
	}
	for _, p := range prefixes {
		if err := n.AddRoute(gateway, p); err != nil {
			n.lab.fail("%w", err)
		}
	}
}

// AddRoute is Route after the lab was built; it replaces a route of the same prefix.
func (n *Node) AddRoute(gateway, prefix string) error {
	if prefix == "default" {
		prefix = "0.0.0.0/0"
	}
	dst, err := netip.ParsePrefix(prefix)
	if err != nil {
		return fmt.Errorf("node %s: route %s: %w", n.Name, prefix, err)
	}
	route := &netlink.Route{
		Dst: &net.IPNet{IP: dst.Addr().AsSlice(), Mask: net.CIDRMask(dst.Bits(), dst.Addr().BitLen())},
		Gw:  net.ParseIP(gateway),
	}
	if err := n.Net.RouteReplace(route); err != nil {
		return fmt.Errorf("node %s: route %s via %s: %w", n.Name, prefix, gateway, err)
	}
	return nil
}
