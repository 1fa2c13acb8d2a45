// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"testing"
)

// carried is a plane that remembers what is said of its carrier.
type carried struct {
	plane
	said []bool
}

func (c *carried) Carrier(up bool) error {
	c.said = append(c.said, up)
	return nil
}

// TestAServerOfEitherFamilyKeepsTheCarrier: it is lost when both have none.
func TestAServerOfEitherFamilyKeepsTheCarrier(t *testing.T) {
	const four, six = 0, 1
	for _, c := range []struct {
		families int
		steps    string // 4 and 6 up, f and s down
		want     string
	}{
		{1, "4f4", "[true false true]"},
		{1, "f", "[false]"},
		{2, "f", "[]"}, // the other may have one
		{2, "fs", "[false]"},
		{2, "4fs", "[true false]"},
		{2, "46f", "[true true]"},
		{2, "46fs6", "[true true false true]"},
	} {
		p, shares := &carried{}, newShares()
		families := [2]*share{{plane: p, shares: shares}, {plane: p, shares: shares, six: true}}
		for i := range c.families {
			shares.carriers[i].wanted = true
		}
		for _, step := range c.steps {
			at := four
			if step == '6' || step == 's' {
				at = six
			}
			if err := families[at].Carrier(step == '4' || step == '6'); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(p.said); got != c.want {
			t.Errorf("%d families, %s: %s, expected %s", c.families, c.steps, got, c.want)
		}
	}
}
