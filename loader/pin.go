// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// linkSuffix makes the name of a link's pin from that of its program.
const linkSuffix = "_link"

func (o Options) bpffs() string {
	if o.BPFFS == "" {
		return "/sys/fs/bpf"
	}
	return o.BPFFS
}

// dir holds the maps, devices a directory for each device with programs.
func (o Options) dir() string {
	instance := o.Instance
	if instance == "" {
		instance = "default"
	}
	return filepath.Join(o.bpffs(), "dmvpn", pinName(instance))
}

func (o Options) devices() string { return filepath.Join(o.dir(), "dev") }

func (o Options) device(name string) string { return filepath.Join(o.devices(), pinName(name)) }

// pinName writes what a bpffs does not take in a name, the dot of eth0.100.
func pinName(name string) string {
	return strings.NewReplacer("%", "%25", ".", "%2e").Replace(name)
}

// unpinName is the inverse of pinName.
func unpinName(name string) string {
	return strings.NewReplacer("%2e", ".", "%25", "%").Replace(name)
}

// checkBPFFS refuses a directory that is not a bpffs.
func checkBPFFS(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%s: %w: mount a bpffs there (mount -t bpf bpf %s)", dir, err, dir)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is not a bpffs: mount one there (mount -t bpf bpf %s)", dir, dir)
	}
	return nil
}

// pinProgram puts the program in place of the one that is pinned at path, in
// one step.
func pinProgram(program *ebpf.Program, path string) error {
	beside := path + "_new"
	if err := os.Remove(beside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unpin %s: %w", beside, err)
	}
	// A clone: a Program remembers where it is pinned, and one may be at many
	// devices.
	clone, err := program.Clone()
	if err != nil {
		return fmt.Errorf("pin %s: %w", path, err)
	}
	defer clone.Close()
	if err := clone.Pin(beside); err != nil {
		return fmt.Errorf("pin %s: %w", beside, err)
	}
	if err := os.Rename(beside, path); err != nil {
		return fmt.Errorf("pin %s: %w", path, err)
	}
	return nil
}

// removeAll removes the files and then the directory; what is not there is no
// error.
func removeAll(dir string, files ...string) error {
	var errs []error
	for _, name := range files {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
