// SPDX-License-Identifier: Apache-2.0

// Package routing runs the routing daemons FRR and BIRD inside nodes of a lab: each node
// has its own, with sockets and process numbers in its own folder.
package routing

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"dmvpn/cmd/internal/lab"
)

// missing is the error where a program is not on this machine.
func missing(program string) error {
	return fmt.Errorf("routing: no %s on this machine: `tools/setup test` installs FRR and BIRD", program)
}

func found(program string) error {
	if _, err := os.Stat(program); err != nil {
		return missing(program)
	}
	return nil
}

// wait waits until a socket is there.
func wait(ctx context.Context, p *lab.Process, socket string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("node %s: %s has ended: %s", p.Node.Name, filepath.Base(socket), p.Output())
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("node %s: no %s after 20 s: %s", p.Node.Name, socket, p.Output())
		}
	}
}
