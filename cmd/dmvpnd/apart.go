// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/instance"
	"dmvpn/loader/kernel"
)

// overlay is the table of what is inside a tunnel.
func overlay(h *kernel.Host, t config.Tunnel) (kernel.Table, error) {
	if t.VRF == "" {
		return kernel.Table{ID: t.Table}, nil
	}
	in, _, err := h.VRF(t.VRF)
	return in, err
}

// overlays are those of all tunnels, as far as they are there, and the tables of underlays.
func overlays(c *config.Config, h *kernel.Host) []kernel.Table {
	all := underlayTables(c, h)
	for _, t := range c.Tunnels {
		if in, err := overlay(h, t); err == nil {
			all = append(all, in)
		}
	}
	return all
}

// underlayTables are those of the VRFs that underlays are in.
func underlayTables(c *config.Config, h *kernel.Host) (all []kernel.Table) {
	for _, t := range c.Tunnels {
		if u, _ := h.Underlay(spec(t)); u.Table != 0 {
			all = append(all, underlayTable(u))
		}
	}
	return all
}

// underlayTable is where the kernel looks outer packets up that have no mark.
func underlayTable(u kernel.Underlay) kernel.Table {
	return kernel.Table{ID: u.Table, VRF: u.Table != 0}
}

// enter finds the table of the tunnel's routes.
func (t *tunnel) enter() error {
	in, err := overlay(t.daemon.host, t.config)
	if err != nil {
		return fmt.Errorf("%w; make it: ip link add %s type vrf table NUMBER, ip link set %s up", err, t.config.VRF, t.config.VRF)
	}
	t.table = in
	return nil
}

// place is where an unreachable route under a prefix of the tunnel stands.
func (t *tunnel) place(p netip.Prefix) instance.Place {
	return instance.Place{Table: t.table.ID, Prefix: p}
}

// checkVRF notes that the tunnel is not where its packets should be.
func (t *tunnel) checkVRF() {
	name, text := t.config.VRF, ""
	if name == "" {
		return
	}
	switch in, up, err := t.daemon.host.VRF(name); {
	case err != nil:
		text = fmt.Sprintf("the VRF %s is gone, and %s is in none: restart dmvpnd when it is back", name, t.config.Name)
	case in != t.table:
		text = fmt.Sprintf("the VRF %s has table %d now, it had %d: restart dmvpnd", name, in.ID, t.table.ID)
	case !t.daemon.host.InVRF(t.device.Index, name):
		text = fmt.Sprintf("%s is not in the VRF %s any more: ip link set %s master %s, and restart dmvpnd", t.config.Name, name, t.config.Name, name)
	case !up:
		text = fmt.Sprintf("the VRF %s is down, so nothing is received: ip link set %s up", name, name)
	}
	t.problem("vrf", text)
}
