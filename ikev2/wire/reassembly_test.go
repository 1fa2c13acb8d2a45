// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"testing"

	"dmvpn/ikev2/wire"
)

// step is one verified fragment: its number, the total, its text.
type step struct {
	number, total uint16
	text          string
}

func TestFragmentsBecomeTheMessage(t *testing.T) {
	cases := []struct {
		name  string
		steps []step
		want  string // "" where nothing is complete
	}{
		{"one fragment", []step{{1, 1, "all"}}, "all"},
		{"in order", []step{{1, 3, "a"}, {2, 3, "b"}, {3, 3, "c"}}, "abc"},
		{"in the worst order", []step{{3, 3, "c"}, {2, 3, "b"}, {1, 3, "a"}}, "abc"},
		{"a copy changes nothing", []step{{1, 2, "a"}, {1, 2, "x"}, {2, 2, "b"}}, "ab"},
		{"one missing", []step{{1, 3, "a"}, {3, 3, "c"}}, ""},
		{"a larger total begins anew", []step{{1, 2, "long"}, {1, 3, "a"}, {2, 3, "b"}, {3, 3, "c"}}, "abc"},
		{"a smaller total is late", []step{{1, 3, "a"}, {1, 2, "x"}, {2, 2, "y"}, {2, 3, "b"}, {3, 3, "c"}}, "abc"},
		{"an empty fragment counts", []step{{1, 2, "a"}, {2, 2, ""}}, "a"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var r wire.Reassembly
			complete := false
			for _, s := range c.steps {
				f := &wire.Fragment{Number: s.number, Total: s.total}
				if s.number == 1 {
					f.Inner = wire.PayloadIDInitiator
				}
				text := []byte(s.text)
				var err error
				if complete, err = r.Add(f, text); err != nil {
					t.Fatal(err)
				}
				clear(text) // it must have been copied
			}
			if complete != (c.want != "") {
				t.Fatalf("complete is %v", complete)
			}
			if complete {
				if first, text := r.Message(); string(text) != c.want || first != wire.PayloadIDInitiator {
					t.Errorf("got %q, first %s", text, first)
				}
			}
			r.Reset()
			if have, total := r.Pending(); have != 0 || total != 0 {
				t.Errorf("%d of %d after Reset", have, total)
			}
		})
	}
}

func TestReassemblyIsBounded(t *testing.T) {
	var r wire.Reassembly
	piece := make([]byte, 40000)
	if _, err := r.Add(&wire.Fragment{Number: 1, Total: 3}, piece); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(&wire.Fragment{Number: 2, Total: 3}, piece); !errors.Is(err, wire.ErrSyntax) {
		t.Errorf("80,000 octets: %v", err)
	}
	if have, _ := r.Pending(); have != 0 {
		t.Errorf("%d fragments kept after the bound was passed", have)
	}
	for _, f := range []wire.Fragment{{Number: 0, Total: 1}, {Number: 2, Total: 1}, {Number: 1, Total: 33}} {
		if _, err := r.Add(&f, nil); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%d of %d: %v", f.Number, f.Total, err)
		}
	}
}
