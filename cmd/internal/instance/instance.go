// SPDX-License-Identifier: Apache-2.0

// Package instance is what the daemon and the command line share about an
// instance on this machine: its folder below the run directory, the lock that
// lets one daemon run at a time, and how all of it is removed.
package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrRunning says that a daemon of the instance holds the lock.
var ErrRunning = errors.New("is already running")

// Paths are the instance's files.
type Paths struct {
	Folder, Lock, Socket, State, CrashSecret, Holder, HolderLog, Unreachable string
}

// unreachableSuffix ends the name of the file beside the folder.
const unreachableSuffix = ".unreachable"

// PathsOf gives the paths of an instance; the folder need not be there.
func PathsOf(runDir, instance string) Paths {
	folder := filepath.Join(runDir, instance)
	return Paths{
		Folder: folder, Lock: filepath.Join(folder, "lock"), Socket: filepath.Join(folder, "control.sock"),
		State: filepath.Join(folder, "state.json"), CrashSecret: filepath.Join(folder, "crash-secret"), Holder: filepath.Join(folder, "holder.sock"),
		HolderLog: filepath.Join(folder, "holder.log"), Unreachable: folder + unreachableSuffix,
	}
}

// Owner is what a daemon leaves in its lock file, for who finds it.
type Owner struct {
	PID    int    `json:"pid"`
	BPFFS  string `json:"bpffs"`
	Config string `json:"config"`
}

// A Lock is held until Unlock or the end of the process, however that comes.
type Lock struct {
	file  *os.File
	paths Paths
	made  []string // directories that were not there before, the deepest first
}

// Take makes the instance's folder, mode 0750, and takes its lock. It wraps
// ErrRunning where another process holds it.
func Take(runDir, name string, owner Owner) (*Lock, error) {
	paths := PathsOf(runDir, name)
	made := missing(paths.Folder)
	if err := os.MkdirAll(paths.Folder, 0o750); err != nil {
		return nil, fmt.Errorf("run directory: %w; make it writable, or choose another with run-dir", err)
	}
	f, err := lock(paths.Lock)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("instance %s %w%s; stop it first, or give this one another name with instance in [daemon]", name, ErrRunning, process(paths))
	}
	if err != nil {
		return nil, fmt.Errorf("run directory: %w; make it writable, or choose another with run-dir", err)
	}
	l := &Lock{file: f, paths: paths, made: made}
	if err := l.write(owner); err != nil {
		return nil, errors.Join(err, l.Unlock())
	}
	return l, nil
}

// missing gives the directories of the path that are not there, the deepest first.
func missing(path string) []string {
	var out []string
	for ; path != filepath.Dir(path); path = filepath.Dir(path) {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			break
		}
		out = append(out, path)
	}
	return out
}

// lock opens and locks the file. One that its holder has removed meanwhile locks
// nothing: the one that stands at the path counts.
func lock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		ours, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(ours, there) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func (l *Lock) write(owner Owner) error {
	text, err := json.Marshal(owner)
	if err == nil {
		err = l.file.Truncate(0)
	}
	if err == nil {
		_, err = l.file.WriteAt(append(text, '\n'), 0)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", l.paths.Lock, err)
	}
	return nil
}

func process(p Paths) string {
	if owner, err := ReadOwner(p); err == nil && owner.PID != 0 {
		return fmt.Sprintf(" (process %d)", owner.PID)
	}
	return ""
}

// ReadOwner gives who holds or last held the lock.
func ReadOwner(p Paths) (Owner, error) {
	var owner Owner
	text, err := os.ReadFile(p.Lock)
	if err == nil {
		err = json.Unmarshal(text, &owner)
	}
	return owner, err
}

// Unlock gives the lock back. The files stay.
func (l *Lock) Unlock() error { return l.file.Close() }

// Undo gives the lock back, and takes away the directories that Take made, with
// what is in the instance's.
func (l *Lock) Undo() error {
	if len(l.made) == 0 {
		return l.Unlock()
	}
	err := l.Remove()
	for _, above := range l.made[1:] {
		_ = os.Remove(above) // another instance may use it by now
	}
	return err
}

// Remove removes the instance's folder and gives the lock back.
func (l *Lock) Remove() error {
	err := os.RemoveAll(l.paths.Folder)
	return errors.Join(err, l.Unlock())
}

// Free says that nobody holds the instance's lock. Looking takes it for an
// instant. A folder without it is still being removed.
func Free(p Paths) bool {
	f, err := os.Open(p.Lock)
	if errors.Is(err, os.ErrNotExist) {
		_, err := os.Stat(p.Folder)
		return errors.Is(err, os.ErrNotExist)
	}
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}
