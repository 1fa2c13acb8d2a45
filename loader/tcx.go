// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// attachTCX attaches by a link that is pinned in dir, and updates the one that
// is there. It gives link.ErrNotSupported before kernel 6.6.
func attachTCX(k hook, program *ebpf.Program, dir string) error {
	path := filepath.Join(dir, k.program+linkSuffix)
	updated, err := updateTCX(path, k.device.Attrs().Index, program)
	if err != nil || updated {
		return err
	}
	at := ebpf.AttachTCXEgress
	if k.ingress {
		at = ebpf.AttachTCXIngress
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: k.device.Attrs().Index, Program: program, Attach: at})
	if err != nil {
		return err
	}
	// The pin keeps it attached; we need no descriptor.
	defer l.Close()
	if err := l.Pin(path); err != nil {
		return fmt.Errorf("pin %s: %w", path, err)
	}
	return nil
}

// updateTCX puts the program into the pinned link. A link whose device is gone
// is removed; false says that there is none.
func updateTCX(path string, ifindex int, program *ebpf.Program) (bool, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer l.Close()
	if !attached(l, ifindex) {
		return false, os.Remove(path)
	}
	if err := l.Update(program); err != nil {
		return false, fmt.Errorf("update link %s: %w", path, err)
	}
	return true, nil
}

// attached says whether the link still stands at the device.
func attached(l link.Link, ifindex int) bool {
	info, err := l.Info()
	if err != nil || info.TCX() == nil {
		return false
	}
	return int(info.TCX().Ifindex) == ifindex
}

// detachTCX detaches and unpins; no link is no error.
func detachTCX(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer l.Close()
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("unpin %s: %w", path, err)
	}
	return nil
}
