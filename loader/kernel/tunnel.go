// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"
	"os"
)

// ErrNameTaken says that a device of the name is there and is not a tunnel
// device like ours.
var ErrNameTaken = errors.New("the name belongs to another kind of device")

// ErrAddressInUse says that another device has the tunnel's address.
var ErrAddressInUse = errors.New("address already in use")

// TunnelSpec is what a tunnel device should be.
type TunnelSpec struct {
	Name       string       // of the device, at most 15 octets
	Address    netip.Prefix // ours, with the cloud's prefix length
	MTU        int          // octets of an inner packet
	TxQueueLen int          // packets that wait for the reader; 0: 10000
	Queue      *os.File     // the queue that a holder kept; nil: one is opened
}

// Device is a tunnel device that is up, with its one queue. The queue keeps the
// carrier while anyone has it open; reads and writes begin with a
// virtio_net_hdr. Two readers at once would share the packets between them.
type Device struct {
	Name    string
	Index   int
	Queue   *os.File // non-blocking, reads wake on Close and deadlines
	Adopted bool     // the device was there before
}

// EnsureTunnel makes the persistent TUN device (IFF_TUN, IFF_NO_PI,
// IFF_VNET_HDR, IFF_MULTI_QUEUE; POINTOPOINT, NOARP) or adopts the one that is
// there, gives it the address and MTU and sets it up. Addresses that it had
// otherwise are removed, after the new one stands. An error leaves no device
// behind that was not there before. It wraps ErrNameTaken or ErrAddressInUse
// where these are the reason.
func (h *Host) EnsureTunnel(spec TunnelSpec) (*Device, error) {
	return nil, errors.New("kernel: not built")
}

// RemoveTunnel deletes the tunnel device, and with it its addresses and routes.
// One that is not there is no error; a device of another kind stays, with
// ErrNameTaken.
func (h *Host) RemoveTunnel(name string) error { return errors.New("kernel: not built") }

// Close closes the queue. The device stays.
func (d *Device) Close() error { return d.Queue.Close() }
