// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud/cloudtest"
)

// folder holds the three programs, built once.
var folder string

func TestMain(m *testing.M) {
	os.Exit(cloudtest.WithPrograms(func(dir string) int {
		folder = dir
		return m.Run()
	}))
}

// name gives this test a lab of its own, and removes what is left of it.
func name(t *testing.T, what string) string {
	t.Helper()
	n := fmt.Sprintf("%s%d", what, os.Getpid())
	t.Cleanup(func() {
		if exists(t, n) {
			t.Errorf("lab %s is left behind", n)
			_ = lab.Remove(n)
		}
	})
	return n
}

func exists(t *testing.T, name string) bool {
	t.Helper()
	spaces, err := filepath.Glob("/run/netns/dmvpn-" + name + "-*")
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(lab.Root, name))
	return len(spaces) > 0 || err == nil
}

// dmvpnLab runs the program to its end.
func dmvpnLab(t *testing.T, patience time.Duration, args ...string) (out string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(folder, "dmvpn-lab"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("dmvpn-lab %v: %v\n%s", args, err, b)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func TestTheDemoTellsItsStory(t *testing.T) {
	n := name(t, "demo")
	began := time.Now()
	file := filepath.Join(t.TempDir(), "demo.svg")
	out, status := dmvpnLab(t, 2*time.Minute, "demo", "--name", n, "--svg", file)
	if status != 0 {
		t.Fatalf("status %d:\n%s", status, out)
	}
	if took := time.Since(began); took > 110*time.Second {
		t.Errorf("it took %v", took)
	}
	drawn, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for state, links := range map[string]int{"hub": 3, "cut": 2, "gone": 1, "none": 0} {
		if n := strings.Count(string(drawn), `class="pill `+state+`"`); n != links {
			t.Errorf("the picture has %d links of state %q, not %d", n, state, links)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("it is coloured though nothing here is a terminal")
	}
	for line := range strings.SplitSeq(out, "\n") {
		if strings.HasPrefix(line, "   ") && !strings.HasPrefix(line, "    ") && len([]rune(line)) > 80 {
			t.Errorf("a line of running text is too long: %q", line)
		}
	}
}

// TestTheDemoFailsLoudlyWhereAStepDoesNotHold: the hub tells nobody of a shorter
// way. The story ends there, with the step's name, the reason and the logs.
func TestTheDemoFailsLoudlyWhereAStepDoesNotHold(t *testing.T) {
	n := name(t, "loud")
	programs := t.TempDir()
	if err := os.Symlink(filepath.Join(folder, "dmvpn"), filepath.Join(programs, "dmvpn")); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nsed -i 's/^key = 42$/key = 42\\nredirect = false/' \"$2\"\nexec " + filepath.Join(folder, "dmvpnd") + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(programs, "dmvpnd"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	out, status := dmvpnLab(t, time.Minute, "demo", "--name", n, "--programs", programs)
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{
		"✗ The hub tells of a shorter way, and the spokes agree on keys: this does not hold",
		"spoke1: no SA with spoke2 is in use", "The log of hub ends:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(out, "All of it held") || strings.Contains(out, "5  Now the packets go directly") {
		t.Error("the story went on")
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestTheDemoCleansUpWhenInterrupted(t *testing.T) {
	n := name(t, "stop")
	cmd := exec.Command(filepath.Join(folder, "dmvpn-lab"), "demo", "--name", n)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); !exists(t, n); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there is no lab after 30 s")
		}
	}
	time.Sleep(3 * time.Second) // into the story
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 130 {
		t.Errorf("status %d: %s", status, out.String())
	}
}

func TestALabThatIsUpCanBeExplored(t *testing.T) {
	n := name(t, "up")
	if out, status := dmvpnLab(t, time.Minute, "up", "--name", n, "--spokes", "2"); status != 0 || !strings.Contains(out, "exec spoke1") {
		t.Fatalf("status %d: %s", status, out)
	}
	defer func() {
		if out, status := dmvpnLab(t, time.Minute, "down", "--name", n); status != 0 {
			t.Errorf("down: status %d: %s", status, out)
		}
	}()
	if out, status := dmvpnLab(t, time.Minute, "up", "--name", n); status != 1 || !strings.Contains(out, "in use") {
		t.Errorf("up again: status %d: %s", status, out)
	}
	if out, status := dmvpnLab(t, time.Minute, "exec", "--name", n, "host1", "--", "ping", "-c", "1", "-W", "2", "10.10.2.10"); status != 0 {
		t.Errorf("ping: status %d: %s", status, out)
	}
	if out, status := dmvpnLab(t, time.Minute, "exec", "--name", n, "spoke1", "--", "dmvpn", "show", "dmvpn"); status != 0 || !strings.Contains(out, "192.0.2.1") {
		t.Errorf("dmvpn: status %d: %s", status, out)
	}
	if out, status := dmvpnLab(t, time.Minute, "exec", "--name", n, "spoke1", "--", "sh", "-c", "exit 7"); status != 7 {
		t.Errorf("a command's status 7 came back as %d: %s", status, out)
	}
	if out, status := dmvpnLab(t, time.Minute, "exec", "--name", n, "spoke9", "--", "true"); status != 1 || !strings.Contains(out, "spoke2") {
		t.Errorf("a node that is not there: status %d: %s", status, out)
	}
}

func TestWhatIsNotThereIsSaid(t *testing.T) {
	n := name(t, "none")
	for _, args := range [][]string{{"down"}, {"exec", "hub", "true"}} {
		if out, status := dmvpnLab(t, time.Minute, append([]string{args[0], "--name", n}, args[1:]...)...); status != 1 || !strings.Contains(out, "there is none") {
			t.Errorf("%v: status %d: %s", args, status, out)
		}
	}
	if out, status := dmvpnLab(t, time.Minute, "exec", "--name", n, "hub"); status != 1 || !strings.Contains(out, "a node and a command") {
		t.Errorf("exec without a command: status %d: %s", status, out)
	}
	if out, status := dmvpnLab(t, time.Minute, "demo", "--name", n, "--programs", t.TempDir()); status != 1 || !strings.Contains(out, "make build") {
		t.Errorf("without programs: status %d: %s", status, out)
	}
}

func TestTextIsBrokenIntoLines(t *testing.T) {
	got := wrap("aaa bbb\n\t\tcc dddddddddd e", 7)
	want := []string{"aaa bbb", "cc", "dddddddddd", "e"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
}
