// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"dmvpn/cmd/internal/lab"
)

// Settings gives what a node is configured with; a change counts when its daemon
// is started next.
func (c *Cloud) Settings(node string) *Settings { return c.settings[node] }

// Daemon gives a node's running or ended daemon, nil before it was started.
func (c *Cloud) Daemon(node string) *lab.Process { return c.daemons[node] }

// Start writes a node's configuration and starts its daemon. It does not wait
// until the daemon answers: Ready does.
func (c *Cloud) Start(node string) error {
	n := c.Get(node)
	if n == nil || c.settings[node] == nil {
		return fmt.Errorf("lab %s: %s runs no daemon", c.Name, node)
	}
	file := filepath.Join(n.Dir, "dmvpnd.toml")
	if err := os.WriteFile(file, []byte(c.settings[node].TOML()), 0o644); err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	p, err := n.Launch("dmvpnd", c.programs.Dmvpnd, "-c", file)
	if err != nil {
		return err
	}
	c.daemons[node] = p
	return nil
}

// StartAll starts the daemons of hubs and spokes and waits until they answer.
func (c *Cloud) StartAll(ctx context.Context) error {
	names := []string{c.Hub.Name}
	for _, n := range slices.Concat(c.MoreHubs, c.Spokes) {
		names = append(names, n.Name)
	}
	for _, name := range names {
		if err := c.Start(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := c.Ready(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// readyWithin is for a machine that is emulated and has other work.
const readyWithin = 3 * time.Minute

// Ready waits until a node's daemon answers on its control socket.
func (c *Cloud) Ready(ctx context.Context, node string) error {
	p := c.daemons[node]
	return c.Until(ctx, readyWithin, func() error {
		select {
		case <-p.Done():
			return fmt.Errorf("%s: dmvpnd has ended", node)
		default:
		}
		_, err := c.status(ctx, node)
		return err
	})
}

// Kill ends a daemon as a crash does, and waits until it is gone.
func (c *Cloud) Kill(ctx context.Context, node string) error {
	return c.end(ctx, node, syscall.SIGKILL)
}

// Stop asks a daemon to end and waits until it has.
func (c *Cloud) Stop(ctx context.Context, node string) error {
	return c.end(ctx, node, syscall.SIGTERM)
}

func (c *Cloud) end(ctx context.Context, node string, s syscall.Signal) error {
	p := c.daemons[node]
	if p == nil {
		return fmt.Errorf("%s: no daemon was started", node)
	}
	if err := p.Signal(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := p.Wait(ctx)
	return err
}

// Teardown runs `dmvpn teardown` on a node: daemon, holder, device, pins and
// routes go.
func (c *Cloud) Teardown(ctx context.Context, node string) error {
	_, err := c.Dmvpn(ctx, node, "teardown")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if p := c.daemons[node]; p != nil {
		_, err = p.Wait(ctx)
	}
	return err
}

// Dmvpn runs our CLI on a node and gives its output.
func (c *Cloud) Dmvpn(ctx context.Context, node string, args ...string) (string, error) {
	return c.Get(node).Run(ctx, c.programs.Dmvpn, args...)
}

// Until calls f until it returns nil, and gives its last error after so long.
func (c *Cloud) Until(ctx context.Context, patience time.Duration, f func() error) error {
	const interval = 50 * time.Millisecond
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", patience, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(interval):
		}
	}
}

// Log gives the last lines of a daemon's log.
func (c *Cloud) Log(node string, lines int) string {
	p := c.daemons[node]
	if p == nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(p.Output(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
