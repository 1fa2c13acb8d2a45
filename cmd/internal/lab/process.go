// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Start starts a command inside the node: its network, and a mount namespace
// with the node's own /sys, /sys/fs/bpf, /run/dmvpn and files. The caller waits
// for it.
func (n *Node) Start(cmd *exec.Cmd) error {
	err := n.lab.build(func() error {
		return n.Do(func() error {
			if err := n.mounts(); err != nil {
				return err
			}
			return cmd.Start()
		})
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

// mounts gives this thread, and what it starts, the node's view of the files.
// Slave propagation: nothing of it gets out, but a namespace that is unmounted
// outside goes here too, instead of living on.
func (n *Node) mounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount propagation: %w", err)
	}
	// A sysfs shows the devices of the namespace that it was mounted in.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := os.MkdirAll("/run/dmvpn", 0o755); err != nil {
		return err
	}
	binds, err := n.filesInside()
	if err != nil {
		return err
	}
	binds["/run/dmvpn"] = n.runDir()
	if _, err := os.Stat("/sys/fs/bpf"); err == nil {
		binds["/sys/fs/bpf"] = filepath.Join(n.lab.bpffs(), n.Name)
	}
	maps.Copy(binds, n.binds)
	for inside, host := range binds {
		if err := unix.Mount(host, inside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s on %s: %w", host, inside, err)
		}
	}
	return nil
}

// Run runs a command inside the node and gives what it wrote to standard
// output. If it fails, the error holds its standard error.
func (n *Node) Run(ctx context.Context, name string, args ...string) (string, error) {
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.WaitDelay = 10 * time.Second // a busy machine may be slow to hand the output over
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		what := strings.Join(append([]string{filepath.Base(name)}, args...), " ")
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = strings.TrimSpace(out.String())
		}
		return out.String(), fmt.Errorf("%s: %s: %w: %s", n.Name, what, err, said)
	}
	return out.String(), nil
}

// A Process runs inside a node until it ends or is ended.
type Process struct {
	Node *Node
	Log  string // the file that takes its output

	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Launch starts a program that stays; its output is appended to LABEL.log in the
// node's folder.
func (n *Node) Launch(label, program string, args ...string) (*Process, error) {
	p := &Process{Node: n, Log: filepath.Join(n.Dir, label+".log"), done: make(chan struct{})}
	// A file and no pipe: what the program leaves running keeps it open.
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.Name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// Ctrl-C on the terminal is for the lab: it ends its processes in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.Start(p.cmd); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid is the process's number on the host.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal, and is no error if the process has ended.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("node %s: %w", p.Node.Name, err)
	}
	return nil
}

// Wait waits for the end and gives the exit status, −1 for a signal. If ctx ends
// first the process is left alone.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return -1, fmt.Errorf("node %s: %s does not end: %w", p.Node.Name, filepath.Base(p.cmd.Path), ctx.Err())
	}
}

// Output is what the process has written so far.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Processes gives the numbers of all that runs inside the node.
func (n *Node) Processes() []int {
	var st unix.Stat_t
	if unix.Fstat(int(n.ns), &st) != nil {
		return nil
	}
	return processesIn(map[uint64]bool{st.Ino: true})
}
