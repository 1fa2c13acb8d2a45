// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASecondHolderIsRefusedUntilTheFirstLetsGo(t *testing.T) {
	dir := t.TempDir()
	first, err := Take(dir, "a", Owner{PID: 4711, BPFFS: "/bpf"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(dir, "a", Owner{PID: 4712})
	if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "process 4711") {
		t.Errorf("second holder: %v, want ErrRunning with the process", err)
	}
	if _, err := Take(dir, "b", Owner{}); err != nil {
		t.Errorf("another instance: %v", err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	if owner, err := ReadOwner(PathsOf(dir, "a")); err != nil || owner.BPFFS != "/bpf" {
		t.Errorf("what the daemon before left: %+v, %v", owner, err)
	}
	again, err := Take(dir, "a", Owner{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	paths := PathsOf(dir, "a")
	if Free(paths) {
		t.Error("the lock is held, and Free says it is not")
	}
	if err := os.Remove(paths.Lock); err != nil {
		t.Fatal(err)
	}
	if Free(paths) {
		t.Error("the folder is half removed, and Free says that all is done")
	}
	if err := again.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(paths.Folder); !errors.Is(err, os.ErrNotExist) || !Free(paths) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestARunDirectoryThatCannotBeMadeNamesTheRemedy(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Take(file, "a", Owner{})
	if err == nil || !strings.Contains(err.Error(), "run-dir") {
		t.Errorf("got %v", err)
	}
}

func TestUndoTakesAwayWhatTakeMade(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.Mkdir(there, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, runDir := range []string{
		dir + "/run/dmvpn",
		dir,
	} {
		l, err := Take(runDir, "a", Owner{})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Undo(); err != nil {
			t.Fatal(err)
		}
		for _, gone := range []string{"run", "a"} {
			if _, err := os.Stat(filepath.Join(dir, gone)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", gone, err)
			}
		}
	}
	l, err := Take(dir, "there", Owner{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Undo(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(there); err != nil {
		t.Errorf("a folder of before is gone: %v", err)
	}
}
