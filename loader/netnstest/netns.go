// SPDX-License-Identifier: Apache-2.0

// Package netnstest gives tests of the loader a network namespace and a bpffs
// of their own. It needs root.
package netnstest

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// commandTimeout bounds every command of a test.
const commandTimeout = 20 * time.Second

// patience bounds Eventually.
const patience = 20 * time.Second

// Enter moves the test into a new network namespace with lo up and locks it to
// its thread; the namespace goes with the test. Goroutines that the test starts
// are not in it.
func Enter(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatalf("netnstest: open the namespace: %v", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("netnstest: make a namespace (root is needed): %v", err)
	}
	t.Cleanup(func() {
		err := netns.Set(before)
		_ = before.Close()
		if err != nil {
			t.Errorf("netnstest: back to the namespace before: %v", err)
			return // the thread stays locked and ends with its goroutine
		}
		runtime.UnlockOSThread()
	})
	Run(t, "ip link set lo up")
}

// Other makes a second namespace and gives a function that runs a command line
// in it, and the process by which `ip link set … netns` takes it.
func Other(t testing.TB) (run func(command string) string, pid string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	// A process keeps the namespace: no name that another run could share.
	keeper := exec.CommandContext(ctx, "unshare", "--net", "sleep", "600")
	if err := keeper.Start(); err != nil {
		cancel()
		t.Fatalf("netnstest: make a second namespace: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		_ = keeper.Wait()
	})
	pid = strconv.Itoa(keeper.Process.Pid)
	path := "/proc/" + pid + "/ns/net"
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	Eventually(t, "a second namespace", func() bool {
		now, err := os.Readlink(path)
		return err == nil && now != own && now != threadNamespace(t)
	})
	run = func(command string) string {
		t.Helper()
		return Run(t, "nsenter --net="+path+" "+command)
	}
	run("ip link set lo up")
	return run, pid
}

// In runs fn in the namespace of the process, on a goroutine that it waits for.
// What fn opens stays there.
func In(t testing.TB, pid string, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with us
		ns, err := netns.GetFromPath("/proc/" + pid + "/ns/net")
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err == nil {
			fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("netnstest: enter the namespace of process %s: %v", pid, err)
	}
}

func threadNamespace(t testing.TB) string {
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Run runs the command line, split at spaces, in the test's namespace and gives
// its output; a failure ends the test.
func Run(t testing.TB, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	words := strings.Fields(command)
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// BPFFS mounts a bpffs in a directory of the test.
func BPFFS(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatalf("netnstest: mount a bpffs (root is needed): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("netnstest: unmount %s: %v", dir, err)
		}
	})
	return dir
}

// Eventually waits for the condition, on a busy machine too.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}
