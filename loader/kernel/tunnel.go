// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNameTaken says that a device of the name is there and is not a tunnel
// device like ours.
var ErrNameTaken = errors.New("the name belongs to another kind of device")

// ErrAddressInUse says that another device has the tunnel's address.
var ErrAddressInUse = errors.New("the address is already in use")

// ErrQueueTaken says that another process has the device's queue open.
var ErrQueueTaken = errors.New("another process has the device open")

// defaultTxQueueLen is what waits while the daemon is away.
const defaultTxQueueLen = 10000

// TunnelSpec is what a tunnel device should be.
type TunnelSpec struct {
	Name       string         // of the device, at most 15 octets
	Addresses  []netip.Prefix // ours, with the cloud's prefix length
	MTU        int            // octets of an inner packet
	TxQueueLen int            // packets that wait for the reader; 0: 10000
	Queues     []*os.File     // those that a holder kept; none: one is opened
	VRF        string         // that the device is in; "": none
	Table      int            // that what comes by the device asks first; 0: none
}

// Device is a tunnel device that is up, with its queues. They keep the carrier
// while anyone has one open; reads and writes begin with a virtio_net_hdr of
// VnetHeader octets. Two readers of one queue would share its packets between them.
type Device struct {
	Name    string
	Index   int
	Queues  []*os.File // in the device's order; non-blocking: reads wake on Close and deadlines
	Adopted bool       // the device was there before
}

// EnsureTunnel makes the persistent TUN device (IFF_TUN, IFF_NO_PI,
// IFF_VNET_HDR, IFF_MULTI_QUEUE; POINTOPOINT, NOARP) or adopts the one that is
// there, gives it the addresses and MTU and sets it up. Addresses that it had
// otherwise are removed, after the new one stands. spec.Queues are the Device's
// or closed. An error leaves no device behind that was not there
// before; it wraps ErrNameTaken, ErrAddressInUse or ErrQueueTaken where these
// are the reason. It must run in the namespace of the Host.
func (h *Host) EnsureTunnel(spec TunnelSpec) (*Device, error) {
	d, err := h.ensureTunnel(spec)
	if err != nil {
		return nil, fmt.Errorf("kernel: tunnel device: %w", err)
	}
	return d, nil
}

func (h *Host) ensureTunnel(spec TunnelSpec) (*Device, error) {
	queues := spec.ours()
	adopted, err := h.checkName(spec.Name, len(queues))
	if err == nil {
		err = h.checkAddresses(spec)
	}
	if err == nil && len(queues) == 0 {
		var queue *os.File
		if queue, err = openQueue(spec.Name); err == nil {
			queues = append(queues, queue)
		}
	} else if err == nil {
		err = control(queues[0], func(fd int) error { return setOffloads(fd, spec.Name) })
	}
	var link netlink.Link
	if err == nil {
		link, err = h.nl.LinkByName(spec.Name)
	}
	if err == nil {
		err = h.configure(link, spec)
	}
	if err != nil {
		_ = closeAll(queues)
		if link != nil && !adopted {
			_ = h.nl.LinkDel(link)
		}
		return nil, err
	}
	return &Device{Name: spec.Name, Index: link.Attrs().Index, Queues: queues, Adopted: adopted}, nil
}

// ours gives the queues that are the device's, and closes those of one that is gone or was
// renamed.
func (s TunnelSpec) ours() (queues []*os.File) {
	for _, q := range s.Queues {
		if name, ours, err := queueOf(q); err != nil || name != s.Name || !ours {
			_ = q.Close()
			continue
		}
		queues = append(queues, q)
	}
	return queues
}

// checkName says whether the device is there, and refuses one that is not ours
// to take, or that somebody has more queues of than we.
func (h *Host) checkName(name string, held int) (exists bool, err error) {
	link, err := h.nl.LinkByName(name)
	if err != nil {
		var none netlink.LinkNotFoundError
		if errors.As(err, &none) {
			return false, nil
		}
		return false, fmt.Errorf("device %s: %w", name, err)
	}
	tun, err := asTunnel(link)
	if err != nil {
		return true, err
	}
	if tun.Queues+tun.DisabledQueues > held {
		return true, fmt.Errorf("device %s: %w: end it first", name, ErrQueueTaken)
	}
	return true, nil
}

// asTunnel refuses every device that is not a TUN with our flags.
func asTunnel(link netlink.Link) (*netlink.Tuntap, error) {
	const flags = netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_MULTI_QUEUE
	name := link.Attrs().Name
	tun, ok := link.(*netlink.Tuntap)
	if !ok || tun.Mode != netlink.TUNTAP_MODE_TUN {
		return nil, fmt.Errorf("device %s is of kind %s: %w", name, link.Type(), ErrNameTaken)
	}
	if tun.Flags&flags != flags || tun.NonPersist {
		return nil, fmt.Errorf("device %s is a TUN of another program: %w", name, ErrNameTaken)
	}
	return tun, nil
}

// checkAddresses refuses addresses that another device of the VRF has; each link has link-local
// ones of its own. Who has a table of its own may share its address with others.
func (h *Host) checkAddresses(spec TunnelSpec) error {
	if spec.Table != 0 {
		return nil
	}
	all, err := h.nl.AddrList(nil, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range all {
		ip, _ := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap()
		if ip.IsLinkLocalUnicast() && ip.Is6() || !slices.ContainsFunc(spec.Addresses, func(p netip.Prefix) bool { return p.Addr() == ip }) {
			continue
		}
		if other := h.DeviceName(a.LinkIndex); other != spec.Name && h.InVRF(a.LinkIndex, spec.VRF) {
			return fmt.Errorf("device %s: %w: %s belongs to %s", spec.Name, ErrAddressInUse, ip, other)
		}
	}
	return nil
}

// RemoveTunnel deletes the tunnel device, and with it its addresses, routes and rules.
// One that is not there is no error; a device of another kind stays, with
// ErrNameTaken.
func (h *Host) RemoveTunnel(name string) error {
	link, err := h.nl.LinkByName(name)
	if err != nil {
		var none netlink.LinkNotFoundError
		if errors.As(err, &none) {
			return h.removeRules(name)
		}
		return fmt.Errorf("kernel: device %s: %w", name, err)
	}
	if _, err := asTunnel(link); err != nil {
		return fmt.Errorf("kernel: remove %w", err)
	}
	if err := h.removeRules(name); err != nil {
		return err
	}
	if err := h.nl.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("kernel: delete device %s: %w", name, err)
	}
	return nil
}

// SetCarrier gives the device its carrier or takes it: without one routing daemons and
// `ip link` see NO-CARRIER, the kernel sends nothing by it, and what is received still
// arrives. It stays so until it is set again or the last queue is closed.
func (d *Device) SetCarrier(up bool) error {
	value := 0
	if up {
		value = 1
	}
	err := control(d.Queues[0], func(fd int) error { return unix.IoctlSetPointerInt(fd, tunSetCarrier, value) })
	if err != nil {
		return fmt.Errorf("kernel: device %s: TUNSETCARRIER: %w", d.Name, err)
	}
	return nil
}

// OpenQueue opens one more queue. Where packets wait is the kernel's choice, by flow, unless it
// was told (loader.Plane.Steer). The carrier stays as it is. It must run in the namespace of the device.
func (d *Device) OpenQueue() (*os.File, error) {
	q, err := openQueue(d.Name)
	if err != nil {
		return nil, fmt.Errorf("kernel: one more queue: %w", err)
	}
	d.Queues = append(d.Queues, q)
	return q, nil
}

// CloseQueue closes the last queue, for those before it keep their place in the device: what
// waits in it is lost, unless it is held elsewhere.
func (d *Device) CloseQueue() error {
	last := len(d.Queues) - 1
	q := d.Queues[last]
	d.Queues = d.Queues[:last]
	return q.Close()
}

// Close closes the queues. The device stays.
func (d *Device) Close() error { return closeAll(d.Queues) }

func closeAll(queues []*os.File) (err error) {
	for _, q := range queues {
		err = errors.Join(err, q.Close())
	}
	return err
}
