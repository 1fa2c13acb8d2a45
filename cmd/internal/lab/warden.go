// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// wardenName is the program name under which this executable runs as a warden.
const wardenName = "dmvpn-lab-warden"

// A program that imports this package becomes a warden when it is started as
// one, whatever else it is: a test binary has no subcommands.
func init() {
	if len(os.Args) == 2 && os.Args[0] == wardenName {
		if err := keepWatch(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// startWarden starts the process that removes the lab when its owner is killed
// and can no longer do so itself.
func startWarden(name string) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{wardenName, name}
	// A session of its own: Ctrl-C and a killed process group do not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the warden: %w", err)
	}
	return cmd, nil
}

// keepWatch waits until the kernel takes the lock from the owner. If the owner
// closed its lab, the lock's file is gone by then and nothing is left to do.
func keepWatch(name string) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	dir := filepath.Join(Root, name)
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return fmt.Errorf("lab %s: warden: %w", name, err)
		}
	}
	if !isAt(f, lockPath(dir)) {
		return nil
	}
	return remove(name)
}
