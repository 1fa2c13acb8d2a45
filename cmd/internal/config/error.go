// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong in a configuration file.
type Error struct {
	File   string
	Line   int    // from 1
	Column int    // in octets, from 1
	Key    string // such as tunnel.dmvpn0.address; "" where the file cannot be read as TOML
	What   string // what is wrong
	Remedy string // what to write instead
}

// Error reads FILE:LINE:COLUMN: KEY: WHAT; REMEDY.
func (e Error) Error() string {
	text := e.What
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	if e.Key != "" {
		text = e.Key + ": " + text
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, text)
}

// Errors is everything that is wrong in a file, in the order of the file.
type Errors []Error

// Error has one line for each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
