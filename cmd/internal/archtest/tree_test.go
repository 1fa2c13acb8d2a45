// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// root is the top of the repository, seen from this package.
const root = "../../.."

// source is one Go file of the module.
type source struct {
	path    string // from the top, with slashes
	folder  string // path.Dir(path)
	test    bool   // *_test.go
	tree    *ast.File
	imports []string
}

// walk calls visit for every file that belongs to the project; paths are
// relative to the top and have slashes.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case d.IsDir() && (name == ".git" || name == "bin"):
			return fs.SkipDir
		case !d.IsDir():
			visit(name)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading the tree: %v", err)
	}
}

// sources parses every Go file, test files included.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	set := token.NewFileSet()
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
			return
		}
		tree, err := parser.ParseFile(set, filepath.Join(root, name), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			t.Errorf("%s does not parse: %v", name, err)
			return
		}
		s := source{path: name, folder: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), tree: tree}
		for _, i := range tree.Imports {
			s.imports = append(s.imports, strings.Trim(i.Path.Value, `"`))
		}
		all = append(all, s)
	})
	if len(all) == 0 {
		t.Fatal("no Go file found: this test must run inside the repository")
	}
	return all
}

// under says whether p is the folder or below it.
func under(p, folder string) bool {
	return p == folder || strings.HasPrefix(p, folder+"/")
}

// standard says whether p is of Go's standard library: its first element has no
// dot, and it is not of this module.
func standard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return first != "dmvpn" && !strings.Contains(first, ".")
}
