// SPDX-License-Identifier: Apache-2.0

// Package kernel is what the data plane needs of the kernel besides BPF: the
// tunnel device, addresses, routes, and what happens to the underlay device.
package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// answerTimeout is how long the kernel may take to answer on netlink.
const answerTimeout = 10 * time.Second

// Host is the network namespace in which it was opened. Its methods may be
// called from any goroutine, together; those that say so must run on a thread
// of that namespace.
type Host struct {
	nl     *netlink.Handle
	routes *netlink.Handle // strict: the kernel filters what it lists
	ns     netns.NsHandle  // for subscriptions that are made later
	table  Table           // of routes that are installed
	placed *placed         // shared with what In gives
}

// Open takes the network namespace of the calling thread.
func Open() (*Host, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("kernel: open the network namespace: %w", err)
	}
	h := &Host{ns: ns, placed: &placed{by: map[int]map[netip.Prefix][]netlink.Route{}}}
	for _, to := range []**netlink.Handle{&h.nl, &h.routes} {
		if *to, err = netlink.NewHandle(unix.NETLINK_ROUTE); err == nil {
			err = (*to).SetSocketTimeout(answerTimeout)
		}
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("kernel: open a netlink socket: %w", err)
		}
	}
	if err := h.routes.SetStrictCheck(true); err != nil {
		h.Close()
		return nil, fmt.Errorf("kernel: netlink socket: strict checks: %w", err)
	}
	return h, nil
}

// Close gives back the sockets. Devices, addresses and routes stay.
func (h *Host) Close() {
	for _, nl := range []*netlink.Handle{h.nl, h.routes} {
		if nl != nil {
			nl.Close()
		}
	}
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

// Forwarding says whether the kernel forwards a family: a hub that does not is a
// dead end, worth a warning. It must run in the namespace of the Host.
func (h *Host) Forwarding(six bool) bool {
	path := "/proc/sys/net/ipv4/ip_forward"
	if six {
		path = "/proc/sys/net/ipv6/conf/all/forwarding"
	}
	b, err := os.ReadFile(path)
	return err == nil && len(b) > 0 && b[0] != '0'
}
