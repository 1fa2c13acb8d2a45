// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
)

// verdicts say of each expectation whether it holds. What does not is no reason to measure
// nothing further: it fails the whole in the end.
type verdicts struct {
	fresh []string // not yet printed
	bad   error
}

func (v *verdicts) atMost(what string, got, limit float64) {
	v.note(what, fmt.Sprintf("%.3f, at most %.2f", got, limit), got <= limit)
}

func (v *verdicts) atLeast(what string, got, limit float64) {
	v.note(what, fmt.Sprintf("%.3f, at least %.2f", got, limit), got >= limit)
}

func (v *verdicts) note(what, numbers string, holds bool) {
	said := "holds"
	if !holds {
		said = "DOES NOT HOLD"
		v.bad = errors.Join(v.bad, fmt.Errorf("%s: %s", what, numbers))
	}
	v.fresh = append(v.fresh, fmt.Sprintf("- %s: %s: %s", what, numbers, said))
}

// print prints those that are new.
func (v *verdicts) print() {
	fmt.Printf("Expected:\n\n")
	for _, line := range v.fresh {
		fmt.Println(line)
	}
	fmt.Println()
	v.fresh = nil
}
