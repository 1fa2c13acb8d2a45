// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestMain makes the scripts' dmvpnd this program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dmvpnd": main})
}

// TestScripts runs the daemon as an operator does, in network namespaces of its
// own. The scripts know, beside testscript's commands:
//
//	netns NAME…           namespaces with their loopback up, gone with the test
//	in NAME COMMAND…      runs a command in one; as "in NAME -- COMMAND… &" it stays
//	out PATTERN           the standard output of the last "in" matches; err: standard error
//	refused NAME PATTERN COMMAND…  status 1, one line on standard error that matches, nothing half made
//	until NAME COMMAND…   runs "in" again and again until it succeeds, for 20 s
//	expand FILE…          replaces $WORK, $BPFFS and the like in files
//	signal -TERM NAME     signals what stays in a namespace, and waits until it ends
//	ends NAME             waits until what stays in a namespace has ended by itself
//	nothing-left NAME     no tunnel device, program, route or process of ours is there, within 20 s
//	attached NAME PROGRAM…  exactly these are attached, each 'device direction program'
//	said NAME PATTERN     what stays there has written a line that matches, within 20 s
func TestScripts(t *testing.T) {
	bin := dmvpn(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			w := &world{env: e, names: map[string]string{}, stay: map[string]*stayer{}}
			e.Values["world"] = w
			e.Defer(w.close)
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("BPFFS", filepath.Join(e.WorkDir, "bpf"))
			if err := os.Mkdir(e.Getenv("BPFFS"), 0o755); err != nil {
				return err
			}
			return unix.Mount("bpf", e.Getenv("BPFFS"), "bpf", 0, "")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"netns": netnsCmd, "in": inCmd, "out": saysCmd(false), "err": saysCmd(true), "until": untilCmd, "expand": expandCmd, "signal": signalCmd, "ends": endsCmd, "said": saidCmd, "refused": refusedCmd, "nothing-left": nothingLeftCmd, "attached": attachedCmd,
		},
	})
}

// dmvpn builds the command line, which the scripts ask the daemon with.
func dmvpn(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "dmvpn"), "dmvpn/cmd/dmvpn")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build dmvpn: %v\n%s", err, out)
	}
	return dir
}

// world is what one script has made outside its folder.
type world struct {
	env   *testscript.Env
	names map[string]string  // namespaces by the script's name
	stay  map[string]*stayer // by namespace

	stdout, stderr string // of the last "in"
}

// stayer is a command that stays.
type stayer struct {
	cmd  *exec.Cmd
	out  string // file
	done chan struct{}
}

func (w *world) close() {
	for _, s := range w.stay {
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.done
	}
	for _, full := range w.names {
		// A daemon's holder is a child of its own.
		pids, err := exec.Command("ip", "netns", "pids", full).Output()
		if err != nil {
			w.env.T().Log("pids of ", full, ": ", err)
		}
		for _, pid := range strings.Fields(string(pids)) {
			_ = exec.Command("kill", "-9", pid).Run()
		}
		if out, err := exec.Command("ip", "netns", "del", full).CombinedOutput(); err != nil {
			w.env.T().Log("remove ", full, ": ", string(out))
		}
	}
	if err := unix.Unmount(w.env.Getenv("BPFFS"), unix.MNT_DETACH); err != nil {
		w.env.T().Log("unmount: ", err)
	}
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value("world").(*world) }

func netnsCmd(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	for _, name := range args {
		full := fmt.Sprintf("dmvpnd-%d-%s-%s", os.Getpid(), filepath.Base(w.env.WorkDir), name)
		ts.Check(ts.Exec("ip", "netns", "add", full))
		w.names[name] = full
		ts.Setenv("NS_"+name, full)
		ts.Check(ts.Exec("ip", "-n", full, "link", "set", "lo", "up"))
	}
}

// command makes a command inside a namespace, with the script's folder and
// environment. The mounts stay: the script's BPF file system is among them.
func (w *world) command(ts *testscript.TestScript, name string, args []string) *exec.Cmd {
	full := w.names[name]
	if full == "" {
		ts.Fatalf("there is no namespace %s", name)
	}
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + full, "--"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(w.env.Vars[:len(w.env.Vars):len(w.env.Vars)], "PATH="+ts.Getenv("PATH"))
	return cmd
}

func inCmd(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) < 2 {
		ts.Fatalf("usage: in NAME COMMAND…")
	}
	if args[len(args)-1] == "&" {
		w.start(ts, args[0], args[1:len(args)-1])
		return
	}
	cmd := w.command(ts, args[0], args[1:])
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	ts.Logf("%s%s", stdout.String(), stderr.String())
	w.stdout, w.stderr = stdout.String(), stderr.String()
	if (err != nil) != neg {
		ts.Fatalf("in %s: %v", strings.Join(args, " "), err)
	}
}

func saysCmd(stderr bool) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) != 1 {
			ts.Fatalf("usage: out|err PATTERN")
		}
		text := worldOf(ts).stdout
		if stderr {
			text = worldOf(ts).stderr
		}
		pattern, err := regexp.Compile("(?m)" + args[0])
		ts.Check(err)
		if pattern.MatchString(text) == neg {
			worldOf(ts).logs(ts)
			ts.Fatalf("%q matches: %v, want %v\n%s", args[0], neg, !neg, text)
		}
	}
}

func (w *world) start(ts *testscript.TestScript, name string, args []string) {
	if s := w.stay[name]; s != nil {
		select {
		case <-s.done:
		default:
			ts.Fatalf("%s has a command that stays already", name)
		}
	}
	s := &stayer{cmd: w.command(ts, name, args), out: ts.MkAbs(name + ".log"), done: make(chan struct{})}
	f, err := os.OpenFile(s.out, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	defer f.Close()
	s.cmd.Stdout, s.cmd.Stderr = f, f
	ts.Check(s.cmd.Start())
	w.stay[name] = s
	go func() {
		_ = s.cmd.Wait() // its status is asked for by kill
		close(s.done)
	}()
}

const patience = 20 * time.Second

func untilCmd(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) < 2 {
		ts.Fatalf("usage: until NAME COMMAND…")
	}
	var out []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err error
		out, err = w.command(ts, args[0], args[1:]).CombinedOutput()
		if (err != nil) == neg {
			ts.Logf("%s", out)
			return
		}
	}
	w.logs(ts)
	ts.Fatalf("until %s: not within %v\n%s", strings.Join(args, " "), patience, out)
}

func (w *world) logs(ts *testscript.TestScript) {
	for name, s := range w.stay {
		text, err := os.ReadFile(s.out)
		ts.Check(err)
		ts.Logf("[%s]\n%s", name, text)
	}
}

func expandCmd(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

func signalCmd(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	signals := map[string]syscall.Signal{"-TERM": syscall.SIGTERM, "-KILL": syscall.SIGKILL, "-HUP": syscall.SIGHUP}
	if len(args) != 2 || signals[args[0]] == 0 || w.stay[args[1]] == nil {
		ts.Fatalf("usage: signal -TERM|-KILL|-HUP NAME")
	}
	s := w.stay[args[1]]
	ts.Check(s.cmd.Process.Signal(signals[args[0]]))
	if args[0] == "-HUP" {
		return
	}
	s.wait(ts)
	if args[0] == "-TERM" && s.cmd.ProcessState.Success() == neg {
		w.logs(ts)
		ts.Fatalf("%s ended with %v", args[1], s.cmd.ProcessState)
	}
}

func endsCmd(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	if len(args) != 1 || w.stay[args[0]] == nil {
		ts.Fatalf("usage: ends NAME")
	}
	w.stay[args[0]].wait(ts)
}

// wait waits until the command has ended.
func (s *stayer) wait(ts *testscript.TestScript) {
	select {
	case <-s.done:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", strings.Join(s.cmd.Args, " "))
	}
}

func saidCmd(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) != 2 || w.stay[args[0]] == nil {
		ts.Fatalf("usage: said NAME PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(w.stay[args[0]].out)
		ts.Check(err)
		found := pattern.Match(text)
		if found != neg {
			return
		}
		if neg || time.Now().After(end) {
			w.logs(ts)
			ts.Fatalf("%s said %q: %v, want %v", args[0], args[1], found, !neg)
		}
	}
}

func nothingLeftCmd(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		left := w.left(ts, args[0])
		if left == "" {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("left in %s: %s", args[0], left)
		}
	}
}

// left says what of ours is still in a namespace, "" if nothing is.
func (w *world) left(ts *testscript.TestScript, name string) string {
	for what, command := range map[string]string{
		"tunnel devices": "ip -o link show type tun",
		"routes":         "ip route show proto 54",
		"processes":      "for p in $(ip netns pids " + w.names[name] + "); do case $(readlink /proc/$p/exe) in */dmvpnd*) echo $p; esac; done",
	} {
		out, err := w.command(ts, name, []string{"sh", "-c", command}).CombinedOutput()
		if err != nil || len(bytes.TrimSpace(out)) > 0 {
			return fmt.Sprintf("%s: %s (%v)", what, out, err)
		}
	}
	if programs := w.attached(ts, name); len(programs) > 0 {
		return fmt.Sprintf("programs %q", programs)
	}
	if left, err := os.ReadDir(filepath.Join(w.env.Getenv("BPFFS"), "dmvpn")); err == nil && len(left) > 0 {
		return fmt.Sprintf("pins %v", left)
	}
	return ""
}
