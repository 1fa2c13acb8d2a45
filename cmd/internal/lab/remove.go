// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func namespaceName(lab, node string) string { return "dmvpn-" + lab + "-" + node }

func lockPath(dir string) string { return filepath.Join(dir, "owner") }

// takeLock takes the lab's lock, which the owner holds while it lives: the
// kernel gives it back when the owner dies, however that happens.
func takeLock(dir string) (*os.File, error) {
	path := lockPath(dir)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil || !isAt(f, path) {
		f.Close()
		return nil, fmt.Errorf("in use by process %d: end it, or choose another name", owner(dir))
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// isAt says whether an open file is still the one at path: the previous owner
// may have removed its lab between our open and our lock.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

// owner gives the process that holds a lab, 0 if that is not known.
func owner(dir string) int {
	b, err := os.ReadFile(lockPath(dir))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// List names the labs that exist, whether their owners live or not.
func List() ([]string, error) {
	entries, err := os.ReadDir(Root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	var names []string
	for _, e := range entries {
		if checkName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Sweep removes every lab whose owner has died.
func Sweep() error {
	names, err := List()
	for _, name := range names {
		err = errors.Join(err, removeDead(name))
	}
	return err
}

// removeDead removes a lab if nobody owns it.
func removeDead(name string) error {
	dir := filepath.Join(Root, name)
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil
	}
	defer lock.Close()
	return remove(name)
}

// Remove ends a lab's owner, should it live, and removes what is left.
func Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	dir := filepath.Join(Root, name)
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("lab %s: there is none", name)
	}
	deadline := time.Now().Add(20 * time.Second)
	for asked := false; ; asked = true {
		lock, err := takeLock(dir)
		if err == nil {
			defer lock.Close()
			return remove(name)
		}
		if _, statErr := os.Stat(dir); statErr != nil {
			return nil // the owner has done it
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("lab %s: %w", name, err)
		}
		if pid := owner(dir); !asked && pid > 1 {
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				return fmt.Errorf("lab %s: end its owner, process %d: %w", name, pid, err)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// remove takes a lab away, whoever made it. The caller holds its lock.
func remove(name string) error {
	paths, err := filepath.Glob(filepath.Join(netnsDir, namespaceName(name, "*")))
	if err != nil {
		return err
	}
	errs := []error{endProcesses(paths)}
	for _, p := range paths {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
		errs = append(errs, os.Remove(p))
	}
	dir := filepath.Join(Root, name)
	bpffs := filepath.Join(dir, "bpf")
	if err := unix.Unmount(bpffs, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Errorf("unmount %s: %w", bpffs, err))
	}
	errs = append(errs, os.RemoveAll(dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("lab %s: %w", name, err)
	}
	return nil
}

// endProcesses kills whatever runs in the namespaces and waits until it is gone.
// A daemon's detached children are found as well: they are in there too.
func endProcesses(namespaces []string) error {
	inside := map[uint64]bool{}
	for _, p := range namespaces {
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil {
			inside[st.Ino] = true
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		pids := processesIn(inside)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func processesIn(inside map[uint64]bool) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) == nil && inside[st.Ino] {
			pids = append(pids, pid)
		}
	}
	return pids
}
