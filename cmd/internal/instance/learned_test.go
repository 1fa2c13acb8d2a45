// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"dmvpn/loader/netnstest"
)

// TestWhatIsLearnedOfOnePeerIsBounded: also by what it was before a restart; whatever it says, nothing
// that stands goes, and others and the configuration have room.
func TestWhatIsLearnedOfOnePeerIsBounded(t *testing.T) {
	h := alone(t)
	paths := PathsOf(t.TempDir(), "one")
	open := func() *Unreachable {
		t.Helper()
		u, err := OpenUnreachable(paths, h)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	nth := func(n int) Place { // of 100.64.0.0/10, a /26 each
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 100<<24|64<<16|uint32(n)<<6)
		return Place{Prefix: netip.PrefixFrom(netip.AddrFrom4(a), 26)}
	}
	place := func(s string) Place { return Place{Prefix: netip.MustParsePrefix(s)} }
	u := open()
	step := func(name string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	standing := func(want int) {
		t.Helper()
		if n := strings.Count(netnstest.Run(t, "ip route show table all type unreachable"), "unreachable"); n != want {
			t.Errorf("%d routes stand, want %d", n, want)
		}
	}
	here := netip.MustParseAddr("192.0.2.1")
	eve, bob := Peer{"dmvpn0", `CN="eve" of nowhere`}, Peer{"dmvpn0", "bob"}
	for n := range LearnedOfOne {
		if err := u.Learn(nth(n), eve, here); err != nil {
			t.Fatal(err)
		}
	}
	for _, run := range []string{"this run", "the next one"} {
		step(run+": one more", u.Learn(nth(LearnedOfOne), eve, here), ErrLearnedOfOne)
		step(run+": one that stands", u.Learn(nth(7), eve, here), nil)
		step(run+": within one that stands", u.Learn(Place{Prefix: netip.PrefixFrom(nth(7).Prefix.Addr(), 32)}, eve, here), nil)
		standing(LearnedOfOne)
		u = open()
	}
	step("another's", u.Learn(nth(LearnedOfOne), bob, here), nil)
	standing(LearnedOfOne + 1)
	step("the configuration names one of them", u.Stand(nth(7)), nil)
	step("which makes room for one", u.Learn(nth(LearnedOfOne+1), eve, here), nil)
	step("and no more", u.Learn(nth(LearnedOfOne+2), eve, here), ErrLearnedOfOne)
	step("it names a wider one", u.Stand(place("100.64.0.0/20")), nil) // 64 of them
	standing(LearnedOfOne + 3)
	for n := range 63 {
		step("which makes room", u.Learn(nth(LearnedOfOne+2+n), eve, here), nil)
	}
	step("for those in it", u.Learn(nth(LearnedOfOne+2+63), eve, here), ErrLearnedOfOne)
	if _, err := u.Lift(func(p Place) bool { return p == nth(1000) }); err != nil {
		t.Fatal(err)
	}
	step("one is lifted", u.Learn(nth(LearnedOfOne+2+63), eve, here), nil)
	u.limit = u.by["dmvpn0"] + 1
	step("there is room for one", u.Learn(place("10.10.1.0/24"), bob, here), nil)
	step("there is none for anybody", u.Learn(place("10.10.2.0/24"), bob, here), ErrLearned)
	step("but for the configuration", u.Stand(place("10.10.2.0/24")), nil)
	if err := Release(paths); err != nil {
		t.Fatal(err)
	}
	standing(0)
}

// TestOneAddressHasManyNames: with a shared key each is as good as another.
func TestOneAddressHasManyNames(t *testing.T) {
	h := alone(t)
	for _, c := range []struct{ name, one, another, elsewhere string }{
		{"IPv4", "192.0.2.1", "192.0.2.1", "192.0.2.2"},
		{"IPv6: a site has as many addresses as it likes", "2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"},
	} {
		u, err := OpenUnreachable(PathsOf(t.TempDir(), "one"), h)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		learn := func(at string) error {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], 100<<24|64<<16|uint32(n)<<6)
			n++
			return u.Learn(Place{Prefix: netip.PrefixFrom(netip.AddrFrom4(a), 26)}, Peer{"dmvpn0", strconv.Itoa(n / 100)}, netip.MustParseAddr(at))
		}
		for range learnedAtOne {
			if err := learn(c.one); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if err := learn(c.another); !errors.Is(err, ErrLearnedAtOne) {
			t.Errorf("%s: one more: %v", c.name, err)
		}
		if err := learn(c.elsewhere); err != nil {
			t.Errorf("%s: elsewhere: %v", c.name, err)
		}
		if err := Release(PathsOf(filepath.Dir(u.path), "one")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTunnelsShareNoLimit: what one tunnel's peers have used up, at an address that is another's peers' as well, is that
// tunnel's alone, also after a restart.
func TestTunnelsShareNoLimit(t *testing.T) {
	h := alone(t)
	paths := PathsOf(t.TempDir(), "one")
	here, elsewhere := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	n := 0
	next := func() Place {
		n++
		return Place{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(n), 0}), 24)}
	}
	for run := range 2 {
		u, err := OpenUnreachable(paths, h)
		if err != nil {
			t.Fatal(err)
		}
		u.limit, u.atOne = 3, 2
		for _, step := range []struct {
			of   Peer
			at   netip.Addr
			want [2]error // of each run
		}{
			{Peer{"dmvpn0", "eve"}, here, [2]error{nil, ErrLearned}},
			{Peer{"dmvpn0", "bob"}, here, [2]error{nil, ErrLearned}},
			{Peer{"dmvpn0", "mallory"}, here, [2]error{ErrLearnedAtOne, ErrLearned}},
			{Peer{"dmvpn0", "mallory"}, elsewhere, [2]error{nil, ErrLearned}},
			{Peer{"dmvpn0", "carol"}, elsewhere, [2]error{ErrLearned, ErrLearned}},
			{Peer{"dmvpn1", "eve"}, here, [2]error{}},
			{Peer{"dmvpn1", "carol"}, elsewhere, [2]error{nil, ErrLearned}},
		} {
			if err := u.Learn(next(), step.of, step.at); !errors.Is(err, step.want[run]) {
				t.Errorf("run %d: %s at %s: %v, want %v", run+1, step.of, step.at, err, step.want[run])
			}
		}
	}
	if err := Release(paths); err != nil {
		t.Fatal(err)
	}
}
