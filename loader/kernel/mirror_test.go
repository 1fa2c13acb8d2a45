// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"dmvpn/loader/netnstest"
)

func mirror(t *testing.T, h *Host) *Routes {
	t.Helper()
	r, err := h.MirrorRoutes()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// TestAGuardIsSeenToGo: which unreachable routes are ours, and whether they stand.
func TestAGuardIsSeenToGo(t *testing.T) {
	h := host(t)
	r, apart := mirror(t, h), Table{ID: 77}
	netnstest.Run(t, "ip route add unreachable 10.99.0.0/16 metric 5")
	for _, text := range []string{"10.10.0.0/16", "fd10::/16"} {
		p := netip.MustParsePrefix(text)
		if r.Guarded(Table{}, p) {
			t.Errorf("%v is guarded before", p)
		}
		if err := h.InstallUnreachable(p); err != nil {
			t.Fatal(err)
		}
		netnstest.Eventually(t, "the guard", func() bool { return r.Guarded(Table{}, p) })
		netnstest.Run(t, "ip route del unreachable "+text+" metric 4278190134")
		netnstest.Eventually(t, "that it goes", func() bool { return !r.Guarded(Table{}, p) })
	}
	if r.Guarded(Table{}, netip.MustParsePrefix("10.99.0.0/16")) || !r.Guarded(apart, lan) {
		t.Error("another's is taken for ours, or what nobody knows for missing")
	}
}

func TestTheMirrorFollowsTheKernel(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	netnstest.Run(t, "ip route add 10.10.0.0/16 via 10.0.0.1 dev dmvpn0")
	r := mirror(t, h)
	to := netip.MustParseAddr("10.10.2.9")
	if got, ok := r.Lookup(to); !ok || got.NextHop != hub || got.IfIndex != d.Index || got.NHRP || got.Local {
		t.Errorf("routed path: %+v", got)
	}
	install(t, h, lan, spoke, d.Index)
	netnstest.Eventually(t, "the shortcut", func() bool { got, _ := r.Lookup(to); return got.NHRP && got.NextHop == spoke })
	if got, ok := r.LookupWithout(to); !ok || got.NextHop != hub || got.Prefix.Bits() != 16 {
		t.Errorf("without ours: %+v", got)
	}
	if got := r.Inside(netip.MustParsePrefix("10.10.0.0/16")); len(got) != 1 || got[0] != lan {
		t.Errorf("inside: %v", got)
	}
	select {
	case <-r.Changed():
	default:
		t.Error("no word of the change")
	}
	if got, ok := r.Lookup(spec.Addresses[0].Addr()); !ok || !got.Local {
		t.Errorf("our own address: %+v", got)
	}
	if got, ok := r.Lookup(spoke); !ok || got.NextHop != spoke || got.Prefix != spec.Addresses[0].Masked() {
		t.Errorf("on link: %+v", got)
	}
	if got, ok := r.Lookup(netip.MustParseAddr("203.0.113.1")); ok {
		t.Errorf("no route: %+v", got)
	}
	// The kernel announces none of the routes that go with the device.
	netnstest.Run(t, "ip link set dmvpn0 down")
	netnstest.Eventually(t, "the routes of the device that is down", func() bool { _, ok := r.Lookup(to); return !ok })
}

// TestTheMirrorAgreesWithTheKernelOnRandomRoutes adds, replaces, appends and
// deletes routes and compares with `ip route get`.
func TestTheMirrorAgreesWithTheKernelOnRandomRoutes(t *testing.T) {
	h := host(t)
	ensure(t, h, spec)
	netnstest.Run(t, "ip link add w0 type veth peer name w1")
	netnstest.Run(t, "ip address add 192.0.2.1/24 dev w0")
	netnstest.Run(t, "ip link set w1 up")
	netnstest.Run(t, "ip link set w0 up")
	r := mirror(t, h)
	prefixes := []string{"0.0.0.0/0", "10.0.0.0/8", "10.10.0.0/16", "10.10.2.0/24", "10.10.2.128/25", "10.10.2.9/32", "10.11.0.0/16"}
	vias := []string{"via 10.0.0.1 dev dmvpn0", "via 10.0.0.12 dev dmvpn0", "via 192.0.2.2 dev w0", "dev w0", "via 192.0.2.3 dev w0 proto 54"}
	kinds := append([]string{"unreachable", "blackhole", "prohibit", "throw"}, vias...)
	destinations := []string{"10.10.2.9", "10.10.2.200", "10.10.2.1", "10.10.9.9", "10.11.0.1", "10.99.0.1", "203.0.113.1", "10.0.0.11", "192.0.2.77"}
	rapid.Check(t, func(rt *rapid.T) {
		changes := []string{"route flush proto boot", "route flush proto 54"}
		for range rapid.IntRange(1, 10).Draw(rt, "changes") {
			verb := rapid.SampledFrom([]string{"add", "replace", "append", "prepend", "del"}).Draw(rt, "verb")
			prefix := rapid.SampledFrom(prefixes).Draw(rt, "prefix")
			kind := rapid.SampledFrom(kinds).Draw(rt, "kind")
			metric := rapid.SampledFrom([]string{"", " metric 20", " metric 300"}).Draw(rt, "metric")
			if strings.Contains(kind, "dev") {
				changes = append(changes, fmt.Sprintf("route %s %s %s%s", verb, prefix, kind, metric))
			} else {
				changes = append(changes, fmt.Sprintf("route %s %s %s%s", verb, kind, prefix, metric))
			}
		}
		batch(changes) // many are refused, by the kernel, not by us
		want := kernelSays(destinations)
		for _, to := range destinations {
			got := mirrorSays(h, r, to)
			for range 400 { // netlink is a moment behind
				if got == want[to] {
					break
				}
				time.Sleep(5 * time.Millisecond)
				got = mirrorSays(h, r, to)
			}
			if got != want[to] {
				rt.Fatalf("%s: mirror %q, kernel %q\n%s", to, got, want[to], netnstest.Run(t, "ip route show table all"))
			}
		}
	})
}

// batch gives ip many commands at once, whether each succeeds or not, and returns
// what it wrote.
func batch(commands []string) string {
	cmd := exec.Command("ip", "-force", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, _ := cmd.Output() // its status tells of those that failed
	return string(out)
}

// kernelSays puts `ip route get` into the words of mirrorSays, by destination.
func kernelSays(destinations []string) map[string]string {
	says := map[string]string{}
	var commands []string
	for _, to := range destinations {
		says[to] = "none"
		commands = append(commands, "route get "+to)
	}
	for line := range strings.Lines(batch(commands)) {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, " "): // flags of the line before
		case words[0] == "local":
			says[words[1]] = "local"
		default:
			via, device := words[0], ""
			for i := range len(words) - 1 {
				switch words[i] {
				case "via":
					via = words[i+1]
				case "dev":
					device = words[i+1]
				}
			}
			says[words[0]] = via + " " + device
		}
	}
	return says
}

func mirrorSays(h *Host, r *Routes, to string) string {
	switch got, ok := r.Lookup(netip.MustParseAddr(to)); {
	case !ok, got.Unreachable:
		return "none"
	case got.Local:
		return "local"
	default:
		return got.NextHop.String() + " " + h.DeviceName(got.IfIndex)
	}
}

func TestAnOverrunIsReadAgain(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	r := mirror(t, h)
	// As after lost messages: a route that stands and one that does not.
	r.mu.Lock()
	r.table = routeTable{}
	r.table.insert(entry{table: 254, route: Route{Prefix: lan, IfIndex: d.Index}}, false, false)
	r.mu.Unlock()
	r.handle(nil, errOverrun)
	if _, ok := r.Lookup(netip.MustParseAddr("10.10.2.9")); ok {
		t.Error("a route that is gone is still known")
	}
	if got, ok := r.Lookup(spoke); !ok || got.IfIndex != d.Index {
		t.Errorf("a route that stands is not known: %+v", got)
	}
}
