// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Count counts results by verdict.
func Count(results []Result) map[Verdict]int {
	n := map[Verdict]int{}
	for _, r := range results {
		n[r.Verdict]++
	}
	return n
}

// Summary is the last line of a table.
func Summary(results []Result) string {
	var parts []string
	n := Count(results)
	for _, v := range []Verdict{Pass, Fail, Differs, NotApplicable, Inconclusive} {
		if n[v] > 0 || v == Pass || v == Fail {
			parts = append(parts, fmt.Sprintf("%d %s", n[v], v))
		}
	}
	return fmt.Sprintf("%d cases: %s", len(results), strings.Join(parts, ", "))
}

// WriteLine writes a result as a line of the table.
func WriteLine(w io.Writer, r Result) {
	fmt.Fprintf(w, "%-5s  %-12s  %-6s  %-12s  %s\n", r.ID, r.Section, r.Level, r.Verdict, r.Text)
	if r.Detail != "" {
		fmt.Fprintf(w, "%43s%s\n", "", r.Detail)
	}
}

// WriteHead writes the head of the table.
func WriteHead(w io.Writer) {
	fmt.Fprintf(w, "%-5s  %-12s  %-6s  %-12s  %s\n", "ROW", "SECTION", "LEVEL", "RESULT", "REQUIREMENT, AND WHAT CAME INSTEAD")
}

// WriteJSON writes an array of the results.
func WriteJSON(w io.Writer, results []Result) error {
	if results == nil {
		results = []Result{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(results)
}

// List writes every case in a line, and every row of the list that none can see.
func List(w io.Writer) {
	type line struct{ id, text string }
	var lines []line
	for _, c := range Cases() {
		lines = append(lines, line{c.ID, fmt.Sprintf("%s  %s  %-12s  %-6s  %s", c.ID, c.Role, c.Section, c.Level, c.Text)})
	}
	for id, why := range Hidden {
		lines = append(lines, line{id, fmt.Sprintf("%s  -    %-12s  %-6s  not seen from outside: %s", id, "", "", why)})
	}
	slices.SortStableFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(order(a.id), order(b.id)), cmp.Compare(a.id, b.id))
	})
	for _, l := range lines {
		fmt.Fprintln(w, l.text)
	}
}

// A Column is the results of one target, for Markdown.
type Column struct {
	Name    string
	Results []Result
}

// Markdown writes a table with a line for each case and a column for each target.
func Markdown(w io.Writer, columns ...Column) {
	cell := func(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
	head, rule := "| Row | § | Level | Requirement |", "| --- | --- | --- | --- |"
	for _, c := range columns {
		head += " " + c.Name + " |"
		rule += " --- |"
	}
	fmt.Fprintln(w, head)
	fmt.Fprintln(w, rule)
	for _, c := range Cases() {
		fmt.Fprintf(w, "| %s %s | %s | %s | %s |", c.ID, c.Role, c.Section, c.Level, cell(c.Text))
		for _, column := range columns {
			said := "–"
			for _, r := range column.Results {
				if r.ID == c.ID && r.Role == c.Role {
					if said = string(r.Verdict); r.Detail != "" && r.Verdict != Pass {
						said += ": " + cell(short(r.Detail))
					}
				}
			}
			fmt.Fprintf(w, " %s |", said)
		}
		fmt.Fprintln(w)
	}
}

// short cuts a detail that would make a table unreadable.
func short(s string) string {
	const most = 120
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
