// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netns"

	"dmvpn/cmd/internal/lab/cloud"
)

// attached names the programs on the devices of a namespace, as "device direction
// program", however they are attached.
func (w *world) attached(ts *testscript.TestScript, name string) []string {
	var names []string
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes with the goroutine
		ns, err := netns.GetFromName(w.names[name])
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err == nil {
			names, err = cloud.ByTCX()
		}
		done <- err
	}()
	ts.Check(<-done)
	shown, err := w.command(ts, name, []string{"bpftool", "-j", "net", "show"}).Output()
	ts.Check(err)
	filters, err := cloud.ByFilter(shown)
	ts.Check(err)
	names = append(names, filters...)
	slices.Sort(names)
	return names
}

func attachedCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: attached NAME PROGRAM…")
	}
	if names := worldOf(ts).attached(ts, args[0]); !slices.Equal(names, slices.Sorted(slices.Values(args[1:]))) {
		ts.Fatalf("attached in %s: %q, want %q", args[0], names, args[1:])
	}
}
