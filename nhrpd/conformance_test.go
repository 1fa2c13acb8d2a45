// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Conformance is a page with a row for each requirement: its id, the section, the
// requirement, and the packages whose tests are named by the id, or why there is none.
const conformance = "../docs/nhrp-conformance.md"

var (
	rowID    = regexp.MustCompile(`^[A-Z]{2}-\d\d$`)
	testName = regexp.MustCompile(`^[A-Z]{2}-\d\d((, | )[A-Z]{2}-\d\d)*(:| |$)`)
	inName   = regexp.MustCompile(`[A-Z]{2}-\d\d`)
)

func TestEveryRowOfTheConformancePageIsATestOrHasAReason(t *testing.T) {
	rows := conformanceRows(t)
	if len(rows) < 200 {
		t.Errorf("%d rows are left of the page", len(rows))
	}
	tests := map[string]map[string]bool{} // of a package, by row
	named := func(dir string) map[string]bool {
		if tests[dir] == nil {
			tests[dir] = testedRows(t, dir)
		}
		return tests[dir]
	}
	for id, where := range rows {
		if reason, none := strings.CutPrefix(where, "none: "); none {
			if len(reason) < 10 {
				t.Errorf("%s: no test, and %q is no reason", id, reason)
			}
			continue
		}
		for dir := range strings.SplitSeq(where, ", ") {
			if dir = strings.Trim(dir, "`"); !named(dir)[id] {
				t.Errorf("%s: no test of %s is named by it", id, dir)
			}
		}
	}
	for _, dir := range []string{"nhrpd/wire", "nhrpd/engine", "nhrpd/cache"} {
		for id := range named(dir) {
			switch where, known := rows[id]; {
			case !known:
				t.Errorf("a test of %s is named by %s, which the page does not have", dir, id)
			case !strings.Contains(where, "`"+dir+"`"):
				t.Errorf("%s: a test of %s is named by it, the page says %q", id, dir, where)
			}
		}
	}
}

// conformanceRows gives the last column of the page by its first.
func conformanceRows(t *testing.T) map[string]string {
	page, err := os.ReadFile(conformance)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		id := strings.TrimSpace(cells[0])
		if !rowID.MatchString(id) {
			continue
		}
		if _, twice := rows[id]; twice || len(cells) != 4 {
			t.Errorf("%s: twice, or not of four cells", id)
		}
		rows[id] = strings.TrimSpace(cells[len(cells)-1])
	}
	return rows
}

// testedRows gives the rows that a package's tests are named by: subtests by their names,
// functions by the comment above or beside them.
func testedRows(t *testing.T, dir string) map[string]bool {
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(fmt.Errorf("%s has no tests: %w", dir, err))
	}
	found := map[string]bool{}
	for _, name := range files {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		take := func(text string) {
			for _, id := range inName.FindAllString(testName.FindString(strings.TrimSpace(text)), -1) {
				found[id] = true
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit: // a row of a table
				if len(n.Elts) > 0 {
					take(text(n.Elts[0]))
				}
			case *ast.CallExpr: // t.Run and scenario
				if f := callee(n); f == "Run" || f == "scenario" {
					for _, x := range n.Args {
						take(text(x))
					}
				}
			case *ast.FuncDecl:
				if !strings.HasPrefix(n.Name.Name, "Test") && !strings.HasPrefix(n.Name.Name, "Fuzz") {
					break
				}
				take(n.Doc.Text())
				for _, c := range file.Comments {
					if set.Position(c.Pos()).Line == set.Position(n.Body.Lbrace).Line {
						take(c.Text())
					}
				}
			}
			return true
		})
	}
	return found
}

// sharedRows are the ids of the list that implementations share.
const sharedRows = "testdata/nhrp-cases.txt"

var rowLine = regexp.MustCompile(`(?m)^\| ([A-Z]{2}-\d\d) \| ([^|]*) \|`)

// TestThePageHasEverySharedRowAndMarksItsOwn: no row of the shared list is left out, and what is not in it says so.
func TestThePageHasEverySharedRowAndMarksItsOwn(t *testing.T) {
	shared := map[string]bool{}
	for line := range strings.Lines(read(t, sharedRows)) {
		if id := strings.TrimSpace(line); rowID.MatchString(id) {
			shared[id] = true
		} else if !strings.HasPrefix(line, "#") {
			t.Errorf("%s: %q is no row's id", sharedRows, id)
		}
	}
	for _, row := range rowLine.FindAllStringSubmatch(read(t, conformance), -1) {
		id, own := row[1], strings.HasPrefix(row[2], "+ ")
		if own == shared[id] {
			t.Errorf("%s: marked as our own: %t, in the shared list: %t", id, own, shared[id])
		}
	}
	if len(shared) != 200 {
		t.Errorf("%s has %d rows, not 200", sharedRows, len(shared))
	}
	rows := conformanceRows(t)
	for id := range shared {
		if _, there := rows[id]; !there {
			t.Errorf("%s is in the shared list, and not on the page", id)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// text is a string in the source, "" if the expression is another one.
func text(x ast.Expr) string {
	if k, ok := x.(*ast.KeyValueExpr); ok {
		x = k.Value
	}
	lit, ok := x.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}

func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

func TestTheConformancePageCountsItsRows(t *testing.T) {
	page, err := os.ReadFile(conformance)
	if err != nil {
		t.Fatal(err)
	}
	without := 0
	rows := conformanceRows(t)
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		if strings.HasPrefix(rows[id], "none: ") {
			without++
		}
	}
	if says := fmt.Sprintf("%d rows, %d of them without a test", len(rows), without); !strings.Contains(string(page), says) {
		t.Errorf("the page does not say %q", says)
	}
}
