// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"
)

// Route is what the kernel says of a destination.
type Route struct {
	Prefix      netip.Prefix
	NextHop     netip.Addr // gateway; the destination itself if on link; invalid without a device
	IfIndex     int        // of the device by which it leaves; 0: none
	Local       bool       // one of our own addresses
	NHRP        bool       // we installed it (protocol 54)
	Unreachable bool       // unreachable, prohibit or blackhole: no device
}

// InstallRoute installs PREFIX via NEXTHOP on the tunnel device (protocol 54,
// onlink, before others of the same prefix and metric 0) and then removes ours
// of the same prefix on that device, so that no packet finds neither. A route
// that stands already is no error.
func (h *Host) InstallRoute(prefix netip.Prefix, nextHop netip.Addr, ifindex int) error {
	return errors.New("kernel: not built")
}

// RemoveRoute removes ours of the prefix on the device; none is no error.
// Routes of others stay.
func (h *Host) RemoveRoute(prefix netip.Prefix, ifindex int) error {
	return errors.New("kernel: not built")
}

// InstallUnreachable stands an unreachable route under the prefix, so that its
// traffic does not follow the default route while the tunnel is away: protocol
// 54, metric 4278198272, behind every other.
func (h *Host) InstallUnreachable(prefix netip.Prefix) error { return errors.New("kernel: not built") }

// RemoveUnreachable undoes InstallUnreachable; none is no error.
func (h *Host) RemoveUnreachable(prefix netip.Prefix) error { return errors.New("kernel: not built") }

// OwnRoutes lists our routes on the device.
func (h *Host) OwnRoutes(ifindex int) ([]Route, error) { return nil, errors.New("kernel: not built") }

// SweepRoutes removes our routes on the device but those to keep: what the
// daemon before left and nobody wants.
func (h *Host) SweepRoutes(ifindex int, keep func(Route) bool) error {
	return errors.New("kernel: not built")
}
