// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// measurePrograms fills what our programs alone cost, by the kernel's account of
// them. Keeping that account costs time itself, so that it has its own round.
func measurePrograms(g *gateway, t *tunnel, list []*path, cpu, packets int) (err error) {
	encap, decap, err := t.programs("wan0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, encap.Close(), decap.Close()) }()
	account, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return fmt.Errorf("the kernel's account of BPF programs: %w", err)
	}
	defer func() { err = errors.Join(err, account.Close()) }()
	c, err := newClock(cpu)
	if err != nil {
		return err
	}
	for _, p := range list {
		before, err := runTime(encap, decap)
		if err != nil {
			return err
		}
		if _, err := p.turn(g, t, c, cpu, tunneled, packets); err != nil {
			return err
		}
		after, err := runTime(encap, decap)
		if err != nil {
			return err
		}
		p.alone = (after - before) / time.Duration(packets)
	}
	return nil
}

// runTime sums how long the programs have run.
func runTime(programs ...*ebpf.Program) (sum time.Duration, err error) {
	for _, p := range programs {
		s, err := p.Stats()
		if err != nil {
			return 0, err
		}
		sum += s.Runtime
	}
	return sum, nil
}
