// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestAgainstStrongSwan tries every scenario that a kernel without ESP allows and that
// does not wait for minutes, in both roles, against the real charon of strongSwan 5.9 and
// 6.0. The others run in the lab's VM: make interop-ike.
func TestAgainstStrongSwan(t *testing.T) {
	const tree = "../../.."
	roots := map[string]string{}
	var lock sync.Mutex
	var group sync.WaitGroup
	for _, suite := range []string{"bookworm", "trixie"} {
		group.Go(func() {
			make := exec.Command(filepath.Join(tree, "tools/interop/root"), suite)
			var said bytes.Buffer
			make.Stderr = &said
			path, err := make.Output()
			if err != nil {
				t.Errorf("%v: %v: %s", make, err, &said)
			}
			lock.Lock()
			defer lock.Unlock()
			roots[suite] = strings.TrimSpace(string(path))
		})
	}
	group.Wait()
	folder := t.TempDir()
	peer := filepath.Join(folder, "ikepeer")
	if out, err := exec.Command("go", "build", "-o", peer, "../ikepeer").CombinedOutput(); err != nil {
		t.Fatalf("build ikepeer: %v\n%s", err, out)
	}
	if t.Failed() {
		return
	}
	us := func(string) program {
		return func(at, to place) end { return &ours{program: peer, at: at, peer: to} }
	}
	root := func(s *scenario) string {
		if s.new {
			return roots["trixie"]
		}
		return roots["bookworm"]
	}
	var quick []*scenario
	for _, s := range withoutESP(scenarios()) {
		if !s.slow {
			quick = append(quick, s)
		}
	}
	if len(quick) < 35 {
		t.Fatalf("only %d scenarios", len(quick))
	}
	roles := []role{{"we initiate", us, strongSwan}, {"strongSwan initiates", strongSwan, us}}
	for _, r := range runAll(quick, roles, root, 4, folder) {
		if r.err != nil {
			t.Errorf("%s, %s: %v\n%s", r.scenario.name, r.role.name, r.err, r.seen())
		}
	}
}
