// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// program builds one of the commands and gives its path.
func program(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", path, "./cmd/"+name)
	build.Dir = root
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, said)
	}
	return path
}

// TestTheDaemonTakesEveryExample: what we show to an operator is right.
func TestTheDaemonTakesEveryExample(t *testing.T) {
	dmvpnd := program(t, "dmvpnd")
	for name, content := range configurations(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "dmvpn.toml")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if said, err := exec.Command(dmvpnd, "--check", "-c", file).CombinedOutput(); err != nil {
				t.Errorf("dmvpnd --check: %v\n%s", err, said)
			}
		})
	}
}

// TestEveryCommandIsDocumented compares docs/cli.md with what dmvpn says it has.
func TestEveryCommandIsDocumented(t *testing.T) {
	help, err := exec.Command(program(t, "dmvpn"), "help").CombinedOutput()
	if err != nil {
		t.Fatalf("dmvpn help: %v\n%s", err, help)
	}
	_, list, _ := strings.Cut(string(help), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	commands := regexp.MustCompile(`(?m)^  ([a-z]+)`).FindAllStringSubmatch(list, -1)
	if len(commands) < 5 {
		t.Fatalf("dmvpn help lists only %q:\n%s", commands, help)
	}
	page := read(t, "docs/cli.md")
	for _, c := range commands {
		if c[1] == "help" || c[1] == "completion" {
			continue // cobra's own
		}
		if !strings.Contains(page, "`dmvpn "+c[1]) {
			t.Errorf("docs/cli.md does not have dmvpn %s", c[1])
		}
	}
}

// TestTheUnitEndsTheDaemonAlone: a stop must leave the holder, and make install
// must find where to write the folder.
func TestTheUnitEndsTheDaemonAlone(t *testing.T) {
	unit := read(t, "packaging/dmvpnd.service")
	for _, want := range []string{"Type=notify", "KillMode=process", "ExecStart=@sbindir@/dmvpnd"} {
		if !strings.Contains(unit, "\n"+want) {
			t.Errorf("packaging/dmvpnd.service lacks %s", want)
		}
	}
}
