// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/instance"
	"dmvpn/loader/kernel"
)

// cuts says whether an unreachable route under a prefix keeps outer packets from an address:
// it is in the prefix, or the gateway to it is, and the underlay device's route is a wider one.
// Without any such route it is not the unreachable one's fault.
func cuts(m *kernel.Routes, ifindex int, p netip.Prefix, nbma netip.Addr) bool {
	by, ok := m.By(nbma, ifindex)
	if !ok {
		return false
	}
	if p.Contains(nbma) && by.Prefix.Bits() < p.Bits() {
		return true
	}
	if by.NextHop == nbma || !p.Contains(by.NextHop) {
		return false
	}
	gateway, ok := m.By(by.NextHop, ifindex)
	return ok && gateway.Prefix.Bits() < p.Bits()
}

// cutsServers is cuts for the servers that the configuration names by address. Which table a
// mark leads to is not known here; lookForRecursion asks the kernel.
func cutsServers(m *kernel.Routes, t config.Tunnel, u kernel.Underlay, p instance.Place) bool {
	if u.Mark != 0 || u.Table != p.Table {
		return false
	}
	m = m.In(underlayTable(u))
	for _, n := range t.NHS {
		if a, err := netip.ParseAddr(n.NBMA); err == nil && cuts(m, u.Index, p.Prefix, a) {
			return true
		}
	}
	return false
}

// uncut lifts the unreachable routes that keep outer packets from an address, and stands again
// what the configuration names and they covered. "" says that there was none.
func (t *tunnel) uncut(u kernel.Underlay, nbma netip.Addr) string {
	d := t.daemon
	lifted, err := d.unreachable.Lift(func(p instance.Place) bool {
		return p.Table == u.Table && cuts(d.mirror.In(underlayTable(u)), u.Index, p.Prefix, nbma)
	})
	d.quietly("lift unreachable routes", err)
	if len(lifted) == 0 {
		return ""
	}
	for _, other := range d.tunnels {
		for _, p := range behind(other.config) {
			d.quietly("stand unreachable routes", d.unreachable.Stand(other.place(p)))
		}
	}
	return fmt.Sprintf("the unreachable routes under %v kept outer packets from %s and are lifted: what is in them may go in clear while the tunnel does not lead there; give %s a route of its own by %s, or let the tunnel lead to narrower prefixes", lifted, nbma, nbma, u.Device)
}
