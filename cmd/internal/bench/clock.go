// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pin keeps the calling goroutine's thread on one CPU, for as long as it lives.
func pin(cpu int) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("stay on CPU %d: %w", cpu, err)
	}
	return nil
}

// A clock counts the CPU time that packets cost on one CPU: that of the calling
// thread, in whose system calls soft interrupts run, and that of the CPU's
// ksoftirqd, which takes over what they leave. Both are the scheduler's own
// account in nanoseconds, so that other programs on the CPU do not count.
type clock struct {
	schedstat string
}

// newClock finds the account of the CPU's ksoftirqd.
func newClock(cpu int) (*clock, error) {
	want := fmt.Appendf(nil, "ksoftirqd/%d\n", cpu)
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if comm, err := os.ReadFile(name); err == nil && bytes.Equal(comm, want) {
			return &clock{schedstat: filepath.Join(filepath.Dir(name), "schedstat")}, nil
		}
	}
	return nil, fmt.Errorf("no ksoftirqd/%d: the benchmark must see the machine's kernel threads", cpu)
}

// softirq gives the time that ksoftirqd has run.
func (c *clock) softirq() (time.Duration, error) {
	raw, err := os.ReadFile(c.schedstat)
	if err != nil {
		return 0, err
	}
	run, _, _ := strings.Cut(string(raw), " ")
	ns, err := strconv.ParseInt(run, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q: %w", c.schedstat, raw, err)
	}
	return time.Duration(ns), nil
}

// now gives the sum. The calling thread must be pinned to the clock's CPU.
func (c *clock) now() (time.Duration, error) {
	softirq, err := c.softirq()
	if err != nil {
		return 0, err
	}
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("thread CPU clock: %w", err)
	}
	return softirq + time.Duration(t.Nano()), nil
}

// overflows counts the packets that the kernel has dropped because a CPU's queue
// of received packets was full. All namespaces share that queue, so that other
// programs' packets may fill it.
func overflows() (sum uint64, err error) {
	const file = "/proc/net/softnet_stat"
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return 0, fmt.Errorf("%s: %q", file, line)
		}
		n, err := strconv.ParseUint(fields[1], 16, 64) // packets, drops, ...
		if err != nil {
			return 0, fmt.Errorf("%s: %q: %w", file, line, err)
		}
		sum += n
	}
	return sum, nil
}
