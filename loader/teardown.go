// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"dmvpn/loader/kernel"
)

// Teardown removes everything of the instance from the kernel: programs,
// filters, pins, tunnel devices with their addresses and routes. What is not
// there is no error. It must run in the network namespace of the instance.
func Teardown(o Options) error {
	host, err := kernel.Open()
	if err != nil {
		return err
	}
	defer host.Close()
	devices, err := o.deviceNames()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range devices {
		_, noTunnel := os.Stat(filepath.Join(o.device(name), progEncap))
		errs = append(errs, o.detach(name))
		if noTunnel != nil {
			continue
		}
		// A name that is another device's by now is not ours to remove.
		if err := host.RemoveTunnel(name); err != nil && !errors.Is(err, kernel.ErrNameTaken) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, removeAll(o.devices()), o.removeMaps())
	return errors.Join(errs...)
}

// removeMaps unpins the maps and removes the instance's directory.
func (o Options) removeMaps() error {
	entries, err := os.ReadDir(o.dir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("loader: %w", err)
	}
	var maps []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "dmvpn_") {
			maps = append(maps, e.Name())
		}
	}
	err = errors.Join(removeAll(o.dir(), maps...), removeAll(filepath.Dir(o.dir())))
	if err != nil && !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("loader: %w", err)
	}
	return nil
}

// deviceNames gives the devices that have programs of ours.
func (o Options) deviceNames() ([]string, error) {
	entries, err := os.ReadDir(o.devices())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("loader: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, unpinName(e.Name()))
	}
	return names, nil
}

// sweepDevices removes the pins of devices that are gone.
func (p *Plane) sweepDevices() error {
	names, err := p.options.deviceNames()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		dir := p.options.device(name)
		for _, program := range attachedPrograms {
			path := filepath.Join(dir, program+linkSuffix)
			gone := false
			if l, err := link.LoadPinnedLink(path, nil); err == nil {
				gone = attached(l, 0)
				_ = l.Close()
			} else if _, err := netlink.LinkByName(name); err != nil {
				gone = true // by clsact, which has no link
			}
			if gone {
				errs = append(errs, removeAll(dir, program+linkSuffix, program))
			}
		}
	}
	return errors.Join(errs...)
}
