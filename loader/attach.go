// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// ethernetHeader is the length of the link header of most devices.
const ethernetHeader = 14

// hook is a place where a program of ours stands.
type hook struct {
	device  netlink.Link
	program string
	ingress bool
}

func (k hook) String() string { return k.program + " at " + k.device.Attrs().Name }

// AttachTunnel attaches dmvpn_encap to the egress of the tunnel device, and dmvpn_arrive to its
// ingress if it is in a VRF, as its entry in the tables says too; a program of ours that runs
// there is replaced in one step.
func (p *Plane) AttachTunnel(ifindex int, vrf bool) error {
	device, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return fmt.Errorf("loader: tunnel device with index %d: %w", ifindex, err)
	}
	if vrf {
		err = p.attach(hook{device, progArrive, true})
	} else {
		err = p.options.detachFrom(device.Attrs().Name, progArrive)
	}
	if err != nil {
		return err
	}
	return p.attach(hook{device, progEncap, false})
}

// AttachUnderlay attaches dmvpn_decap to the ingress of the underlay device,
// once however many tunnels share it; replaced as by AttachTunnel.
func (p *Plane) AttachUnderlay(ifindex int) error {
	device, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return fmt.Errorf("loader: underlay device with index %d: %w", ifindex, err)
	}
	return p.attach(hook{device, progDecap, true})
}

func (p *Plane) attach(k hook) error {
	l2, err := linkHeader(k.device)
	if err != nil {
		return fmt.Errorf("loader: attach %s: %w", k, err)
	}
	program, err := p.program(programKey{k.program, l2})
	if err != nil {
		return fmt.Errorf("loader: attach %s: %w", k, err)
	}
	if err := p.attachTo(k, program); err != nil {
		return fmt.Errorf("loader: attach %s: %w", k, err)
	}
	return nil
}

func (p *Plane) attachTo(k hook, program *ebpf.Program) error {
	dir := p.options.device(k.device.Attrs().Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// What stands there by the other way goes only when the new one runs.
	if !p.options.Clsact {
		err := attachTCX(k, program, dir)
		if err == nil {
			err = removeFilters(k, p.options.filterName(k.program))
		}
		if !errors.Is(err, link.ErrNotSupported) {
			return errors.Join(err, pinProgram(program, dir+"/"+k.program))
		}
	}
	if err := attachClsact(k, program, p.options.filterName(k.program)); err != nil {
		return err
	}
	if err := detachTCX(dir + "/" + k.program + linkSuffix); err != nil {
		return err
	}
	return pinProgram(program, dir+"/"+k.program)
}

// linkHeader gives the octets in front of the IP header of what the device
// carries.
func linkHeader(device netlink.Link) (uint32, error) {
	switch kind := device.Attrs().EncapType; kind {
	case "ether", "loopback":
		return ethernetHeader, nil
	case "none", "ppp", "rawip":
		return 0, nil
	default:
		return 0, fmt.Errorf("a device of link type %s cannot be an underlay: use one with Ethernet or plain IP", kind)
	}
}

// ReleaseUnderlay detaches from the underlay device if no tunnel of the tables
// uses it any more. A device that is gone is no error.
func (p *Plane) ReleaseUnderlay(ifindex int) error {
	tunnels, err := p.Tables.Tunnels()
	if err != nil {
		return fmt.Errorf("loader: release underlay: %w", err)
	}
	for _, t := range tunnels {
		if t.UnderlayIfIndex == ifindex {
			return nil
		}
	}
	device, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return p.sweepDevices()
	}
	return p.options.detach(device.Attrs().Name)
}

// attachedPrograms are those that stand at devices.
var attachedPrograms = []string{progEncap, progArrive, progDecap}

// detach takes our programs off the device and removes their pins.
func (o Options) detach(name string) error { return o.detachFrom(name, attachedPrograms...) }

func (o Options) detachFrom(name string, programs ...string) error {
	dir := o.device(name)
	var errs []error
	for _, program := range programs {
		if err := detachTCX(dir + "/" + program + linkSuffix); err != nil {
			errs = append(errs, err)
		}
		if device, err := netlink.LinkByName(name); err == nil {
			errs = append(errs, removeFilters(hook{device, program, program != progEncap}, o.filterName(program)))
		}
		errs = append(errs, removeAll(dir, program, program+"_new"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("loader: detach from %s: %w", name, err)
	}
	return nil
}
