// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

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
	// No link-local IPv6 of the kernel's own making, which would be another one after each
	// start. A kernel without IPv6 refuses, which is as good.
	_ = h.nl.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE)
	if err := setSysctls(a.Name); err != nil {
		return err
	}
	if err := h.setVRF(link, spec.VRF); err != nil {
		return err
	}
	if err := h.setRules(a.Name, spec.Table); err != nil {
		return err
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		if err := h.setAddresses(link, family, spec); err != nil {
			return err
		}
	}
	if a.Flags&net.FlagUp == 0 {
		if err := h.nl.LinkSetUp(link); err != nil {
			return fmt.Errorf("device %s: set up: %w", a.Name, err)
		}
	}
	if spec.VRF == "" {
		return h.setConnected(link, spec)
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
	// Nobody on the tunnel is a router to believe, or to ask.
	for _, name := range []string{"accept_redirects", "accept_ra", "router_solicitations"} {
		path := "/proc/sys/net/ipv6/conf/" + device + "/" + name
		err := os.WriteFile(path, []byte("0"), 0)
		if err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, unix.EROFS) && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("device %s: %w", device, err)
		}
	}
	return nil
}

// setAddresses gives the device those of a family and no others, the new before the old go.
func (h *Host) setAddresses(link netlink.Link, family int, spec TunnelSpec) error {
	name := link.Attrs().Name
	have, err := h.nl.AddrList(link, family)
	if err != nil && family == unix.AF_INET6 && errors.Is(err, unix.EOPNOTSUPP) {
		have, err = nil, nil // a kernel without IPv6
	}
	if err != nil {
		return fmt.Errorf("device %s: list addresses: %w", name, err)
	}
	var others []netlink.Addr
	found := map[netip.Prefix]bool{}
	for _, a := range have {
		if p := prefixOf(a.IPNet); slices.Contains(spec.Addresses, p) && (a.Flags&unix.IFA_F_NOPREFIXROUTE != 0) == spec.elsewhere(p) {
			found[p] = true
		} else {
			others = append(others, a)
		}
	}
	add := func() error {
		for _, address := range spec.Addresses {
			if familyOf(address.Addr()) != family || found[address] {
				continue
			}
			a := &netlink.Addr{IPNet: ipNet(address)}
			if family == unix.AF_INET6 {
				a.Flags = unix.IFA_F_NODAD
			}
			if spec.elsewhere(address) {
				a.Flags |= unix.IFA_F_NOPREFIXROUTE
			}
			if err := h.nl.AddrAdd(link, a); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("device %s: address %s: %w", name, address, err)
			}
		}
		return nil
	}
	if err := add(); err != nil {
		return err
	}
	for _, a := range others {
		if err := h.nl.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("device %s: remove address %s: %w", name, a.IPNet, err)
		}
	}
	if len(others) > 0 {
		// A primary address that goes takes the secondary ones of its subnet along.
		clear(found)
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
