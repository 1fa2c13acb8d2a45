// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const netnsDir = "/run/netns"

// shareNamespaces makes the folder of the namespaces what `ip netns` makes of
// it: a mount point of its own, whose mounts propagate. Left to itself, the
// machine's first `ip netns add` binds the folder onto itself with all that is
// mounted in it; namespaces of ours from before would be hidden beneath, where
// nothing can unmount or remove them.
func shareNamespaces() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	// Of several that begin at once, ip among them, one binds the folder.
	lock, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	share := func() error { return unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "") }
	err = share()
	if errors.Is(err, unix.EINVAL) { // it is no mount point yet
		if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s onto itself: %w", netnsDir, err)
		}
		err = share()
	}
	if err != nil {
		return fmt.Errorf("share the mounts of %s: %w", netnsDir, err)
	}
	return nil
}
