// SPDX-License-Identifier: Apache-2.0

// Package render writes the control API's answers as text for people: tables of
// our own, and the displays that operators of DMVPN know by heart. It takes
// the time as a parameter; it never fails but for the writer.
package render

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// table is lines of cells, each column as wide as its widest cell.
type table struct {
	right  map[int]bool // columns of numbers
	hidden map[int]bool
	lines  [][]string
}

func newTable(head ...string) *table {
	t := &table{right: map[int]bool{}, hidden: map[int]bool{}}
	for i, h := range head {
		if strings.HasPrefix(h, ">") {
			t.right[i], head[i] = true, h[1:]
		}
	}
	return t.add(head...)
}

func (t *table) add(cells ...string) *table {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	t.lines = append(t.lines, cells)
	return t
}

// only shows a column on a condition.
func (t *table) only(shown bool, head string) {
	if i := slices.Index(t.lines[0], head); i >= 0 {
		t.hidden[i] = !shown
	}
}

// write writes the table; one without lines below its head says so instead.
func (t *table) write(w io.Writer, nothing string) error {
	if len(t.lines) == 1 {
		_, err := fmt.Fprintln(w, nothing)
		return err
	}
	var width []int
	for _, line := range t.lines {
		for i, c := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, line := range t.lines {
		var b strings.Builder
		for i, c := range line {
			if t.hidden[i] {
				continue
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if t.right[i] {
				c = pad + c
			} else {
				c += pad
			}
			b.WriteString(c)
			b.WriteString("  ")
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// address writes an address, empty if it is invalid.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// endpoint writes an NBMA address with its port, if it has one.
func endpoint(a netip.Addr, port uint16) string {
	if port == 0 {
		return address(a)
	}
	return netip.AddrPortFrom(a, port).String()
}

// host writes a prefix, one of full length as the address.
func host(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// since writes how long ago t was, empty if it never was.
func since(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(now.Sub(t))
}

// until writes how long it is to t; never if t is zero.
func until(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(t.Sub(now))
}

// span writes a duration as 00:00:05, 3d04h or 12w3d, as routers do.
func span(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	const day = 24 * 3600
	switch {
	case s < day:
		return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
	case s < 7*day:
		return fmt.Sprintf("%dd%02dh", s/day, s%day/3600)
	}
	return fmt.Sprintf("%dw%dd", s/(7*day), s%(7*day)/day)
}

// octets writes a number of octets to three digits.
func octets(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v /= 1000; v < 999.5 {
			return fmt.Sprintf("%.3g %s", v, unit)
		}
	}
	return fmt.Sprintf("%.0f EB", v/1000)
}

func count(n uint64) string { return fmt.Sprint(n) }

func yes(b bool, name string) string {
	if b {
		return name
	}
	return "no " + name
}
