// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"dmvpn/loader/kernel"
)

// unreachableLimit bounds the prefixes that an instance stands routes under.
const unreachableLimit = 65536

// Unreachable are the unreachable routes that an instance stands under what it protects.
// They outlive a crash and a teardown, and with it the instance's folder: the file beside
// it has a prefix on each line. It is safe for concurrent use.
type Unreachable struct {
	path string
	host *kernel.Host

	mu     sync.Mutex
	stood  map[netip.Prefix]bool
	lifted map[netip.Prefix]bool // of this run, for good
}

// OpenUnreachable stands again what the instance stood before. The caller holds the lock.
func OpenUnreachable(p Paths, h *kernel.Host) (*Unreachable, error) {
	before, err := readUnreachable(p.Unreachable)
	if err != nil {
		return nil, err
	}
	u := &Unreachable{path: p.Unreachable, host: h, stood: map[netip.Prefix]bool{}, lifted: map[netip.Prefix]bool{}}
	for _, prefix := range before {
		if err := h.InstallUnreachable(prefix); err != nil {
			return nil, err
		}
		u.stood[prefix] = true
	}
	if len(before) == 0 {
		return u, nil
	}
	return u, u.rewrite(before)
}

// rewrite takes an unfinished line off the file: what comes next would be added to it.
func (u *Unreachable) rewrite(stood []netip.Prefix) error {
	var text bytes.Buffer
	for _, prefix := range stood {
		fmt.Fprintln(&text, prefix)
	}
	err := os.WriteFile(u.path+".new", text.Bytes(), 0o640)
	if err == nil {
		err = os.Rename(u.path+".new", u.path)
	}
	if err != nil {
		return fmt.Errorf("remember the unreachable routes: %w", err)
	}
	return nil
}

// Stand stands a route under the prefix, unless one under a wider prefix does already, or it
// was lifted.
func (u *Unreachable) Stand(prefix netip.Prefix) error {
	prefix = prefix.Masked()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lifted[prefix] || u.covered(prefix) {
		return nil
	}
	if len(u.stood) >= unreachableLimit {
		return fmt.Errorf("unreachable routes: %d stand already: `dmvpn teardown --release` lifts them, the next start stands those that are needed", unreachableLimit)
	}
	// Remembered first: what stands can always be released.
	if err := appendLine(u.path, prefix.String()); err != nil {
		return fmt.Errorf("remember the unreachable routes: %w", err)
	}
	if err := u.host.InstallUnreachable(prefix); err != nil {
		return err
	}
	u.stood[prefix] = true
	return nil
}

// Lift removes the routes that are in the way, says which, and keeps them from standing again
// as long as this run lasts.
func (u *Unreachable) Lift(inTheWay func(netip.Prefix) bool) (lifted []netip.Prefix, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for prefix := range u.stood {
		if !inTheWay(prefix) {
			continue
		}
		if err := u.host.RemoveUnreachable(prefix); err != nil {
			return lifted, err
		}
		delete(u.stood, prefix)
		u.lifted[prefix] = true
		lifted = append(lifted, prefix)
	}
	if len(lifted) == 0 {
		return nil, nil
	}
	return lifted, u.rewrite(slices.Collect(maps.Keys(u.stood)))
}

func (u *Unreachable) covered(prefix netip.Prefix) bool {
	for bits := prefix.Bits(); bits >= 0; bits-- {
		if wider, err := prefix.Addr().Prefix(bits); err == nil && u.stood[wider] {
			return true
		}
	}
	return false
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// StandsUnreachable says that routes are left for Release.
func StandsUnreachable(p Paths) bool {
	_, err := os.Stat(p.Unreachable)
	return err == nil
}

// Release removes the unreachable routes that the instance stood, but for those that
// another one of the same run directory stands as well. None is no error.
func Release(p Paths) error {
	stood, err := readUnreachable(p.Unreachable)
	if err != nil || !StandsUnreachable(p) {
		return err
	}
	others, err := filepath.Glob(filepath.Join(filepath.Dir(p.Unreachable), "*"+unreachableSuffix))
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	h, err := kernel.Open()
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	defer h.Close()
	for _, other := range others {
		if other == p.Unreachable {
			continue
		}
		theirs, err := readUnreachable(other)
		if err != nil {
			return err
		}
		stood = slices.DeleteFunc(stood, func(q netip.Prefix) bool { return slices.Contains(theirs, q) })
	}
	for _, prefix := range stood {
		if err := h.RemoveUnreachable(prefix); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	return os.Remove(p.Unreachable)
}

// readUnreachable reads the file, but for a last line that a crash left unfinished: its
// route was not stood yet.
func readUnreachable(path string) (stood []netip.Prefix, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unreachable routes of before: %w", err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for line := range bytes.Lines(text) {
		prefix, err := netip.ParsePrefix(string(bytes.TrimSpace(line)))
		if err != nil {
			return nil, fmt.Errorf("unreachable routes of before: %s: %w; `ip route show proto 54` lists them: remove those of ours, then the file", path, err)
		}
		stood = append(stood, prefix)
	}
	return stood, nil
}
