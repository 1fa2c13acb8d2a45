// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"
)

// ErrNoDevice says that the underlay device is not there.
var ErrNoDevice = errors.New("no such device")

// ErrNoAddress says that the underlay device has no usable address.
var ErrNoAddress = errors.New("no usable address")

// ErrRecursion says that outer packets would go into one of our own tunnels.
var ErrRecursion = errors.New("routing recursion")

// UnderlaySpec is what the operator wrote.
type UnderlaySpec struct {
	Device  string
	Address netip.Addr // invalid: the device's first global address
	Mark    uint32     // of outer packets; 0: none
	VRF     string     // "": that of the device, if it is in one
}

// Underlay is an underlay as it is now.
type Underlay struct {
	Device  string
	Index   int        // 0: the device is not there
	Address netip.Addr // IPv4; invalid: it has none, or not the one asked for
	MTU     int        // octets
	Up      bool       // up, with carrier
	Mark    uint32
	VRF     string // device of the VRF, "" for none
	Table   int    // of the VRF; 0: the rules of the main one
	L2      int    // octets of link-layer header: 14 Ethernet, 0 for devices without
}

// Underlay resolves the spec. It wraps ErrNoDevice and ErrNoAddress; with
// ErrNoAddress the rest of the result holds.
func (h *Host) Underlay(spec UnderlaySpec) (Underlay, error) {
	return Underlay{}, errors.New("kernel: not built")
}

// CheckRecursion asks the kernel how outer packets for the NBMA address leave,
// with the underlay's device, mark and VRF. It wraps ErrRecursion where only a
// route into one of our tunnels would take them; another error where there is
// no route at all.
func (h *Host) CheckRecursion(u Underlay, nbma netip.Addr, ours func(ifindex int) bool) error {
	return errors.New("kernel: not built")
}

// EventKind says what happened to an underlay.
type EventKind uint8

// What can happen to an underlay.
const (
	AddressChanged EventKind = iota + 1 // another one, the first one, or gone: Now.Address
	DeviceGone
	DeviceCame // Now.Index is another one
	DeviceDown
	DeviceUp
	MTUChanged
)

// Event is one change of an underlay.
type Event struct {
	Kind        EventKind
	Before, Now Underlay
}

// Watcher follows one underlay.
type Watcher struct{}

// Watch follows the underlay until Close, from the state that is handed in: what
// changed since it was resolved is reported first.
func (h *Host) Watch(spec UnderlaySpec, from Underlay) (*Watcher, error) {
	return nil, errors.New("kernel: not built")
}

// Events gives the changes in order. It is closed after Close.
func (w *Watcher) Events() <-chan Event { return nil }

// Close ends the following and waits for it.
func (w *Watcher) Close() {}
