// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
)

// alone is the kernel in a namespace with no device but lo.
func alone(t *testing.T) *kernel.Host {
	t.Helper()
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo up")
	h, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestUnreachableRoutesAreRememberedUntilTheyAreReleased(t *testing.T) {
	h := alone(t)
	dir := t.TempDir()
	one, two := PathsOf(dir, "one"), PathsOf(dir, "two")
	place := func(s string) Place {
		p, err := parsePlace(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	stand := func(p Paths, prefixes ...string) {
		t.Helper()
		u, err := OpenUnreachable(p, h)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range prefixes {
			if err := u.Stand(place(s)); err != nil {
				t.Fatal(err)
			}
		}
	}
	standing := func(want ...string) {
		t.Helper()
		out := netnstest.Run(t, "ip route show table all type unreachable")
		for _, p := range want {
			if !strings.Contains(out, "unreachable "+p+" ") {
				t.Errorf("%s is not there: %s", p, out)
			}
		}
		if n := strings.Count(out, "unreachable"); n != len(want) {
			t.Errorf("%d routes, want %d: %s", n, len(want), out)
		}
	}
	stand(one, "10.0.0.1/24", "10.0.0.11/32", "10.10.1.0/24", "10.10.1.128/25")
	standing("10.0.0.0/24", "10.10.1.0/24")
	netnstest.Run(t, "ip route del unreachable 10.10.1.0/24")
	// A line that a crash cut off does not count; the next one begins anew.
	f, err := os.OpenFile(one.Unreachable, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("10.99.0"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	u, err := OpenUnreachable(one, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Stand(place("128.0.0.0/1")); err != nil {
		t.Fatal(err)
	}
	standing("10.0.0.0/24", "10.10.1.0/24", "128.0.0.0/1")
	for range 2 { // what was lifted stays away, also after the next start
		if _, err := u.Lift(func(p Place) bool { return p.Table == 0 && p.Prefix.Contains(netip.MustParseAddr("192.0.2.1")) }); err != nil {
			t.Fatal(err)
		}
		standing("10.0.0.0/24", "10.10.1.0/24")
		if err := u.Stand(place("128.0.0.0/1")); err != nil {
			t.Fatal(err)
		}
	}
	// What somebody else removes stands again, until the end.
	netnstest.Run(t, "ip route del unreachable 10.10.1.0/24")
	there := func(p Place) bool {
		return strings.Contains(netnstest.Run(t, "ip route show table all type unreachable"), "unreachable "+p.Prefix.String()+" ")
	}
	if restored, err := u.Restore(there); err != nil || len(restored) != 1 || restored[0] != place("10.10.1.0/24") || u.Missing(there) {
		t.Errorf("restored %v, %v", restored, err)
	}
	standing("10.0.0.0/24", "10.10.1.0/24")
	u.End()
	netnstest.Run(t, "ip route del unreachable 10.10.1.0/24")
	if restored, err := u.Restore(there); err != nil || len(restored) != 0 || u.Missing(there) || u.Stand(place("10.30.0.0/16")) != nil {
		t.Errorf("after the end restored %v, %v", restored, err)
	}
	standing("10.0.0.0/24")
	stand(one, "10.10.2.0/24", "10.20.0.0/16 table 101")
	stand(two, "10.10.2.0/24", "10.20.0.0/16")
	standing("10.0.0.0/24", "10.10.1.0/24", "10.10.2.0/24", "10.20.0.0/16", "10.20.0.0/16 table 101")
	for range 2 {
		if err := Release(one); err != nil {
			t.Fatal(err)
		}
		standing("10.10.2.0/24", "10.20.0.0/16")
	}
	if err := Release(two); err != nil {
		t.Fatal(err)
	}
	standing()
}
