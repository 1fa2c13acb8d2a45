// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"dmvpn/cmd/internal/lab"
)

// frrDir has the daemons of Debian's package.
const frrDir = "/usr/lib/frr"

// FRR is the suite on one node. Its methods are safe for concurrent use, but for Start.
type FRR struct {
	Node *lab.Node

	dir     string
	daemons map[string]*lab.Process
}

// StartFRR starts zebra and the daemons that are named, and has vtysh load the configuration,
// an frr.conf, as the package's own start does.
func StartFRR(ctx context.Context, n *lab.Node, config string, daemons ...string) (*FRR, error) {
	f := &FRR{Node: n, dir: filepath.Join(n.Dir, "frr"), daemons: map[string]*lab.Process{}}
	owner, err := user.Lookup("frr")
	if err != nil {
		return nil, missing("FRR")
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(f.dir, uid, gid); err != nil {
		return nil, err
	}
	for _, d := range append([]string{"zebra"}, daemons...) {
		if err := f.start(ctx, d); err != nil {
			return nil, err
		}
	}
	return f, f.Load(ctx, config)
}

func (f *FRR) start(ctx context.Context, daemon string) error {
	program := filepath.Join(frrDir, daemon)
	if err := found(program); err != nil {
		return err
	}
	vty := filepath.Join(f.dir, daemon+".vty")
	// No file of its own: what is loaded comes by vtysh.
	args := []string{
		"-f", "/dev/null", "--log", "stdout", "-P", "0", "--vty_socket", f.dir,
		"-z", filepath.Join(f.dir, "zserv.api"), "-i", filepath.Join(f.dir, daemon+".pid"),
	}
	if daemon == "bfdd" {
		args = append(args, "--bfdctl", filepath.Join(f.dir, "bfdd.sock"))
	}
	p, err := f.Node.Launch(daemon, program, args...)
	if err != nil {
		return err
	}
	f.daemons[daemon] = p
	return wait(ctx, p, vty)
}

// Load adds the lines of an frr.conf to what runs.
func (f *FRR) Load(ctx context.Context, config string) error {
	file := filepath.Join(f.dir, "frr.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	out, err := f.Node.Run(ctx, "vtysh", append(f.Client(), "-f", file)...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Client are the options by which vtysh finds the node's daemons.
func (f *FRR) Client() []string { return []string{"--vty_socket", f.dir} }

// Vtysh gives what vtysh prints for commands, one after the other.
func (f *FRR) Vtysh(ctx context.Context, commands ...string) (string, error) {
	args := f.Client()
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return f.Node.Run(ctx, "vtysh", args...)
}

// Daemon is one of the processes.
func (f *FRR) Daemon(name string) *lab.Process { return f.daemons[name] }
