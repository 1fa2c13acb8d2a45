// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// configure makes the device what the spec says, in an order in which an
// adopted device never loses its traffic.
func (h *Host) configure(link netlink.Link, spec TunnelSpec) error {
	a := link.Attrs()
	if a.MTU != spec.MTU {
		if err := h.nl.LinkSetMTU(link, spec.MTU); err != nil {
			return fmt.Errorf("device %s: MTU %d: %w", a.Name, spec.MTU, err)
		}
	}
	length := spec.TxQueueLen
	if length == 0 {
		length = defaultTxQueueLen
	}
	if a.TxQLen != length {
		if err := h.nl.LinkSetTxQLen(link, length); err != nil {
			return fmt.Errorf("device %s: queue length %d: %w", a.Name, length, err)
		}
	}
	// No link-local IPv6 of the kernel's own making: its router solicitations
	// would only be dropped. A kernel without IPv6 refuses, which is as good.
	_ = h.nl.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE)
	if err := setSysctls(a.Name); err != nil {
		return err
	}
	if err := h.setAddress(link, spec.Address); err != nil {
		return err
	}
	if a.Flags&net.FlagUp == 0 {
		if err := h.nl.LinkSetUp(link); err != nil {
			return fmt.Errorf("device %s: set up: %w", a.Name, err)
		}
	}
	return nil
}

// setSysctls stops ICMP redirects: NHRP does their work, and a hub sends back
// by the device what came by it all day. The kernel sends them where the device
// or "all" says so; every other device keeps its own word, which is yes unless
// someone has changed it.
func setSysctls(device string) error {
	for _, name := range []string{device + "/send_redirects", device + "/accept_redirects", "all/send_redirects"} {
		path := "/proc/sys/net/ipv4/conf/" + name
		if err := os.WriteFile(path, []byte("0"), 0); err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("device %s: %w", device, err)
		}
	}
	return nil
}

// setAddress gives the device the one address, the new before the old goes.
func (h *Host) setAddress(link netlink.Link, address netip.Prefix) error {
	name := link.Attrs().Name
	have, err := h.nl.AddrList(link, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("device %s: list addresses: %w", name, err)
	}
	found := false
	var others []netlink.Addr
	for _, a := range have {
		if prefixOf(a.IPNet) == address {
			found = true
		} else {
			others = append(others, a)
		}
	}
	add := func() error {
		err := h.nl.AddrAdd(link, &netlink.Addr{IPNet: ipNet(address)})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("device %s: address %s: %w", name, address, err)
		}
		return nil
	}
	if !found {
		if err := add(); err != nil {
			return err
		}
	}
	for _, a := range others {
		if err := h.nl.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("device %s: remove address %s: %w", name, a.IPNet, err)
		}
	}
	if len(others) > 0 {
		// A primary address that goes takes the secondary ones of its subnet along.
		return add()
	}
	return nil
}

// ipNet gives the prefix as netlink takes it, with the host bits.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf is the inverse of ipNet; nil is the zero Prefix.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ip, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits)
}
