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

// TestEveryCommandIsDocumented compares docs/cli.md with what the programs say they have,
// down to the last command and flag.
func TestEveryCommandIsDocumented(t *testing.T) {
	for name, least := range map[string]int{"dmvpn": 20, "dmvpnd": 1} {
		_, page, _ := strings.Cut(read(t, "docs/cli.md"), "\n## "+name+"\n")
		page, _, _ = strings.Cut(page, "\n## ")
		d := described{t, program(t, name), strings.NewReplacer("[", "", "]", "").Replace(page), 0}
		d.walk(name)
		if d.commands < least {
			t.Errorf("%s says that it has only %d commands", name, d.commands)
		}
	}
}

// described is a program and what is written about it.
type described struct {
	t             *testing.T
	program, page string
	commands      int
}

// walk looks for the flags of a command, and for the commands below it.
func (d *described) walk(command string) {
	d.t.Helper()
	d.commands++
	words := append(strings.Fields(command)[1:], "--help")
	help, err := exec.Command(d.program, words...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s --help: %v\n%s", command, err, help)
	}
	// Of a command below, its line of the table; of the program itself, the page.
	where := d.page
	if len(words) > 1 {
		where = strings.Join(regexp.MustCompile("(?m)^\\| `"+command+`\b.*`).FindAllString(d.page, -1), "\n")
		if where == "" {
			d.t.Errorf("docs/cli.md does not have %s", command)
		}
	}
	for _, flag := range section(string(help), "Flags", `(?:-(\w), )?--([a-z-]+)`) {
		short, long := flag[1], flag[2]
		written := "--" + long + `\b`
		if short != "" {
			written += `|(?:^|[^-\w])-` + short + `\b`
		}
		if long != "help" && !regexp.MustCompile(written).MatchString(where) {
			d.t.Errorf("docs/cli.md does not have %s --%s", command, long)
		}
	}
	for _, below := range section(string(help), "Available Commands", `([a-z0-9]+)`) {
		if below[1] != "help" && below[1] != "completion" { // cobra's own
			d.walk(command + " " + below[1])
		}
	}
}

// section gives what the lines of a section of the help begin with.
func section(help, title, pattern string) [][]string {
	_, list, _ := strings.Cut(help, "\n"+title+":\n")
	list, _, _ = strings.Cut(list, "\n\n")
	return regexp.MustCompile("(?m)^ +"+pattern).FindAllStringSubmatch(list, -1)
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
