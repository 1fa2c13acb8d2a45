// SPDX-License-Identifier: Apache-2.0

// Package cloudtest is how tests begin that run this tree's programs in a cloud.
package cloudtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"dmvpn/cmd/internal/lab/cloud"
)

// WithPrograms is for TestMain: it builds dmvpnd, dmvpn and dmvpn-lab into a folder, runs the
// tests with it, removes it, and gives the status to exit with. DMVPN_PROGRAMS is a folder that
// has them already, where there is no Go; it stays.
func WithPrograms(run func(folder string) int) int {
	if ready, ok := os.LookupEnv("DMVPN_PROGRAMS"); ok {
		return run(ready)
	}
	dir, err := os.MkdirTemp("", "dmvpn-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "dmvpn/cmd/dmvpnd", "dmvpn/cmd/dmvpn", "dmvpn/cmd/dmvpn-lab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return run(dir)
}

// Programs are those of a cloud in a folder.
func Programs(folder string) cloud.Programs {
	return cloud.Programs{Dmvpnd: filepath.Join(folder, "dmvpnd"), Dmvpn: filepath.Join(folder, "dmvpn")}
}

var clouds atomic.Int32

// New makes a cloud of this test's own, with no daemon running; it names it, so that tests of
// several processes can run at once. Whatever becomes of the test, the cloud goes; if it failed,
// it leaves the logs' ends.
func New(t *testing.T, o cloud.Options) *cloud.Cloud {
	t.Helper()
	o.Name = fmt.Sprintf("e%dn%d", os.Getpid(), clouds.Add(1))
	c, err := cloud.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, node := range c.Nodes() {
				if log := c.Log(node, 40); log != "" {
					t.Logf("the log of %s ends:\n%s", node, log)
				}
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
