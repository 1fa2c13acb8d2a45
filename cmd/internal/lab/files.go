// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File gives the node a file of its own: processes started later see content at
// path, which must exist on the host (as /etc/hosts does).
func (n *Node) File(path, content string) error {
	host := filepath.Join(n.filesDir(), path)
	if err := os.MkdirAll(filepath.Dir(host), 0o755); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	if err := os.WriteFile(host, []byte(content), 0o644); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

func (n *Node) filesDir() string { return filepath.Join(n.Dir, "files") }

// Bind gives the node a folder or file of the host: processes started later see
// it, and what is mounted beneath, at path, which must exist on the host.
func (n *Node) Bind(path, host string) {
	if n.binds == nil {
		n.binds = map[string]string{}
	}
	n.binds[path] = host
}

// filesInside gives the node's files: path inside, path on the host.
func (n *Node) filesInside() (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(n.filesDir(), func(host string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && e.Type().IsRegular() {
			files[strings.TrimPrefix(host, n.filesDir())] = host
		}
		return err
	})
	return files, err
}
