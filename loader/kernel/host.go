// SPDX-License-Identifier: Apache-2.0

// Package kernel is what the data plane needs of the kernel besides BPF: the
// tunnel device, addresses, routes, and what happens to the underlay device.
package kernel

import (
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Protocol marks the routes that we install: `dmvpn`, NHRP's IP protocol number.
const Protocol = 54

// Host is the network namespace in which it was opened. Its methods may be
// called from any goroutine, together.
type Host struct {
	nl *netlink.Handle
	ns netns.NsHandle // for subscriptions that are made again later
}

// Open takes the network namespace of the calling thread.
func Open() (*Host, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("kernel: open the network namespace: %w", err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("kernel: open a netlink socket: %w", err)
	}
	h := &Host{nl: nl, ns: ns}
	if err := nl.SetSocketTimeout(10 * time.Second); err != nil {
		h.Close()
		return nil, fmt.Errorf("kernel: netlink socket: %w", err)
	}
	return h, nil
}

// Close gives back the sockets. Devices, addresses and routes stay.
func (h *Host) Close() {
	h.nl.Close()
	_ = h.ns.Close()
}

// DeviceExists says whether a device with the index is there.
func (h *Host) DeviceExists(ifindex int) bool {
	_, err := h.nl.LinkByIndex(ifindex)
	return err == nil
}

// DeviceName gives the name of the device with the index, "" if there is none.
func (h *Host) DeviceName(ifindex int) string {
	link, err := h.nl.LinkByIndex(ifindex)
	if err != nil {
		return ""
	}
	return link.Attrs().Name
}

// Forwarding says whether the kernel forwards IPv4: a hub that does not is a
// dead end, worth a warning.
func (h *Host) Forwarding() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	return err == nil && len(b) > 0 && b[0] != '0'
}
