// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// sources are the files whose drops a program may count.
var sources = map[string][]string{
	"dmvpn_encap":  {"egress.h", "encap.h", "route.h"},
	"dmvpn_decap":  {"ingress.h", "parse.h"},
	"dmvpn_filter": {"spi.h"},
}

// slowPathReasons have no case here: the slow path alone counts them, and loader/pump
// has their cases.
var slowPathReasons = []string{"DROP_QUEUE_FULL", "DROP_NO_SA", "DROP_REPLAY", "DROP_INTEGRITY", "DROP_SPOOFED", "DROP_MULTICAST_RATE"}

// elsewhere is what a test of its own shows because a table cannot.
var elsewhere = []struct {
	program, reason, way string
	test                 func(*testing.T)
}{
	{"dmvpn_encap", "DROP_ADJUST_ROOM", "wire", TestForeignGSO},
	{"dmvpn_decap", "DROP_ADJUST_ROOM", "wire", TestForeignGSOReceived},
}

// TestEveryDropReasonHasItsCases: whatever a program's source may drop for, its
// table shows by BPF_PROG_TEST_RUN and on a real device; no reason of drop.h is
// left out.
func TestEveryDropReasonHasItsCases(t *testing.T) {
	numbers := reasons(t)
	shown := map[string]bool{}
	for program, cases := range map[string][]packetCase{"dmvpn_encap": encapCases, "dmvpn_decap": decapCases, "dmvpn_filter": filterCases} {
		for _, c := range cases {
			reason := c.drop
			if c.tag != nil {
				reason = DmvpnDropReason(c.tag.Drop)
			}
			for _, way := range []string{"run", "wire"} {
				if c.onlyBy == "" || c.onlyBy == way {
					shown[fmt.Sprint(program, numbers[reason], way)] = true
				}
			}
		}
	}
	for _, e := range elsewhere {
		shown[fmt.Sprint(e.program, e.reason, e.way)] = e.test != nil
	}
	raised := map[string]bool{}
	for program, files := range sources {
		for _, name := range mentioned(t, files) {
			raised[name] = true
			for _, way := range []string{"run", "wire"} {
				if !shown[fmt.Sprint(program, name, way)] {
					t.Errorf("%s has no case of %s by %s", program, name, way)
				}
			}
		}
	}
	for _, name := range numbers {
		if !raised[name] && !slices.Contains(slowPathReasons, name) {
			t.Errorf("no program raises %s", name)
		}
	}
}

// reasons reads the enumeration of drop.h, but for none and the bound.
func reasons(t *testing.T) map[DmvpnDropReason]string {
	t.Helper()
	text, err := os.ReadFile("include/drop.h")
	must(t, err)
	names := map[DmvpnDropReason]string{}
	for _, m := range regexp.MustCompile(`(DROP_[A-Z_]+)\s*=\s*(\d+)`).FindAllStringSubmatch(string(text), -1) {
		number, err := strconv.Atoi(m[2])
		must(t, err)
		names[DmvpnDropReason(number)] = m[1]
	}
	delete(names, DmvpnDropReasonDROP_NONE)
	if len(names) != int(DmvpnDropReasonDROP_MAX)-1 {
		t.Fatalf("%d reasons in drop.h, DROP_MAX is %d", len(names), DmvpnDropReasonDROP_MAX)
	}
	return names
}

var reasonName = regexp.MustCompile(`\bDROP_[A-Z_]+\b`)

// mentioned gives the reasons in these files.
func mentioned(t *testing.T, files []string) (names []string) {
	t.Helper()
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("include", file))
		must(t, err)
		names = append(names, reasonName.FindAllString(string(text), -1)...)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "DROP_NONE" })
}

// TestDropsAreRaisedWhereTheyAreLookedFor: in the files above and nowhere else.
func TestDropsAreRaisedWhereTheyAreLookedFor(t *testing.T) {
	files, err := filepath.Glob("include/*.h")
	must(t, err)
	known := append(slices.Concat(slices.Collect(maps.Values(sources))...), "drop.h")
	for _, path := range files {
		file := filepath.Base(path)
		if names := mentioned(t, []string{file}); len(names) > 0 && !slices.Contains(known, file) {
			t.Errorf("%s mentions %v: name it in sources", file, names)
		}
	}
}
