// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestARestartKeepsTheAdjacencies: our daemon on the hub, then on a spoke, is away for a while,
// stopped and killed. The tunnel keeps its carrier, hellos wait, and neither OSPF nor BGP
// loses a neighbour.
func TestARestartKeepsTheAdjacencies(t *testing.T) { modes(t, aRestartKeepsTheAdjacencies) }

func aRestartKeepsTheAdjacencies(t *testing.T, m mode) {
	c := carried(t, m, 2, "hub.toml")
	f := frr(t, c, "frr-ospf-p2mp-hub.conf", "frr-ospf-p2mp-spoke.conf", "ospfd", "bgpd")
	for n := range f {
		check(t, f[n].Load(t.Context(), examples(t, "frr-ibgp-hub.conf", "frr-ibgp-spoke.conf")(n)))
	}
	for n := 1; n <= 2; n++ {
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
	}
	established(t, c, f)
	const dead = 20 * time.Second // as the example has it
	greeted(t, c, f, dead, time.Time{})
	all := f.witnesses("ospfd", "bgpd")
	// A hello of OSPF may be missed, and BGP's keepalive.
	restarts(t, c, 4*time.Second, 4, func(when string, back time.Time) {
		until(t, c, patience, func() error {
			_, err := c.Hosts[0].Ping(cloud.Host(2), 0, time.Second)
			return err
		})
		greeted(t, c, f, dead, back)
		faithful(t, when, all)
	})
}

// TestARestartAtOnceKeepsTheAdjacency: our daemon restarts while the newest hello that the others have sent
// is from before they had heard this node, and says that it is not there.
func TestARestartAtOnceKeepsTheAdjacency(t *testing.T) {
	for _, node := range []string{"hub", "spoke1"} {
		t.Run(node, func(t *testing.T) {
			modes(t, func(t *testing.T, m mode) { aRestartAtOnceKeepsTheAdjacency(t, m, node) })
		})
	}
}

func aRestartAtOnceKeepsTheAdjacency(t *testing.T, m mode, node string) {
	const hello, dead = 9 * time.Second, 36 * time.Second
	c := carried(t, m, 1, "hub.toml")
	text := examples(t, "frr-ospf-p2mp-hub.conf", "frr-ospf-p2mp-spoke.conf")
	f := frrAs(t, c, func(n int) string {
		return strings.NewReplacer("hello-interval 5", "hello-interval 9\n ip ospf passive", "dead-interval 20", "dead-interval 36").Replace(text(n))
	}, "ospfd")
	all := f.witnesses("ospfd")
	speak := func(n int) { f.typed(t, n, "configure terminal", "interface dmvpn0", "no ip ospf passive") }
	first := 0
	if node != "hub" {
		first = 1
	}
	speak(first) // at once, and again after an interval: the other hears that one alone
	time.Sleep(hello / 2)
	speak(1 - first)
	for _, w := range all {
		until(t, c, patience, func() error {
			if !stood.MatchString(w.log.Output()) {
				return fmt.Errorf("%s has no neighbour", w.what)
			}
			return nil
		})
	}
	restart(t, c, restarting{node, stopped, 0, []int{4}})
	greeted(t, c, f, dead, time.Now())
	faithful(t, node+" stopped", all)
}

// TestAQuickRestartKeepsFastAdjacencies: the same with the shortest timers that docs/routing.md says
// outlive it, in one tunnel that carries IPv4 and IPv6. The daemon is started again at once or, killed, after
// a moment.
//
//	IPv4  FRR: OSPF by multicast, 1 s and 4 s; iBGP with BFD, 300 ms × 10
//	IPv6  BIRD: OSPFv3 by unicast, 1 s and 4 s
func TestAQuickRestartKeepsFastAdjacencies(t *testing.T) {
	modesAlone(t, aQuickRestartKeepsFastAdjacencies)
}

func aQuickRestartKeepsFastAdjacencies(t *testing.T, m mode) {
	const dead = 4 * time.Second
	both := []int{4, 6}
	c := carriedAs(t, m, both, 2, inBoth(examples(t, "hub.toml", "spoke.toml")))
	timers := strings.NewReplacer("hello-interval 5", "hello-interval 1", "dead-interval 20", "dead-interval 4",
		"hello 3; dead 12", "hello 1; dead 4", "detect-multiplier 3", "detect-multiplier 10")
	fast := func(text func(n int) string) func(n int) string {
		return func(n int) string { return timers.Replace(text(n)) }
	}
	f := frrAs(t, c, fast(examples(t, "frr-ospf-p2mp-hub.conf", "frr-ospf-p2mp-spoke.conf")), "ospfd", "bfdd", "bgpd")
	for n := range f {
		check(t, f[n].Load(t.Context(), fast(examples(t, "frr-ibgp-bfd-hub.conf", "frr-ibgp-bfd-spoke.conf"))(n)))
	}
	b := birdsAs(t, c, fast(examples(t, "bird-ospf6-hub.conf", "bird-ospf6-spoke.conf")))
	stand := func(since time.Time) {
		t.Helper()
		established(t, c, f)
		sessions(t, c, f)
		greeted(t, c, f, dead, since)
		greetedByBIRD(t, c, b, dead, since)
	}
	stand(time.Time{})
	all := append(f.witnesses("ospfd", "bgpd"), birdWitnesses(b)...)
	losses := bfdLosses(t, f)
	for _, node := range []string{"hub", "spoke1"} {
		for _, r := range []restarting{{node, stopped, 0, both}, {node, killed, time.Second, both}} {
			quickly(t, c, r, stand, all, func() error {
				before := losses
				if losses = bfdLosses(t, f); losses > before {
					return fmt.Errorf("%d sessions of BFD were lost", losses-before)
				}
				return nil
			})
		}
	}
}

// inBoth lets a node's dmvpnd.toml for IPv4 carry IPv6 as well.
func inBoth(text func(n int) string) func(n int) string {
	return func(n int) string {
		four, six := cloud.TunnelOf(4, n).String()+"/24", cloud.TunnelOf(6, n).String()+"/64"
		return strings.NewReplacer(strconv.Quote(four), fmt.Sprintf("[%q, %q]", four, six), `["10.10.0.0/16"]`, `["10.10.0.0/16", "fd10::/16"]`).Replace(text(n))
	}
}

// quickly restarts a node's daemon and checks that no neighbour was lost, and what else is asked. A
// machine too busy for a quick restart gets another try.
func quickly(t *testing.T, c *cloud.Cloud, r restarting, stand func(back time.Time), all []*witness, more ...func() error) {
	t.Helper()
	const (
		tries = 5
		// Of 4 s, or 3 s of BFD: the last hello before may be as old as their interval is.
		most = 2500 * time.Millisecond
	)
	for range tries {
		took := restart(t, c, r)
		stand(time.Now())
		errs := make([]error, len(more))
		for i, f := range more {
			errs[i] = f()
		}
		if took <= most {
			when := fmt.Sprintf("%s %s for %v", r.node, r.how, took)
			t.Log(when)
			faithful(t, when, all)
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			return
		}
		t.Logf("%s %s for %v, on a busy machine: once more", r.node, r.how, took)
		for _, w := range all {
			w.from = len(w.log.Output())
		}
	}
	t.Fatalf("%s was %s for more than %v %d times", r.node, r.how, most, tries)
}
