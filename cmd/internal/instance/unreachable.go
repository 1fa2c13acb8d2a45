// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"dmvpn/loader/kernel"
)

// Unreachable routes outlive teardown, and with it the instance's folder: which ones the
// instance stands is written beside it.

// StandUnreachable stands unreachable routes under the prefixes, and remembers them for
// Release. The caller holds the lock.
func StandUnreachable(p Paths, h *kernel.Host, prefixes []netip.Prefix) error {
	stood, err := readUnreachable(p.Unreachable)
	if err != nil {
		return err
	}
	// Remembered first: what stands can always be released.
	for _, prefix := range prefixes {
		if !slices.Contains(stood, prefix) {
			stood = append(stood, prefix)
		}
	}
	if err := writeUnreachable(p.Unreachable, stood); err != nil {
		return err
	}
	for _, prefix := range prefixes {
		if err := h.InstallUnreachable(prefix); err != nil {
			return err
		}
	}
	return nil
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
	if err != nil || len(stood) == 0 {
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

func readUnreachable(path string) (stood []netip.Prefix, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &stood)
	}
	if err != nil {
		return nil, fmt.Errorf("unreachable routes of before: %s: %w; `ip route show proto 54` lists them: remove those of ours, then the file", path, err)
	}
	return stood, nil
}

// writeUnreachable leaves either the old file or the new one.
func writeUnreachable(path string, stood []netip.Prefix) error {
	text, err := json.Marshal(stood)
	if err == nil {
		err = os.WriteFile(path+".new", append(text, '\n'), 0o640)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("remember the unreachable routes: %w", err)
	}
	return nil
}
