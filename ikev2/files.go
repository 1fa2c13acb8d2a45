// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// The largest files that are read, in octets.
const (
	maxSecret = 64 << 10
	maxPEM    = 4 << 20
	maxList   = 64 << 20 // a list of about a million certificates
)

// readFile reads a regular file; what says what it is, for the error.
func readFile(what, path string, limit int64) ([]byte, error) {
	raw, _, err := read(what, path, limit)
	return raw, err
}

// readSecret reads a file that none but its owner can read.
func readSecret(what, path string) ([]byte, error) {
	raw, mode, err := read(what, path, maxSecret)
	if err != nil {
		return nil, err
	}
	if mode&0o077 != 0 {
		clear(raw)
		return nil, fmt.Errorf("ike: %s %s: mode %04o lets others at it: chmod 600 %s, and think about a new key", what, path, mode.Perm(), path)
	}
	return raw, nil
}

func read(what, path string, limit int64) ([]byte, os.FileMode, error) {
	// Not blocking: a FIFO would hang the daemon before it is seen to be none.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("ike: %s: %w: check the path and who may read it", what, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("ike: %s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("ike: %s %s is no regular file", what, path)
	}
	if info.Size() > limit {
		return nil, 0, fmt.Errorf("ike: %s %s has %d octets, more than %d: is it the right one?", what, path, info.Size(), limit)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, 0, fmt.Errorf("ike: %s: %w", what, err)
	}
	return raw, info.Mode(), nil
}

// expand replaces folders by their files with one of the endings, in the order
// of their names.
func expand(paths []string, endings ...string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("ike: %w: check the path", err)
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("ike: %w", err)
		}
		found := len(files)
		for _, e := range entries {
			if !e.IsDir() && slices.Contains(endings, strings.ToLower(filepath.Ext(e.Name()))) {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
		if len(files) == found {
			return nil, fmt.Errorf("ike: folder %s has no file that ends in %s", path, strings.Join(endings, ", "))
		}
	}
	return files, nil
}
