// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestASecondHolderIsRefusedUntilTheFirstLetsGo(t *testing.T) {
	dir := t.TempDir()
	first, err := Take(dir, "a", Owner{PID: 4711, BPFFS: "/bpf"})
	if err != nil {
		t.Fatal(err)
	}
	if !first.Made {
		t.Error("the folder was made, and Made says it was not")
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
	if again.Made {
		t.Error("the folder was there, and Made says it was not")
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
