// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// LogLevels are what log-level may say.
var LogLevels = []string{"trace", "debug", "info", "warn", "error"}

// maxRunDir is what is left of the 107 octets that a unix socket's path may have
// (sockaddr_un) for run-dir and instance: the longest is
// RUN-DIR/INSTANCE/holder.sock.new.
const maxRunDir = 107 - len("//holder.sock.new")

func readDaemon(root *table) Daemon {
	t, _ := root.sub("daemon", "write [daemon] and its keys below")
	d := Daemon{Instance: DefaultInstance, RunDir: DefaultRunDir, BPFFS: DefaultBPFFS, LogLevel: DefaultLogLevel, Queues: defaultQueues()}
	const nameRemedy = "write 1 to 32 letters, digits, '-' or '_'"
	if s := t.text("instance", nameRemedy); s != "" {
		d.Instance = s
		if !InstanceName(s) {
			t.doc.failValue("daemon.instance", fmt.Sprintf("%q cannot name a directory", s), nameRemedy)
		}
	}
	d.RunDir = t.directory("run-dir", DefaultRunDir)
	if most := maxRunDir - len(d.Instance); len(d.RunDir) > most {
		t.doc.failValue("daemon.run-dir", fmt.Sprintf("%d octets are too long for a path with sockets below", len(d.RunDir)), fmt.Sprintf("write one of at most %d", most))
	}
	d.BPFFS = t.directory("bpffs", DefaultBPFFS)
	levels := "write one of " + strings.Join(LogLevels, ", ")
	if s := t.text("log-level", levels); s != "" {
		d.LogLevel = s
		if !slices.Contains(LogLevels, s) {
			t.doc.failValue("daemon.log-level", fmt.Sprintf("%q is no level", s), levels)
		}
	}
	if n, ok := t.number("queues", 1, MaxQueues); ok {
		d.Queues = int(n)
	}
	t.done()
	return d
}

// MaxQueues is what queues may say; the kernel has 256 a device.
const MaxQueues = 64

// defaultQueues is one for each CPU that we may use.
func defaultQueues() int {
	const enough = 8 // the way back shares the CPUs
	return min(runtime.NumCPU(), enough)
}

// directory gives an absolute path, or otherwise if it is absent.
func (t *table) directory(key, otherwise string) string {
	remedy := fmt.Sprintf("write an absolute path such as %q", otherwise)
	s := t.text(key, remedy)
	if s == "" {
		return otherwise
	}
	if !filepath.IsAbs(s) {
		t.doc.failValue(join(t.path, key), fmt.Sprintf("%q is not an absolute path", s), remedy)
	}
	return filepath.Clean(s)
}

// InstanceName says whether a name may stand in paths of run directory and pins.
func InstanceName(s string) bool {
	if len(s) == 0 || len(s) > 32 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
