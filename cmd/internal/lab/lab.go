// SPDX-License-Identifier: Apache-2.0

// Package lab builds networks out of namespaces: nodes, wires between them,
// routers, and processes that run inside a node as if it were a machine of its
// own. The demo, the end-to-end tests and the benchmarks stand on it.
//
// A lab has a name, and everything of it carries that name: its namespaces
// (dmvpn-LAB-NODE, as `ip netns` shows them), its folder (/run/dmvpn-lab/LAB)
// and its BPF file system. Labs of different names live side by side. Close
// removes all of it, a signal to the owner does the same, and if the owner is
// killed outright, a small process that watches over it does.
package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Root holds a folder for every lab.
const Root = "/run/dmvpn-lab"

// The main thread stays with the main goroutine: a thread that has entered a
// namespace is thrown away afterwards, and /proc/self shows the main thread's.
func init() { runtime.LockOSThread() }

// A Lab is one network of namespaces. Building it (Node, Router, Wire, …) keeps
// the first error, which Err reports; the later calls then do nothing. Its
// methods are safe for concurrent use, but the building ones are not.
type Lab struct {
	Name string
	Dir  string // Root/Name

	lock  *os.File
	watch *exec.Cmd // the warden
	nodes map[string]*Node
	order []string
	wires []*Wire
	err   error

	// Held while something is built or started, so that a signal does not
	// remove the lab underneath.
	building sync.Mutex
	gone     bool

	closing sync.Once
	closed  error
}

// New makes an empty lab. A lab of that name whose owner has died is removed
// first; one whose owner lives is an error.
func New(name string) (*Lab, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: namespaces need root: run it with sudo")
	}
	l := &Lab{Name: name, Dir: filepath.Join(Root, name), nodes: map[string]*Node{}}
	if err := removeDead(name); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("lab %s: %w", name, err)
	}
	lock, err := takeLock(l.Dir)
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", name, err)
	}
	l.lock = lock
	guard(l)
	if l.watch, err = startWarden(name); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", name, err), l.Close())
	}
	if err := mountBPF(l.bpffs()); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", name, err), l.Close())
	}
	return l, nil
}

func checkName(name string) error {
	if name == "" || len(name) > 32 {
		return fmt.Errorf("lab: name %q: 1 to 32 characters", name)
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return fmt.Errorf("lab: name %q: only a-z and 0-9", name)
		}
	}
	return nil
}

func (l *Lab) bpffs() string { return filepath.Join(l.Dir, "bpf") }

func mountBPF(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700")
	if errors.Is(err, unix.ENODEV) {
		return nil // a kernel without BPF has labs too; programs that want it will say so
	}
	if err != nil {
		return fmt.Errorf("mount a BPF file system on %s: %w", dir, err)
	}
	return nil
}

// Err is the first error of the building calls.
func (l *Lab) Err() error { return l.err }

func (l *Lab) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf("lab "+l.Name+": "+format, args...)
	}
}

// errGone is what building calls give after Close.
var errGone = errors.New("the lab is closed")

// build runs f unless the lab is being removed.
func (l *Lab) build(f func() error) error {
	l.building.Lock()
	defer l.building.Unlock()
	if l.gone {
		return errGone
	}
	return f()
}

// Fail notes an error of whoever builds on the lab; Err gives the first.
func (l *Lab) Fail(err error) { l.fail("%w", err) }

// Get gives a node by its name, nil if there is none.
func (l *Lab) Get(name string) *Node { return l.nodes[name] }

// Nodes gives the nodes' names in the order in which they were made.
func (l *Lab) Nodes() []string { return slices.Clone(l.order) }

// Close ends every process in the lab's namespaces and removes the namespaces
// with their devices, the BPF file system and the folder. It may be called
// again and then returns what the first call did.
func (l *Lab) Close() error {
	l.closing.Do(func() {
		l.building.Lock()
		l.gone = true
		l.building.Unlock()
		for _, w := range l.wires {
			w.close()
		}
		for _, n := range l.nodes {
			n.close()
		}
		l.closed = remove(l.Name)
		l.lock.Close()
		if l.watch != nil {
			_ = l.watch.Wait() // it saw the lock's file go, and ends
		}
		unguard(l)
	})
	return l.closed
}
