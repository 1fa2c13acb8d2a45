// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/cmd/internal/lab"
)

// An account is the CPU time, of all cores, of a tunnel's processes at both ends and of
// the kernel's threads that take over packets (ksoftirqd). It is the same for every
// tunnel: a process's system calls hold the kernel's work on what it sends, up to the next
// process that waits for it.
type account struct {
	pids  []int
	soft  []*clock
	start time.Duration
}

// openAccount begins at 0.
func openAccount(processes []*lab.Process) (*account, error) {
	a := &account{}
	for _, p := range processes {
		a.pids = append(a.pids, p.Pid())
	}
	for cpu := range runtime.NumCPU() {
		c, err := newClock(cpu)
		if err != nil {
			return nil, err
		}
		a.soft = append(a.soft, c)
	}
	var err error
	a.start, err = a.sum()
	return a, err
}

// used gives what was used since the account was opened.
func (a *account) used() (time.Duration, error) {
	now, err := a.sum()
	return now - a.start, err
}

func (a *account) sum() (sum time.Duration, err error) {
	if sum, err = a.processes(); err != nil {
		return 0, err
	}
	for _, c := range a.soft {
		t, err := c.softirq()
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// processes gives the time of the processes alone, since they began.
func (a *account) processes() (sum time.Duration, err error) {
	for _, pid := range a.pids {
		// CPUCLOCK_SCHED of the whole process: the scheduler's account in nanoseconds.
		const whole = 2
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|whole), &t); err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}
