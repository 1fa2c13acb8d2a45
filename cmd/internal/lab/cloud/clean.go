// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Clean is nil when nothing of our daemon is on a node: no tunnel device, no
// route, no pin, no program on the underlay, no process.
func (c *Cloud) Clean(ctx context.Context, node string) error {
	n := c.Get(node)
	for _, t := range c.settings[node].Tunnels {
		if _, err := n.Net.LinkByName(t.Name); err == nil {
			return fmt.Errorf("%s: device %s is still there", node, t.Name)
		}
	}
	routes, err := c.Routes(node)
	if err != nil {
		return err
	}
	// Unreachable ones stay under what was protected: nothing goes in clear instead.
	routes = slices.DeleteFunc(routes, func(r Route) bool { return !r.NextHop.IsValid() })
	if len(routes) > 0 {
		return fmt.Errorf("%s: routes %v are still there", node, routes)
	}
	if pins := c.Pins(node); len(pins) > 0 {
		return fmt.Errorf("%s: pins %v are still there", node, pins)
	}
	programs, err := c.Attached(ctx, node)
	if err != nil {
		return err
	}
	if len(programs) > 0 {
		return fmt.Errorf("%s: programs %v are still attached", node, programs)
	}
	if pids := n.Processes(); len(pids) > 0 {
		return fmt.Errorf("%s: processes %v still run", node, pids)
	}
	return nil
}

// Pins gives what is pinned on a node, as paths below its bpffs.
func (c *Cloud) Pins(node string) []string {
	root := filepath.Join(c.Dir, "bpf", node)
	var pins []string
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			pins = append(pins, strings.TrimPrefix(path, root+"/"))
		}
		return nil // what is gone while we look is gone
	})
	return pins
}
