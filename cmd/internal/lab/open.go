// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Open gives a node of a lab that another process owns, to start programs in it.
// It ends with this process.
func Open(name, node string) (*Node, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	l := &Lab{Name: name, Dir: filepath.Join(Root, name)}
	n := &Node{Name: node, Dir: filepath.Join(l.Dir, node), lab: l}
	ns, err := netns.GetFromPath(filepath.Join(netnsDir, namespaceName(name, node)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, notThere(name, node)
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s: node %s: %w", name, node, err)
	}
	n.ns = ns
	if n.Net, err = netlink.NewHandleAt(ns); err != nil {
		return nil, fmt.Errorf("lab %s: node %s: netlink: %w", name, node, err)
	}
	return n, nil
}

// notThere says what there is instead.
func notThere(name, node string) error {
	prefix := filepath.Join(netnsDir, namespaceName(name, ""))
	paths, _ := filepath.Glob(prefix + "*")
	if len(paths) == 0 {
		return fmt.Errorf("lab %s: there is none: build it with dmvpn-lab up", name)
	}
	var names []string
	for _, p := range paths {
		names = append(names, strings.TrimPrefix(p, prefix))
	}
	return fmt.Errorf("lab %s: no node %s: there are %s", name, node, strings.Join(names, ", "))
}
