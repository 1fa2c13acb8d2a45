// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// rule says what the Go files of some folders may import. Folders and packages
// mean themselves and everything below them. The first rule that has the folder
// is the one that holds.
type rule struct {
	folders []string
	std     bool     // the standard library
	without []string // but not these of it
	allowed []string // packages besides
	own     string   // the module's folder whose packages may be imported
	pure    bool     // does not ask the clock
}

// effects are the standard packages that reach outside the process.
var effects = []string{"os", "syscall", "net/http", "net/rpc", "log", "os/exec", "math/rand", "crypto/rand", "database", "plugin"}

var rules = []rule{
	{folders: []string{"nhrpd/wire"}, std: true, without: effects, pure: true},
	{folders: []string{"ikev2/wire", "ikev2/crypto", "ikev2/proposal", "loader/esp"}, std: true, own: "ikev2",
		allowed: []string{"golang.org/x/crypto", "filippo.io/bigmod"}, pure: true},
	{folders: []string{"nhrpd/engine", "nhrpd/cache", "nhrpd/nhrptest"}, std: true, without: effects, own: "nhrpd", pure: true,
		allowed: []string{"github.com/gaissmai/bart"}},
	{folders: []string{"ikev2/sa", "ikev2/iketest", "ikev2/auth"}, std: true, without: effects, own: "ikev2", pure: true,
		allowed: []string{"golang.org/x/crypto", "filippo.io/bigmod"}},
	{folders: []string{"bpf"}, std: true, allowed: []string{"github.com/cilium/ebpf"}},
	{folders: []string{"loader"}, std: true, own: "loader", allowed: []string{"dmvpn/bpf", "github.com/cilium/ebpf",
		"github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys"}},
	{folders: []string{"nhrpd"}, std: true, own: "nhrpd", allowed: []string{"github.com/rs/zerolog"}},
	{folders: []string{"ikev2"}, std: true, own: "ikev2", allowed: []string{"github.com/rs/zerolog"}},
}

// testing packages that any test may use.
var forTests = []string{
	"github.com/google/go-cmp", "github.com/gopacket/gopacket", "github.com/rogpeppe/go-internal", "pgregory.net/rapid",
	"go.uber.org/goleak", "github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys", "golang.org/x/net",
}

// ruleOf finds the rule of a folder; cmd has none, it may import everything.
func ruleOf(folder string) (rule, bool) {
	for _, r := range rules {
		if slices.ContainsFunc(r.folders, func(f string) bool { return under(folder, f) }) {
			return r, true
		}
	}
	return rule{}, false
}

// allows says whether a file that the rule holds for may import p.
func (r rule) allows(p string, test bool) bool {
	has := func(list []string) bool {
		return slices.ContainsFunc(list, func(f string) bool { return under(p, f) })
	}
	switch {
	case test && (standard(p) || has(forTests)):
		return true
	case standard(p):
		// net itself opens sockets; net/netip is only arithmetic.
		return r.std && !has(r.without) && (len(r.without) == 0 || p != "net")
	case r.own != "" && under(p, "dmvpn/"+r.own):
		return true
	}
	return has(r.allowed)
}

// TestEveryPackageImportsOnlyWhatItMay keeps the table of the design: the codecs
// and machines are pure, loader and the protocols do not know each other, and
// cmd alone ties the parts together.
func TestEveryPackageImportsOnlyWhatItMay(t *testing.T) {
	for _, s := range sources(t) {
		r, bound := ruleOf(s.folder)
		if !bound {
			continue
		}
		for _, p := range s.imports {
			if !r.allows(p, s.test) {
				t.Errorf("%s imports %s: %s may not; move what needs it up to cmd, or hand it in through an interface", s.path, p, s.folder)
			}
		}
	}
}

// TestLibrariesDoNotImportCommands keeps cmd at the top.
func TestLibrariesDoNotImportCommands(t *testing.T) {
	for _, s := range sources(t) {
		if under(s.folder, "cmd") {
			continue
		}
		for _, p := range s.imports {
			if under(p, "dmvpn/cmd") {
				t.Errorf("%s imports %s: nothing outside cmd may", s.path, p)
			}
		}
	}
}

// TestPureMachinesAreHandedTheTime: a machine that asks the clock cannot be
// replayed.
func TestPureMachinesAreHandedTheTime(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	for _, s := range sources(t) {
		if r, bound := ruleOf(s.folder); !bound || !r.pure || s.test {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
				t.Errorf("%s calls time.%s: take the time as a parameter", s.path, sel.Sel.Name)
			}
			return true
		})
	}
}

// TestFoldersAreNamedForWhatTheyHold: a room whose name says nothing is where
// anything ends up.
func TestFoldersAreNamedForWhatTheyHold(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "misc", "manager", "shared"}
	for _, s := range sources(t) {
		for part := range strings.SplitSeq(strings.TrimSuffix(s.path, path.Ext(s.path)), "/") {
			if slices.Contains(empty, part) {
				t.Errorf("%s: the name %q says nothing about what it holds", s.path, part)
			}
		}
	}
}
