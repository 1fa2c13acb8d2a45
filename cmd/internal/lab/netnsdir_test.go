// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheFolderOfNamespacesIsMountedOnce: `ip netns add` on a machine that had
// no namespace yet does not bind the folder over ours.
func TestTheFolderOfNamespacesIsMountedOnce(t *testing.T) {
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
			return err
		}
		before, err := mountsOfNamespaces()
		if err != nil {
			return err
		}
		for range 2 {
			if err := shareNamespaces(); err != nil {
				return err
			}
		}
		if out, err := exec.Command("ip", "netns", "add", "first").CombinedOutput(); err != nil {
			return fmt.Errorf("ip netns add: %w: %s", err, out)
		}
		after, err := mountsOfNamespaces()
		if err == nil && after != before+1 {
			err = fmt.Errorf("%s was mounted %d times", netnsDir, after-before)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// mountsOfNamespaces counts the mounts on the folder that this thread sees,
// those that are hidden included.
func mountsOfNamespaces() (int, error) {
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	return strings.Count(string(mounts), " "+netnsDir+" "), err
}
