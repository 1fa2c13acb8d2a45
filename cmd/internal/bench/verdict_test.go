// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"
)

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name  string
		note  func(*verdicts)
		holds bool
	}{
		{"at the upper limit", func(v *verdicts) { v.atMost("", 1.1, 1.1) }, true},
		{"above it", func(v *verdicts) { v.atMost("", 1.11, 1.1) }, false},
		{"at the lower limit", func(v *verdicts) { v.atLeast("", 0.9, 0.9) }, true},
		{"below it", func(v *verdicts) { v.atLeast("", 0.89, 0.9) }, false},
		{"not a number is not below", func(v *verdicts) { v.atMost("", math.NaN(), 1) }, false},
		{"nor above", func(v *verdicts) { v.atLeast("", math.NaN(), 1) }, false},
		{"one of two", func(v *verdicts) { v.atMost("", 2, 1); v.atMost("", 1, 1) }, false},
	} {
		var v verdicts
		if c.note(&v); (v.bad == nil) != c.holds {
			t.Errorf("%s: %v", c.name, v.bad)
		}
	}
}
