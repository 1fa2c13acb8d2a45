// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dmvpn/cmd/internal/lab/cloud"
)

// typing is how a node's shell knows a routing daemon's own client: the option that leads to its socket.
type typing map[string][]string

// look types, on spoke 1, what docs/routing.md has under a heading, "DAEMON with `FILE`:", and
// checks that the output has what the page says. A shortcut may take a moment.
func look(t *testing.T, c *cloud.Cloud, heading string, clients typing) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(tree, "docs/routing.md"))
	check(t, err)
	_, part, found := strings.Cut(string(page), "\n"+heading+"\n\n")
	if !found {
		t.Fatalf("docs/routing.md has no %q", heading)
	}
	part, _, _ = strings.Cut(part, "\n\n")
	for line := range strings.Lines(part) {
		command, says, ok := strings.Cut(strings.TrimSpace(line), "#")
		if !ok {
			t.Fatalf("docs/routing.md: %q does not say what comes", line)
		}
		words := shellWords(command)
		if client, ok := clients[words[0]]; ok {
			words = append(append([]string{words[0]}, client...), words[1:]...)
		}
		if words[0] == "dmvpn" {
			words[0] = programs.Dmvpn
		}
		until(t, c, patience, func() error {
			out, err := c.Spokes[0].Run(t.Context(), words[0], words[1:]...)
			if err == nil && !strings.Contains(strings.Join(strings.Fields(out), " "), strings.TrimSpace(says)) {
				err = fmt.Errorf("%s: no %q in\n%s", command, says, out)
			}
			return err
		})
	}
}

// shellWords cuts a line as a shell does whose only quotes are single ones.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}
