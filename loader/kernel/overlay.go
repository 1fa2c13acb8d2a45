// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoVRF says that there is no VRF device of the name.
var ErrNoVRF = errors.New("no such VRF")

// rulePriority is the place of our rules: behind that of VRFs (1000), before those that an operator
// writes without a priority.
const rulePriority = 1054

// Table is where the routes of a tunnel stand. The zero value is the main one. Those that compare
// equal share their routes.
type Table struct {
	ID  int  // 0: main
	VRF bool // it is a VRF's, and holds the addresses of its devices too
}

func (t Table) id() int {
	if t.ID == 0 {
		return unix.RT_TABLE_MAIN
	}
	return t.ID
}

// first is a table that the kernel asks before this one and routing daemons do not look at; there
// is one before the main table alone.
func (t Table) first() int {
	if t.ID == 0 {
		return unix.RT_TABLE_LOCAL
	}
	return t.ID
}

// order is in which the kernel asks the tables for who is in this one. What it asks behind
// a table of a tunnel's own is not the tunnel's.
func (t Table) order() []int {
	switch {
	case t.ID == 0:
		return []int{unix.RT_TABLE_LOCAL, unix.RT_TABLE_MAIN, unix.RT_TABLE_DEFAULT}
	case t.VRF:
		return []int{t.ID}
	}
	return []int{unix.RT_TABLE_LOCAL, t.ID}
}

// In is the same Host, whose methods for routes are about another table than the main one. It is
// closed with the one that it comes from.
func (h *Host) In(t Table) *Host {
	in := *h
	in.table = t
	return &in
}

// VRF gives the table of a VRF device, and whether that is up. It wraps ErrNoVRF.
func (h *Host) VRF(name string) (t Table, up bool, err error) {
	vrf, err := h.vrf(name)
	if err != nil {
		return Table{}, false, fmt.Errorf("kernel: %w", err)
	}
	return Table{ID: int(vrf.Table), VRF: true}, vrf.RawFlags&unix.IFF_UP != 0, nil
}

func (h *Host) vrf(name string) (*netlink.Vrf, error) {
	link, err := h.nl.LinkByName(name)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("VRF %s: %w", name, ErrNoVRF)
	}
	if err != nil {
		return nil, fmt.Errorf("VRF %s: %w", name, err)
	}
	vrf, ok := link.(*netlink.Vrf)
	if !ok {
		return nil, fmt.Errorf("device %s is of kind %s: %w", name, link.Type(), ErrNoVRF)
	}
	return vrf, nil
}

// InVRF says whether a device is in the VRF of that name; "": in none.
func (h *Host) InVRF(ifindex int, name string) bool {
	link, err := h.nl.LinkByIndex(ifindex)
	if err != nil {
		return false
	}
	in, err := h.vrfOf(link)
	return err == nil && (in == nil && name == "" || in != nil && in.Name == name)
}

// vrfOf is the VRF that a device is in, nil if it is in none.
func (h *Host) vrfOf(link netlink.Link) (*netlink.Vrf, error) {
	master := link.Attrs().MasterIndex
	if master == 0 {
		return nil, nil
	}
	over, err := h.nl.LinkByIndex(master)
	if err != nil {
		return nil, fmt.Errorf("device %s: its master: %w", link.Attrs().Name, err)
	}
	vrf, _ := over.(*netlink.Vrf)
	return vrf, nil
}

// setVRF takes the device into the VRF, or out of the one that it is in. Its routes go with a
// change, and its addresses of IPv6.
func (h *Host) setVRF(link netlink.Link, name string) error {
	is, err := h.vrfOf(link)
	switch {
	case err != nil:
		return err
	case name == "" && is == nil, is != nil && is.Name == name:
		return nil
	case name == "":
		err = h.nl.LinkSetNoMaster(link)
	default:
		var vrf *netlink.Vrf
		if vrf, err = h.vrf(name); err == nil {
			err = h.nl.LinkSetMaster(link, vrf)
		}
	}
	if err != nil {
		return fmt.Errorf("device %s: VRF %q: %w", link.Attrs().Name, name, err)
	}
	return nil
}

// setRules makes what comes by the device, and what is bound to it, ask the table first; 0: no
// table. Rules of ours for the device that say otherwise go, after the new ones stand.
func (h *Host) setRules(device string, table int) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if err := h.setRulesOf(family, device, table); err != nil {
			return fmt.Errorf("device %s: rules: %w", device, err)
		}
	}
	return nil
}

func (h *Host) setRulesOf(family int, device string, table int) error {
	all, err := h.nl.RuleList(family)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // a kernel without IPv6
	}
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(r netlink.Rule) bool {
		return r.Protocol != Protocol || r.IifName != device && r.OifName != device
	})
	stands := func(in, out string) bool {
		return slices.ContainsFunc(all, func(r netlink.Rule) bool { return r.IifName == in && r.OifName == out && r.Table == table })
	}
	for _, way := range [][2]string{{device, ""}, {"", device}} {
		if table == 0 || stands(way[0], way[1]) {
			continue
		}
		rule := netlink.NewRule()
		rule.Family, rule.Priority, rule.Table, rule.Protocol = family, rulePriority, table, Protocol
		rule.IifName, rule.OifName = way[0], way[1]
		if err := h.nl.RuleAdd(rule); err != nil {
			return err
		}
	}
	for _, r := range all {
		if r.Table == table {
			continue
		}
		r.Family = family
		if err := h.nl.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// elsewhere says that the route to an address's network is not where the kernel would put it.
func (s TunnelSpec) elsewhere(address netip.Prefix) bool {
	return s.Table != 0 && !address.Addr().IsLinkLocalUnicast()
}

// setConnected puts the routes to the tunnel's networks into its table, for the kernel knows only the main
// one for them, and takes them out of a table of before.
func (h *Host) setConnected(link netlink.Link, spec TunnelSpec) error {
	name, index := link.Attrs().Name, link.Attrs().Index
	for _, p := range spec.Addresses {
		if !spec.elsewhere(p) {
			continue
		}
		route := &netlink.Route{
			Family: familyOf(p.Addr()), Dst: ipNet(p.Masked()), LinkIndex: index, Scope: netlink.SCOPE_LINK,
			Protocol: unix.RTPROT_KERNEL, Table: spec.Table, Src: p.Addr().AsSlice(),
		}
		if p.Addr().Is6() {
			route.Src, route.Scope = nil, netlink.SCOPE_UNIVERSE
		}
		if err := h.nl.RouteReplace(route); err != nil {
			return fmt.Errorf("device %s: route to %s in table %d: %w", name, p.Masked(), spec.Table, err)
		}
	}
	filter := &netlink.Route{Protocol: unix.RTPROT_KERNEL, LinkIndex: index}
	all, err := h.dump(filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("device %s: list routes: %w", name, err)
	}
	for _, r := range all {
		if r.Table != spec.Table && r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_LOCAL {
			if err := h.delete(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *Host) removeRules(device string) error {
	if err := h.setRules(device, 0); err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	return nil
}
