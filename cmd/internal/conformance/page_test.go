// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const page = "../../../docs/nhrp-conformance.md"

// update writes what the page has of these results, and the results of ours.
var update = flag.Bool("update", false, "write testdata/ours.json and the table of docs/nhrp-conformance.md")

// shared are the rows that implementations share; what the page has beyond is of dmvpn's own.
const shared = "../../../nhrpd/testdata/nhrp-cases.txt"

// TestEverySharedRowIsACaseOrHidden, and no other is either.
func TestEverySharedRowIsACaseOrHidden(t *testing.T) {
	text, err := os.ReadFile(shared)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, id := range regexp.MustCompile(`(?m)^[A-Z]{2}-\d\d$`).FindAllString(string(text), -1) {
		rows[id] = true
	}
	if len(rows) != 200 {
		t.Fatalf("%d of 200 rows are in %s", len(rows), shared)
	}
	seen := map[string]bool{}
	cases := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.ID] = true; !rows[c.ID] {
			t.Errorf("case %s: the list has no such row", c.ID)
		}
		if key := c.ID + string(c.Role); cases[key] {
			t.Errorf("case %s is there twice for one role", c.ID)
		} else {
			cases[key] = true
		}
		if c.Section == "" || c.Level == "" || c.Text == "" {
			t.Errorf("case %s lacks section, level or text", c.ID)
		}
		if c.Level == Habit && c.Section != "-" {
			t.Errorf("case %s is a habit, and has section %s", c.ID, c.Section)
		}
	}
	for id, why := range Hidden {
		if seen[id] || !rows[id] || why == "" {
			t.Errorf("hidden row %s is a case, or no row, or has no reason", id)
		}
		seen[id] = true
	}
	for id := range rows {
		if !seen[id] {
			t.Errorf("row %s is neither a case nor hidden with a reason", id)
		}
	}
}

const (
	tableBegins = "<!-- conformance: what follows is written by go test ./cmd/internal/conformance -update -->\n"
	tableEnds   = "<!-- conformance: end -->\n"
)

// TestThePageShowsTheRecordedResults: the table of ours and FRR's is what testdata says, with
// the rows of today.
func TestThePageShowsTheRecordedResults(t *testing.T) {
	ours, frr := recorded(t, "ours"), recorded(t, "frr")
	sameRows(t, "ours.json", ours, Cases())
	sameRows(t, "frr.json", frr, Cases())
	var b bytes.Buffer
	Markdown(&b, Column{"dmvpn", ours}, Column{"FRR 8.4.4", frr})
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		t.Fatalf("%s has no place for the table", page)
	}
	want := before + tableBegins + "\n" + Summary(ours) + " of dmvpn's; " + Summary(frr) + " of FRR's.\n\n" + b.String() + "\n" + tableEnds + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Error("the table is not of testdata: go test ./cmd/internal/conformance -update")
	}
}

func recorded(t *testing.T, name string) []Result {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name + ".json")
	var results []Result
	if err == nil {
		err = json.Unmarshal(raw, &results)
	}
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// record keeps the results of one role as ours, where that is asked for.
func record(t *testing.T, results []Result) {
	t.Helper()
	if !*update || t.Failed() {
		return
	}
	role := results[0].Role
	all := slices.DeleteFunc(recorded(t, "ours"), func(r Result) bool { return r.Role == role })
	all = append(all, results...)
	slices.SortStableFunc(all, func(a, b Result) int {
		return cmp.Or(cmp.Compare(order(a.ID), order(b.ID)), cmp.Compare(a.ID, b.ID), -cmp.Compare(a.Role, b.Role))
	})
	var b bytes.Buffer
	if err := WriteJSON(&b, all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/ours.json", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sameRows(t *testing.T, name string, results []Result, cases []Case) {
	t.Helper()
	var have, want []string
	for _, r := range results {
		have = append(have, r.ID+" "+string(r.Role))
	}
	for _, c := range cases {
		want = append(want, c.ID+" "+string(c.Role))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("testdata/%s has other rows than the suite: record it anew", name)
	}
}
