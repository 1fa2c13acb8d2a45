// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// refusedCmd runs a command in a namespace that must end with status 1, nothing
// on its standard output, one line on standard error that matches, and
// everything as it was before: devices, addresses, routes, qdiscs, programs, pins, the run
// directory, processes.
func refusedCmd(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || len(args) < 3 {
		ts.Fatalf("usage: refused NAME PATTERN COMMAND…")
	}
	name, pattern := args[0], regexp.MustCompile("^"+args[1]+"\n$")
	before := w.everything(ts, name)
	cmd := w.command(ts, name, args[2:])
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // its status is looked at
	ts.Logf("%s", stderr.String())
	if status := cmd.ProcessState.ExitCode(); status != 1 {
		ts.Fatalf("status %d", status)
	}
	if stdout.Len() > 0 || !pattern.MatchString(stderr.String()) {
		ts.Fatalf("standard output %q, standard error %q, which should be one line like %q", stdout.String(), stderr.String(), args[1])
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		after := w.everything(ts, name)
		if after == before {
			return
		}
		if time.Now().After(end) { // a process may take its time to end
			ts.Fatalf("something was left half made:\n%s\nbefore:\n%s", after, before)
		}
	}
}

// everything that a daemon changes.
func (w *world) everything(ts *testscript.TestScript, name string) string {
	script := strings.Join([]string{
		"ip -o link", "ip -o address", "ip route show table all", "tc qdisc show",
		"find $BPFFS $WORK/run ! -name '*.new' 2>&1 || true", // a daemon that runs writes its state now and then
		"for p in $(ip netns pids " + w.names[name] + "); do readlink /proc/$p/exe; done | grep dmvpnd",
	}, "; echo; ")
	out, err := w.command(ts, name, []string{"bash", "-c", "exec 2>&1; " + script + "; true"}).Output()
	ts.Check(err)
	return fmt.Sprintf("%s\n%q", out, w.attached(ts, name))
}
