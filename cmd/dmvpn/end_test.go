// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"dmvpn/loader/netnstest"
)

// TestRoutesAreLiftedUnderTheLock: without a daemon, teardown --release lifts the unreachable
// routes before it gives the lock back. A daemon that starts meanwhile would take them for standing.
func TestRoutesAreLiftedUnderTheLock(t *testing.T) {
	for name, folder := range map[string]bool{"a daemon has died": true, "torn down before": false} {
		t.Run(name, func(t *testing.T) {
			netnstest.Enter(t)
			x := &target{runDir: t.TempDir(), instance: "default", bpffs: t.TempDir(), release: true}
			var file, routes strings.Builder
			for i := range 2000 { // removed one by one, which is to be seen
				fmt.Fprintf(&file, "10.%d.%d.0/24\n", i/256, i%256)
				fmt.Fprintf(&routes, "route add unreachable 10.%d.%d.0/24 proto 54 metric 4278190134\n", i/256, i%256)
			}
			batch := t.TempDir() + "/routes"
			for path, text := range map[string]string{x.paths().Unreachable: file.String(), batch: routes.String()} {
				if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			netnstest.Run(t, "ip -batch "+batch)
			if folder {
				if err := os.Mkdir(x.paths().Folder, 0o750); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan struct{})
			locked, early := 0, false
			var watch sync.WaitGroup
			watch.Go(func() {
				for {
					_, lock := os.Stat(x.paths().Lock)
					_, routes := os.Stat(x.paths().Unreachable)
					switch {
					case lock == nil:
						locked++
					case locked > 0 && routes == nil:
						early = true
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
			err := x.teardownAlone(errors.New("no daemon"))
			close(done)
			watch.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if locked == 0 {
				t.Error("it was never locked")
			}
			if early {
				t.Error("the lock was given back while routes were still to be lifted")
			}
			if out := netnstest.Run(t, "ip route show type unreachable"); out != "" {
				t.Errorf("released, and there is %.200s", out)
			}
			if _, err := os.Stat(x.paths().Folder); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is left: %v", err)
			}
		})
	}
}
