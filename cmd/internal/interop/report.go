// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// report prints what failed with what there was to see, and then the table. It gives
// the number of failures.
func report(results []*result, roles []role) int {
	failed := 0
	for _, r := range results {
		if r.err == nil {
			continue
		}
		failed++
		fmt.Printf("\n=== %s, %s: %v\n%s", r.scenario.name, r.role.name, r.err, r.seen())
	}
	fmt.Printf("\n%-36s", "")
	for _, r := range roles {
		fmt.Printf(" %-24s", r.name)
	}
	for i, r := range results {
		if i%len(roles) == 0 {
			fmt.Printf("\n%-36s", r.scenario.name)
		}
		verdict := "ok"
		if r.err != nil {
			verdict = "FAILED"
		}
		fmt.Printf(" %-24s", verdict)
	}
	fmt.Println()
	return failed
}

// seen is what there was to see: the ends of the packets' list and of both logs.
func (r *result) seen() string {
	var b strings.Builder
	for _, name := range []string{"wire.txt", "initiator.log", "responder.log", "third.log"} {
		path := filepath.Join(r.folder, name)
		if _, err := os.Stat(path); err == nil {
			fmt.Fprintf(&b, "--- %s\n%s", name, tail(path, 60))
		}
	}
	return b.String()
}

// tail gives the last lines of a file, without charon's notes about its table of SAs.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error() + "\n"
	}
	var kept []string
	for line := range strings.Lines(string(b)) {
		if !strings.Contains(line, "[MGR]") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-lines):], "")
}
