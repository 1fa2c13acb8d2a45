// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"context"
	"os"
	"path/filepath"

	"dmvpn/cmd/internal/lab"
)

// birdProgram is that of Debian's package.
const birdProgram = "/usr/sbin/bird"

// BIRD is the daemon on one node. Its methods are safe for concurrent use.
type BIRD struct {
	Node *lab.Node

	socket  string
	process *lab.Process
}

// StartBIRD starts BIRD with a bird.conf.
func StartBIRD(ctx context.Context, n *lab.Node, config string) (*BIRD, error) {
	if err := found(birdProgram); err != nil {
		return nil, err
	}
	dir := filepath.Join(n.Dir, "bird")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	b := &BIRD{Node: n, socket: filepath.Join(dir, "bird.ctl")}
	var err error
	if b.process, err = n.Launch("bird", birdProgram, "-d", "-c", file, "-s", b.socket, "-P", filepath.Join(dir, "bird.pid")); err != nil {
		return nil, err
	}
	return b, wait(ctx, b.process, b.socket)
}

// Client are the options by which birdc finds the node's daemon.
func (b *BIRD) Client() []string { return []string{"-s", b.socket} }

// Birdc gives what birdc prints for a command.
func (b *BIRD) Birdc(ctx context.Context, command ...string) (string, error) {
	return b.Node.Run(ctx, "birdc", append(b.Client(), command...)...)
}

// Daemon is the process.
func (b *BIRD) Daemon() *lab.Process { return b.process }
