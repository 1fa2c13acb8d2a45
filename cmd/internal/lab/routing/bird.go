// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dmvpn/cmd/internal/lab"
)

// birdProgram is that of Debian's package.
const birdProgram = "/usr/sbin/bird"

// BIRD is the daemon on one node. Its methods are safe for concurrent use.
type BIRD struct {
	Node *lab.Node

	config, socket string
	process        *lab.Process
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
	b := &BIRD{Node: n, config: filepath.Join(dir, "bird.conf"), socket: filepath.Join(dir, "bird.ctl")}
	err := os.WriteFile(b.config, []byte(config), 0o644)
	if err != nil {
		return nil, err
	}
	if b.process, err = n.Launch("bird", birdProgram, "-d", "-c", b.config, "-s", b.socket, "-P", filepath.Join(dir, "bird.pid")); err != nil {
		return nil, err
	}
	return b, wait(ctx, b.process, b.socket)
}

// Load puts a bird.conf in the place of the one that runs; neighbours stay where it has them as before.
func (b *BIRD) Load(ctx context.Context, config string) error {
	if err := os.WriteFile(b.config, []byte(config), 0o644); err != nil {
		return err
	}
	out, err := b.Birdc(ctx, "configure")
	if err == nil && !strings.Contains(out, "Reconfigur") {
		err = fmt.Errorf("node %s: bird does not take its configuration: %s", b.Node.Name, out)
	}
	return err
}

// Client are the options by which birdc finds the node's daemon.
func (b *BIRD) Client() []string { return []string{"-s", b.socket} }

// Birdc gives what birdc prints for a command.
func (b *BIRD) Birdc(ctx context.Context, command ...string) (string, error) {
	return b.Node.Run(ctx, "birdc", append(b.Client(), command...)...)
}

// Daemon is the process.
func (b *BIRD) Daemon() *lab.Process { return b.process }
