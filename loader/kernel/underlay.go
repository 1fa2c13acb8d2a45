// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoDevice says that the underlay device is not there.
var ErrNoDevice = errors.New("no such device")

// ErrNoAddress says that the underlay device has no usable address.
var ErrNoAddress = errors.New("no usable address")

// ErrRecursion says that outer packets would go into one of our own tunnels.
var ErrRecursion = errors.New("routing recursion")

// UnderlaySpec is what the operator wrote.
type UnderlaySpec struct {
	Device   string
	Address  netip.Addr // of IPv4; invalid: the device's first global one
	Address6 netip.Addr // the same of IPv6
	Only     Family     // addresses of one family alone; 0: of both
	Mark     uint32     // of outer packets; 0: none
	VRF      string     // "": that of the device, if it is in one
}

// Family is IPv4 or IPv6, by their numbers.
type Family int

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Underlay is an underlay as it is now. Two that compare equal are the same.
type Underlay struct {
	Device   string
	Index    int        // 0: the device is not there
	Address  netip.Addr // IPv4; invalid: it has none, or not the one asked for
	Address6 netip.Addr // IPv6; the same
	MTU      int        // octets
	Up       bool       // up, with carrier
	Mark     uint32
	VRF      string // device of the VRF, "" for none
	Table    int    // of the VRF; 0: the rules of the main one
	L2       int    // octets of link-layer header: 14 Ethernet, 0 for devices without
}

// Addresses are those that there are, that of IPv4 first.
func (u Underlay) Addresses() (all []netip.Addr) {
	for _, a := range []netip.Addr{u.Address, u.Address6} {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// For is our address to a peer, invalid if we have none of its family.
func (u Underlay) For(peer netip.Addr) netip.Addr {
	if peer.Is4() {
		return u.Address
	}
	return u.Address6
}

// Underlay resolves the spec. It wraps ErrNoDevice and ErrNoAddress; with
// ErrNoAddress the rest of the result holds.
func (h *Host) Underlay(spec UnderlaySpec) (Underlay, error) {
	u, err := h.resolve(spec)
	if err != nil {
		return u, fmt.Errorf("kernel: underlay device %s: %w", spec.Device, err)
	}
	return u, nil
}

func (h *Host) resolve(spec UnderlaySpec) (Underlay, error) {
	u := Underlay{Device: spec.Device, Mark: spec.Mark}
	link, err := h.nl.LinkByName(spec.Device)
	if err != nil {
		var none netlink.LinkNotFoundError
		if errors.As(err, &none) {
			err = ErrNoDevice
		}
		return u, err
	}
	a := link.Attrs()
	u.Index, u.MTU = a.Index, a.MTU
	u.Up = a.Flags&net.FlagUp != 0 && a.RawFlags&unix.IFF_RUNNING != 0
	if a.EncapType == "ether" || a.EncapType == "loopback" {
		u.L2 = 14
	}
	if err := h.resolveVRF(&u, link, spec.VRF); err != nil {
		return u, err
	}
	return u, h.pickAddresses(&u, link, spec)
}

// pickAddresses finds those that are asked for, or one of each family that may be used.
func (h *Host) pickAddresses(u *Underlay, link netlink.Link, spec UnderlaySpec) (err error) {
	if spec.Only != IPv6 {
		if u.Address, err = h.pickAddress(link, unix.AF_INET, spec.Address); err != nil {
			return err
		}
	}
	if spec.Only != IPv4 {
		if u.Address6, err = h.pickAddress(link, unix.AF_INET6, spec.Address6); err != nil {
			return err
		}
	}
	switch {
	case spec.Address.IsValid() && !u.Address.IsValid():
		return fmt.Errorf("%w: it does not have %s", ErrNoAddress, spec.Address)
	case spec.Address6.IsValid() && !u.Address6.IsValid():
		return fmt.Errorf("%w: it does not have %s, or not yet", ErrNoAddress, spec.Address6)
	case len(u.Addresses()) > 0:
		return nil
	case spec.Only != 0:
		return fmt.Errorf("%w of IPv%d", ErrNoAddress, spec.Only)
	}
	return ErrNoAddress
}

// resolveVRF finds the VRF of the device, which must be the one that is asked for.
func (h *Host) resolveVRF(u *Underlay, link netlink.Link, want string) error {
	vrf, err := h.vrfOf(link)
	if err != nil {
		return err
	}
	if vrf != nil {
		u.VRF, u.Table = vrf.Name, int(vrf.Table)
	}
	if want != "" && want != u.VRF {
		return fmt.Errorf("is not in the VRF %s: put it there (ip link set %s master %s)", want, u.Device, want)
	}
	return nil
}

// pickAddress gives the address that is asked for, or the first primary global one; invalid
// if there is none. Of IPv6 that is none that changes of itself (RFC 8981) or may be another
// host's yet (RFC 4862), and one of a site (RFC 4193) only where there is no other; the
// kernel names the newest first.
func (h *Host) pickAddress(link netlink.Link, family int, want netip.Addr) (netip.Addr, error) {
	const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	other := unix.IFA_F_SECONDARY // IFA_F_TEMPORARY of IPv6
	if family == unix.AF_INET6 {
		other |= unix.IFA_F_DEPRECATED
	}
	all, err := h.nl.AddrList(link, family)
	if err != nil {
		return netip.Addr{}, err
	}
	var found netip.Addr
	for _, a := range all {
		ip := prefixOf(a.IPNet).Addr()
		switch {
		case a.Flags&unusable != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0:
		case want.IsValid():
			if ip == want {
				return ip, nil
			}
		case a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&other != 0:
		case family == unix.AF_INET:
			return ip, nil
		case !found.IsValid() || !ip.IsPrivate() || found.IsPrivate():
			found = ip
		}
	}
	return found, nil
}

// CheckRecursion asks the kernel how outer packets for the NBMA address leave,
// with the underlay's device, mark and VRF. It wraps ErrRecursion where only a
// route into one of our tunnels would take them; another error where there is
// no route at all.
func (h *Host) CheckRecursion(u Underlay, nbma netip.Addr, ours func(ifindex int) bool) error {
	// With FIB_MATCH a bound device without a route is an error; without it the
	// kernel would take every destination for on link.
	bound := &netlink.RouteGetOptions{OifIndex: u.Index, Mark: u.Mark, FIBMatch: true}
	_, err := h.nl.RouteGetWithOptions(nbma.AsSlice(), bound)
	if err == nil {
		return nil
	}
	free := &netlink.RouteGetOptions{Mark: u.Mark}
	routes, freeErr := h.nl.RouteGetWithOptions(nbma.AsSlice(), free)
	if freeErr == nil && len(routes) > 0 && ours(routes[0].LinkIndex) {
		return fmt.Errorf("kernel: %w: the only route to %s leaves by the tunnel %s: add a route to it by the underlay device %s",
			ErrRecursion, nbma, h.DeviceName(routes[0].LinkIndex), u.Device)
	}
	return fmt.Errorf("kernel: no route to %s by the underlay device %s: %w", nbma, u.Device, err)
}
