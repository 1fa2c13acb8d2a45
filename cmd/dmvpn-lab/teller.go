// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Columns of running text.
const columns = 76

// A teller sets the story: numbered headings, running text, what was measured.
// Colour only on a terminal, and not where NO_COLOR is set.
type teller struct {
	out    io.Writer
	colour bool
	step   int
	began  time.Time
}

func newTeller(out io.Writer) *teller {
	t := &teller{out: out, began: time.Now()}
	if f, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		t.colour = err == nil
	}
	return t
}

// Styles, by their ECMA-48 numbers.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (t *teller) style(style, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (t *teller) line(text string) {
	// A terminal that goes away ends the program by SIGPIPE or SIGHUP.
	_, _ = fmt.Fprintln(t.out, strings.TrimRight(text, " "))
}

// title begins the story.
func (t *teller) title(text string) {
	t.line("")
	t.line(t.style(bold, text))
	t.line(t.style(dim, strings.Repeat("─", len([]rune(text)))))
}

// chapter begins a numbered part.
func (t *teller) chapter(text string) {
	t.step++
	t.line("")
	t.line(t.style(bold, fmt.Sprintf("%d  %s", t.step, text)))
}

// say sets running text.
func (t *teller) say(format string, args ...any) {
	t.line("")
	for _, l := range wrap(fmt.Sprintf(format, args...), columns-3) {
		t.line("   " + l)
	}
	t.line("")
}

// show sets what a program printed, or a drawing, as it is.
func (t *teller) show(text string) {
	for l := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		t.line("     " + l)
	}
}

// run sets a command that the reader could have typed.
func (t *teller) run(node, command string) {
	t.line("     " + t.style(dim, node+"# ") + command)
}

// holds notes that what was claimed is so.
func (t *teller) holds(format string, args ...any) {
	for i, l := range wrap(fmt.Sprintf(format, args...), columns-5) {
		mark := "  "
		if i == 0 {
			mark = t.style(green, "✓") + " "
		}
		t.line("   " + mark + l)
	}
}

// fails says what does not hold, and why.
func (t *teller) fails(what string, err error) {
	t.line("")
	t.line(t.style(red, "✗ "+what))
	for l := range strings.SplitSeq(err.Error(), "\n") {
		t.line("  " + l)
	}
}

// wrap breaks text into lines of at most so many characters.
func wrap(text string, width int) []string {
	var lines []string
	var line string
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
