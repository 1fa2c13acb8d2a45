// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Steer makes the packets that leave by a tunnel device wait in the first n of its queues, those
// of one peer in one, in place of what was so before; n from 1. The device keeps that when
// the Plane is closed. queue is any of the device's. It is safe for concurrent use.
func (p *Plane) Steer(queue *os.File, n int) error {
	fail := func(err error) error { return fmt.Errorf("loader: choose a queue of %s: %w", queue.Name(), err) }
	program, err := p.program(programKey{progSteer, uint32(n)})
	if err != nil {
		return fail(err)
	}
	raw, err := queue.SyscallConn()
	if err != nil {
		return fail(err)
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.IoctlSetPointerInt(int(fd), unix.TUNSETSTEERINGEBPF, program.FD()) }); err != nil {
		return fail(err)
	}
	if set != nil {
		return fail(fmt.Errorf("TUNSETSTEERINGEBPF: %w", set))
	}
	return nil
}
