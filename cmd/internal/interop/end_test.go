// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestTwoEndsAgreeIfOneIsTheOtherInAMirror(t *testing.T) {
	sa := func(i, r string, children ...childSA) []ikeSA { return []ikeSA{{i, r, children}} }
	one := childSA{in: "c1", out: "c2"}
	for _, c := range []struct {
		name string
		a, b []ikeSA
		want bool
	}{
		{"both have nothing", nil, nil, true},
		{"one has nothing", sa("1", "2", one), nil, false},
		{"what goes out here comes in there", sa("1", "2", one), sa("1", "2", childSA{in: "c2", out: "c1"}), true},
		{"the same direction at both", sa("1", "2", one), sa("1", "2", one), false},
		{"the SPIs of the IKE SA are swapped", sa("1", "2", one), sa("2", "1", childSA{in: "c2", out: "c1"}), false},
		{"only one says UDP", sa("1", "2", one), sa("1", "2", childSA{in: "c2", out: "c1", encap: true}), false},
		{"several, in another order", sa("1", "2", one, childSA{in: "c3", out: "c4"}),
			sa("1", "2", childSA{in: "c4", out: "c3"}, childSA{in: "c2", out: "c1"}), true},
		{"one Child SA too many", sa("1", "2", one), sa("1", "2", childSA{in: "c4", out: "c3"}, childSA{in: "c2", out: "c1"}), false},
	} {
		if got := agree(c.a, c.b); got != c.want {
			t.Errorf("%s: %s and %s: %t", c.name, describe(c.a), describe(c.b), got)
		}
	}
}
