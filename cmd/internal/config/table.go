// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// document is a file that is being read: its places and what is wrong so far.
type document struct {
	file     string
	places   places
	errors   Errors
	warnings Errors
}

// table reads one TOML table key by key. What is not asked for is unknown: done
// refuses it.
type table struct {
	doc    *document
	path   string
	values map[string]any
	asked  []string
}

func (d *document) fail(at position, key, what, remedy string) {
	if at.line == 0 {
		at = position{1, 1}
	}
	d.errors = append(d.errors, Error{d.file, at.line, at.column, key, what, remedy})
}

// failValue reports a bad value at the value's place.
func (d *document) failValue(path, what, remedy string) {
	at, ok := d.places.values[path]
	if !ok {
		at = d.places.keys[path]
	}
	d.fail(at, path, what, remedy)
}

// warnValue notes what is allowed and better written otherwise.
func (d *document) warnValue(path, what, remedy string) {
	at := d.places.values[path]
	d.warnings = append(d.warnings, Error{d.file, at.line, at.column, path, what, remedy})
}

// failMissing reports a key that is not there, at its table's heading.
func (t *table) failMissing(key, remedy string) {
	t.doc.fail(t.doc.places.keys[t.path], join(t.path, key), "missing", remedy)
}

func (t *table) get(key string) (any, bool) {
	t.asked = append(t.asked, key)
	v, ok := t.values[key]
	return v, ok
}

// text gives a string, "" if it is absent or wrong; wrong is reported.
func (t *table) text(key, remedy string) string {
	v, ok := t.get(key)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok || s == "" {
		what := "an empty string"
		if !ok {
			what = kind(v) + " where a string belongs"
		}
		t.doc.failValue(join(t.path, key), what, remedy)
		return ""
	}
	return s
}

// truth gives a boolean, or otherwise if it is absent.
func (t *table) truth(key string, otherwise bool) bool {
	v, ok := t.get(key)
	if !ok {
		return otherwise
	}
	b, ok := v.(bool)
	if !ok {
		t.doc.failValue(join(t.path, key), kind(v)+" where a truth value belongs", "write true or false, without quotes")
		return otherwise
	}
	return b
}

// number gives an integer from least to most, and whether it is there and good.
func (t *table) number(key string, least, most int64) (int64, bool) {
	v, ok := t.get(key)
	if !ok {
		return 0, false
	}
	n, ok := v.(int64)
	if !ok {
		t.doc.failValue(join(t.path, key), kind(v)+" where a whole number belongs",
			fmt.Sprintf("write a number from %d to %d, without quotes", least, most))
		return 0, false
	}
	if n < least || n > most {
		t.doc.failValue(join(t.path, key), fmt.Sprintf("%d is out of range", n),
			fmt.Sprintf("write a number from %d to %d", least, most))
		return 0, false
	}
	return n, true
}

// duration gives a time from least to most, or otherwise if it is absent or wrong.
func (t *table) duration(key string, least, most, otherwise time.Duration) time.Duration {
	remedy := fmt.Sprintf("write a string such as %q, from %v to %v", "90s", least, most)
	s := t.text(key, remedy)
	if s == "" {
		return otherwise
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.doc.failValue(join(t.path, key), fmt.Sprintf("%q is not a length of time", s), remedy)
		return otherwise
	}
	if d < least || d > most {
		t.doc.failValue(join(t.path, key), fmt.Sprintf("%q is out of range", s), remedy)
		return otherwise
	}
	return d
}

// texts calls each with the path and content of every element of an array of strings.
func (t *table) texts(key, remedy string, each func(path, s string)) {
	v, ok := t.get(key)
	if !ok {
		return
	}
	path := join(t.path, key)
	list, ok := v.([]any)
	if !ok {
		t.doc.failValue(path, kind(v)+" where an array of strings belongs", remedy)
		return
	}
	for i, element := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if s, ok := element.(string); ok {
			each(at, s)
			continue
		}
		t.doc.failValue(at, kind(element)+" where a string belongs", remedy)
	}
}

// sub gives the table of a key; an empty one if it is absent or wrong.
func (t *table) sub(key, remedy string) (*table, bool) {
	path := join(t.path, key)
	v, ok := t.get(key)
	if !ok {
		return &table{doc: t.doc, path: path}, false
	}
	values, ok := v.(map[string]any)
	if !ok {
		t.doc.failValue(path, kind(v)+" where a table belongs", remedy)
		return &table{doc: t.doc, path: path}, false
	}
	return &table{doc: t.doc, path: path, values: values}, true
}

// subs gives the tables of [[key]].
func (t *table) subs(key, remedy string) []*table {
	path := join(t.path, key)
	v, ok := t.get(key)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		t.doc.failValue(path, kind(v)+" where an array of tables belongs", remedy)
		return nil
	}
	var tables []*table
	for i, element := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		values, ok := element.(map[string]any)
		if !ok {
			t.doc.failValue(at, kind(element)+" where a table belongs", remedy)
			continue
		}
		tables = append(tables, &table{doc: t.doc, path: at, values: values})
	}
	return tables
}

// done refuses every key that nobody asked for.
func (t *table) done() {
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		if slices.Contains(t.asked, key) {
			continue
		}
		path := join(t.path, key)
		remedy := "the keys here are " + strings.Join(t.asked, ", ")
		if near := nearest(key, t.asked); near != "" {
			remedy = fmt.Sprintf("did you mean %q?", near)
		}
		t.doc.fail(t.doc.places.keys[path], path, "unknown key", remedy)
	}
}

// kind names a decoded value for the operator.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a truth value"
	case int64:
		return "a whole number"
	case float64:
		return "a decimal number"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}
