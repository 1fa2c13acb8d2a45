// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestLongestPrefixWins(t *testing.T) { // CA-09
	c := NewTable[string]()
	c.Put(prefix("10.10.2.0/24"), "net", 10)
	c.Put(prefix("10.10.2.7/32"), "host", 20)
	c.Put(prefix("2001:db8::/32"), "six", 30)
	for _, x := range []struct{ address, want, prefix string }{
		{"10.10.2.7", "host", "10.10.2.7/32"},
		{"10.10.2.8", "net", "10.10.2.0/24"},
		{"2001:db8::1", "six", "2001:db8::/32"},
		{"10.10.3.1", "", ""},
	} {
		p, v, ok := c.Lookup(netip.MustParseAddr(x.address))
		if v != x.want || ok != (x.want != "") || ok && p.String() != x.prefix {
			t.Errorf("%s: %v %q %v, want %q", x.address, p, v, ok, x.want)
		}
	}
	if _, _, ok := c.Lookup(netip.Addr{}); ok {
		t.Error("the invalid address has an entry")
	}
}

func TestExpiredInTheOrderOfTheEnds(t *testing.T) { // CM-07
	c := NewTable[int]()
	c.Put(prefix("10.0.0.3/32"), 3, 5)
	c.Put(prefix("10.0.0.1/32"), 1, 7)
	c.Put(prefix("10.0.0.2/32"), 2, 5)
	c.Put(prefix("10.0.0.4/32"), 4, 9)
	c.Put(prefix("10.0.0.4/32"), 4, 4)
	if _, _, ok := c.Expired(3); ok {
		t.Fatal("gone before its end")
	}
	var got []int
	for {
		_, v, ok := c.Expired(6)
		if !ok {
			break
		}
		got = append(got, v)
	}
	if !slices.Equal(got, []int{4, 2, 3}) || c.Len() != 1 {
		t.Errorf("expired %v, left %d", got, c.Len())
	}
}

func TestOverlapping(t *testing.T) {
	c := NewTable[int]()
	for _, p := range []string{"10.10.0.0/16", "10.10.1.0/24", "10.10.1.128/25", "10.10.1.1/32", "10.10.2.0/24"} {
		c.Put(prefix(p), 0, 1)
	}
	got := c.Overlapping(prefix("10.10.1.0/24"))
	slices.SortFunc(got, netip.Prefix.Compare)
	want := []netip.Prefix{prefix("10.10.0.0/16"), prefix("10.10.1.0/24"), prefix("10.10.1.1/32"), prefix("10.10.1.128/25")}
	slices.SortFunc(want, netip.Prefix.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The queue does what a sorted list does.
func TestQueueAgainstASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := NewQueue(cmp.Compare[int])
		model := map[int]time.Duration{}
		first := func() (int, time.Duration) {
			key, at := 0, time.Duration(-1)
			for k, d := range model {
				if at < 0 || d < at || d == at && k < key {
					key, at = k, d
				}
			}
			return key, at
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, d := rapid.IntRange(0, 20).Draw(t, "key"), time.Duration(rapid.IntRange(0, 50).Draw(t, "at"))
				q.Set(k, d)
				model[k] = d
			},
			"remove": func(t *rapid.T) {
				k := rapid.IntRange(0, 20).Draw(t, "key")
				q.Remove(k)
				delete(model, k)
			},
			"due": func(t *rapid.T) {
				now := time.Duration(rapid.IntRange(0, 50).Draw(t, "now"))
				want, at := first()
				k, ok := q.Due(now)
				if ok != (at >= 0 && at <= now) || ok && k != want {
					t.Fatalf("due at %d: %d %v, want %d at %d", now, k, ok, want, at)
				}
				if ok {
					delete(model, k)
				}
			},
			"": func(t *rapid.T) {
				if q.Len() != len(model) {
					t.Fatalf("%d keys, want %d", q.Len(), len(model))
				}
			},
		})
	})
}
