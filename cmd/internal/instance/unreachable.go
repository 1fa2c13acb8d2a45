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
	"strconv"
	"strings"
	"sync"

	"dmvpn/loader/kernel"
)

// unreachableLimit bounds the prefixes that an instance stands routes under.
const unreachableLimit = 65536

// Unreachable are the unreachable routes that an instance stands under what it protects.
// They outlive a crash and a teardown, and with it the instance's folder: the file beside
// it has a prefix on each line, and its table if that is not the main one. It is safe for
// concurrent use.
type Unreachable struct {
	path string
	host *kernel.Host

	mu     sync.Mutex
	stood  map[Place]bool
	lifted map[Place]bool // of this run, for good
	ended  bool
}

// Place is where an unreachable route stands.
type Place struct {
	Table  int // 0: the main one
	Prefix netip.Prefix
}

func (p Place) String() string {
	if p.Table == 0 {
		return p.Prefix.String()
	}
	return fmt.Sprintf("%s table %d", p.Prefix, p.Table)
}

func parsePlace(line string) (p Place, err error) {
	prefix, table, other := strings.Cut(line, " table ")
	if p.Prefix, err = netip.ParsePrefix(prefix); err == nil && other {
		p.Table, err = strconv.Atoi(table)
	}
	return p, err
}

func (p Place) host(h *kernel.Host) *kernel.Host { return h.In(kernel.Table{ID: p.Table}) }

// OpenUnreachable stands again what the instance stood before. The caller holds the lock.
func OpenUnreachable(p Paths, h *kernel.Host) (*Unreachable, error) {
	before, err := readUnreachable(p.Unreachable)
	if err != nil {
		return nil, err
	}
	u := &Unreachable{path: p.Unreachable, host: h, stood: map[Place]bool{}, lifted: map[Place]bool{}}
	for _, p := range before {
		if err := p.host(h).InstallUnreachable(p.Prefix); err != nil {
			return nil, err
		}
		u.stood[p] = true
	}
	if len(before) == 0 {
		return u, nil
	}
	return u, u.rewrite(before)
}

// rewrite takes an unfinished line off the file: what comes next would be added to it.
func (u *Unreachable) rewrite(stood []Place) error {
	var text bytes.Buffer
	for _, p := range stood {
		fmt.Fprintln(&text, p)
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

// Stand stands a route under the prefix, unless one of its table under a wider prefix does
// already, or it was lifted.
func (u *Unreachable) Stand(p Place) error {
	p.Prefix = p.Prefix.Masked()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended || u.lifted[p] || u.covered(p) {
		return nil
	}
	if len(u.stood) >= unreachableLimit {
		return fmt.Errorf("unreachable routes: %d stand already: `dmvpn teardown --release` lifts them, the next start stands those that are needed", unreachableLimit)
	}
	// Remembered first: what stands can always be released.
	if err := appendLine(u.path, p.String()); err != nil {
		return fmt.Errorf("remember the unreachable routes: %w", err)
	}
	if err := p.host(u.host).InstallUnreachable(p.Prefix); err != nil {
		return err
	}
	u.stood[p] = true
	return nil
}

// Lift removes the routes that are in the way, says which, and keeps them from standing again
// as long as this run lasts.
func (u *Unreachable) Lift(inTheWay func(Place) bool) (lifted []Place, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p := range u.stood {
		if !inTheWay(p) {
			continue
		}
		if err := p.host(u.host).RemoveUnreachable(p.Prefix); err != nil {
			return lifted, err
		}
		delete(u.stood, p)
		u.lifted[p] = true
		lifted = append(lifted, p)
	}
	if len(lifted) == 0 {
		return nil, nil
	}
	return lifted, u.rewrite(slices.Collect(maps.Keys(u.stood)))
}

// Missing says whether a route is not there that was stood.
func (u *Unreachable) Missing(stands func(Place) bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p := range u.stood {
		if !u.ended && !stands(p) {
			return true
		}
	}
	return false
}

// Restore stands again what somebody else has removed, and says what.
func (u *Unreachable) Restore(stands func(Place) bool) (restored []Place, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p := range u.stood {
		if u.ended || stands(p) {
			continue
		}
		if err := p.host(u.host).InstallUnreachable(p.Prefix); err != nil {
			return restored, err
		}
		restored = append(restored, p)
	}
	return restored, nil
}

// End lets nothing stand from here on: what there is may be released.
func (u *Unreachable) End() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
}

func (u *Unreachable) covered(p Place) bool {
	for bits := p.Prefix.Bits(); bits >= 0; bits-- {
		if wider, err := p.Prefix.Addr().Prefix(bits); err == nil && u.stood[Place{p.Table, wider}] {
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
		stood = slices.DeleteFunc(stood, func(q Place) bool { return slices.Contains(theirs, q) })
	}
	for _, p := range stood {
		if err := p.host(h).RemoveUnreachable(p.Prefix); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	return os.Remove(p.Unreachable)
}

// readUnreachable reads the file, but for a last line that a crash left unfinished: its
// route was not stood yet.
func readUnreachable(path string) (stood []Place, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unreachable routes of before: %w", err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for line := range bytes.Lines(text) {
		p, err := parsePlace(string(bytes.TrimSpace(line)))
		if err != nil {
			return nil, fmt.Errorf("unreachable routes of before: %s: %w; `ip route show table all proto 54` lists them: remove those of ours, then the file", path, err)
		}
		stood = append(stood, p)
	}
	return stood, nil
}
