// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// read gives a file of the tree.
func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// pages are the documents of the tree.
func pages(t *testing.T) []string {
	t.Helper()
	list := []string{"README.md"}
	found, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range found {
		list = append(list, "docs/"+filepath.Base(p))
	}
	return list
}

// configurationKeys finds the keys that the configuration's reader asks for: the
// first argument of its readers of one value.
func configurationKeys(t *testing.T) []string {
	t.Helper()
	readers := []string{"sub", "subs", "text", "texts", "number", "truth", "duration", "prefixes", "underlayAddress", "overlayAddress", "oneOrMore", "directory",
		"file", "files", "prefixesOrAddresses", "choice", "period", "amount", "proposals"}
	var keys []string
	for _, s := range sources(t) {
		if s.folder != "cmd/internal/config" || s.test {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			reader, ok := call.Fun.(*ast.SelectorExpr)
			literal, isLiteral := call.Args[0].(*ast.BasicLit)
			if ok && isLiteral && slices.Contains(readers, reader.Sel.Name) {
				if key, err := strconv.Unquote(literal.Value); err == nil {
					keys = append(keys, key)
				}
			}
			return true
		})
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// TestEveryConfigurationKeyIsDocumented, and no other: the reference is where an
// operator looks first.
func TestEveryConfigurationKeyIsDocumented(t *testing.T) {
	// What has a heading of its own, or stands in the text of one.
	page := read(t, "docs/configuration.md")
	documented := []string{}
	for _, m := range regexp.MustCompile("\\*\\*`([a-z-]+)`\\*\\*").FindAllStringSubmatch(page, -1) {
		documented = append(documented, m[1])
	}
	for _, table := range []string{"daemon", "tunnel", "nhs", "map", "ipsec", "secret", "authorize"} {
		if regexp.MustCompile(`(?m)^## \[+` + table + `\b|^## \[+tunnel\.NAME\.(ipsec\.)?` + table + `\]+`).MatchString(page) {
			documented = append(documented, table)
		}
	}
	keys := configurationKeys(t)
	if len(keys) < 10 {
		t.Fatalf("only %q found in the reader: it has changed, change this test with it", keys)
	}
	for _, k := range keys {
		if !slices.Contains(documented, k) {
			t.Errorf("the key %q is not in docs/configuration.md", k)
		}
	}
	for _, k := range documented {
		if !slices.Contains(keys, k) {
			t.Errorf("docs/configuration.md explains %q, which the configuration does not have", k)
		}
	}
}

// TestEveryDropReasonIsDocumented compares docs/drops.md with drop.h.
func TestEveryDropReasonIsDocumented(t *testing.T) {
	var declared, documented []string
	for _, m := range regexp.MustCompile(`\bDROP_([A-Z_]+) =\s*([0-9]+)`).FindAllStringSubmatch(read(t, "bpf/include/drop.h"), -1) {
		if m[1] != "NONE" {
			declared = append(declared, m[2]+" "+strings.ToLower(strings.ReplaceAll(m[1], "_", "-")))
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| ([0-9]+) \\| `([a-z-]+)` \\|").FindAllStringSubmatch(read(t, "docs/drops.md"), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	if len(declared) == 0 || !slices.Equal(declared, documented) {
		t.Errorf("bpf/include/drop.h and docs/drops.md differ:\n%s\n%s", strings.Join(declared, ", "), strings.Join(documented, ", "))
	}
}

// TestLinksOfTheDocumentsLead somewhere.
func TestLinksOfTheDocumentsLead(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := path.Join(path.Dir(page), m[1])
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s leads to %s: %v", page, m[1], err)
			}
		}
	}
}

// TestDocumentedTargetsAreInTheMakefile: what a page says to type must work.
func TestDocumentedTargetsAreInTheMakefile(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile("(?:`|\n    (?:[^\n]*&& )?(?:sudo )?)make ([a-z-]+)").FindAllStringSubmatch(read(t, page), -1) {
			if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(m[1]) + `:`).MatchString(makefile) {
				t.Errorf("%s says make %s, which the Makefile does not have", page, m[1])
			}
		}
	}
}

// configurations gives every example that the tree shows to an operator: the packaged files, those that the pages
// lead to, and the TOML of the pages.
func configurations(t *testing.T) map[string]string {
	t.Helper()
	examples := map[string]string{}
	for _, folder := range []string{"packaging", "docs/examples/*"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.toml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no configuration in %s: %v", folder, err)
		}
		for _, f := range files {
			name, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			examples[name] = read(t, name)
		}
	}
	blocks := 0
	for _, page := range pages(t) {
		for i, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(read(t, page), -1) {
			name := fmt.Sprintf("%s, block %d", page, i+1)
			switch table := regexp.MustCompile(`(?m)^\s*\[+(daemon|ipsec|tunnel)\b`); {
			case m[1] == "toml":
				examples[name] = m[2]
				blocks++
			case table.MatchString(m[2]):
				t.Errorf("%s is a configuration, but not marked as toml", name)
			}
		}
	}
	if blocks == 0 {
		t.Fatal("no page shows a configuration")
	}
	return examples
}
