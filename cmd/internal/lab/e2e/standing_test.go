// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/routing"
)

// fell are the lines of bgpd, ospfd and ospf6d, and of BIRD, about a neighbour that is lost.
var fell = regexp.MustCompile(`(?m)^.*(ADJCHANGE.*Down|AdjChg.*Full -> |NOTIFICATION|changed state from (Full|Up) to|BGP session closed).*$`)

// stood are those about one that was there.
var stood = regexp.MustCompile(`AdjChg.*-> Full|ADJCHANGE.*Up|changed state from \w+ to (Full|Up)|BGP session established`)

// A witness is a routing daemon that logs its neighbours.
type witness struct {
	what string
	log  *lab.Process
	from int // what it wrote before counts no more
}

// witnesses are these daemons of a suite.
func (s suite) witnesses(daemons ...string) (all []*witness) {
	for n, one := range s {
		for _, daemon := range daemons {
			all = append(all, &witness{what: fmt.Sprintf("%s of node %d", daemon, n), log: one.Daemon(daemon)})
		}
	}
	return all
}

func birdWitnesses(birds []*routing.BIRD) (all []*witness) {
	for n, b := range birds {
		all = append(all, &witness{what: fmt.Sprintf("bird of node %d", n), log: b.Daemon()})
	}
	return all
}

// faithful fails the test if one of them has lost a neighbour.
func faithful(t *testing.T, when string, all []*witness) {
	t.Helper()
	for _, w := range all {
		log := w.log.Output()
		if !stood.MatchString(log) {
			t.Fatalf("%s does not log its neighbours:\n%s", w.what, log)
		}
		if line := fell.FindString(log[w.from:]); line != "" {
			t.Fatalf("%s: %s: %s", when, w.what, line)
		}
	}
}

// An ending is how our daemon goes away.
type ending string

const (
	stopped ending = "stopped"
	killed  ending = "killed"
)

func (e ending) end(ctx context.Context, c *cloud.Cloud, node string) error {
	if e == killed {
		return c.Kill(ctx, node)
	}
	return c.Stop(ctx, node)
}

// restarts lets our daemon be away, on the hub, then on spoke1, stopped, then killed. Each time it calls
// back when packets come from the hub to every spoke and back again.
func restarts(t *testing.T, c *cloud.Cloud, away time.Duration, version int, then func(when string, back time.Time)) {
	t.Helper()
	for _, node := range []string{"hub", "spoke1"} {
		for _, how := range []ending{stopped, killed} {
			restart(t, c, restarting{node, how, away, []int{version}})
			then(fmt.Sprintf("%s %s", node, how), time.Now())
		}
	}
}

// restarting is which node's daemon goes away, how and for how long, and by which versions of IP its tunnel
// has to carry packets again.
type restarting struct {
	node     string
	how      ending
	away     time.Duration
	versions []int
}

// restart gives the time until packets come from the hub to every spoke and back again.
func restart(t *testing.T, c *cloud.Cloud, r restarting) time.Duration {
	t.Helper()
	began := time.Now()
	check(t, r.how.end(t.Context(), c, r.node))
	time.Sleep(r.away) // hellos wait or are missed
	check(t, c.Start(r.node))
	for n := range c.Spokes {
		for _, version := range r.versions {
			until(t, c, patience, func() error {
				_, err := c.Hub.Ping(cloud.TunnelOf(version, n+1), 0, shortly)
				return err
			})
		}
	}
	took := time.Since(began)
	check(t, c.Ready(t.Context(), r.node))
	for _, s := range c.Spokes {
		until(t, c, patience, func() error { return c.Registered(t.Context(), s.Name) })
	}
	return took
}

// left is when OSPF gives a neighbour up unless it says hello: ospfd has milliseconds, ospf6d and BIRD
// have seconds.
var left = map[string]*regexp.Regexp{
	"ospfd":  regexp.MustCompile(`"deadTimeMsecs":\s*(\d+)`),
	"ospf6d": regexp.MustCompile(`"deadTime":\s*"00:00:(\d+)"`),
	"bird":   regexp.MustCompile(`(?m)\sFull/\S+\s+([0-9.]+)\s`),
}

// whole is a neighbour that an adjacency stands with; of BIRD left has it.
var whole = map[string]*regexp.Regexp{
	"ospfd":  regexp.MustCompile(`"(nbrState|state)":\s*"Full[^"]*"[^}]*"deadTimeMsecs"`),
	"ospf6d": regexp.MustCompile(`"state":\s*"Full`),
	"bird":   left["bird"],
}

// heard waits until a node's routing daemon, of which out is what it says of its neighbours, has an adjacency
// with all of them and has heard them say hello since a moment: less of the dead interval is gone than has passed.
func heard(t *testing.T, c *cloud.Cloud, daemon string, n int, dead time.Duration, since time.Time, out func() string) {
	t.Helper()
	want := 1
	if n == 0 {
		want = len(c.Spokes)
	}
	until(t, c, 3*patience, func() error {
		least, said := dead-time.Since(since), out()
		all := left[daemon].FindAllStringSubmatch(said, -1)
		for _, m := range all {
			left, err := strconv.ParseFloat(m[1], 64)
			if daemon == "ospfd" {
				left /= 1000
			}
			if err != nil || left < least.Seconds() {
				return fmt.Errorf("%s of node %d: no hello for a while: %s", daemon, n, said)
			}
		}
		if stand := len(whole[daemon].FindAllString(said, -1)); stand != want {
			return fmt.Errorf("%s of node %d: adjacencies with %d neighbours, not %d: %s", daemon, n, stand, want, said)
		}
		if len(all) != want {
			return fmt.Errorf("%s of node %d: %d neighbours, not %d: %s", daemon, n, len(all), want, said)
		}
		return nil
	})
}

// greeted waits until every neighbour of FRR's OSPF has said hello since a moment.
func greeted(t *testing.T, c *cloud.Cloud, f suite, dead time.Duration, since time.Time) {
	t.Helper()
	for n := range f {
		heard(t, c, "ospfd", n, dead, since, func() string { return f.typed(t, n, "show ip ospf neighbor json") })
	}
}

// greeted6 is greeted of OSPFv3.
func greeted6(t *testing.T, c *cloud.Cloud, f suite, dead time.Duration, since time.Time) {
	t.Helper()
	for n := range f {
		heard(t, c, "ospf6d", n, dead, since, func() string { return f.typed(t, n, "show ipv6 ospf6 neighbor json") })
	}
}

// greetedByBIRD is greeted of BIRD's OSPF.
func greetedByBIRD(t *testing.T, c *cloud.Cloud, b []*routing.BIRD, dead time.Duration, since time.Time) {
	t.Helper()
	for n := range b {
		heard(t, c, "bird", n, dead, since, func() string { return birdc(t, b[n], "show", "ospf", "neighbors", "cloud") })
	}
}

// established waits until each spoke's BGP has its session with the hub.
func established(t *testing.T, c *cloud.Cloud, f suite) {
	t.Helper()
	for n := 1; n < len(f); n++ {
		until(t, c, 3*patience, func() error {
			if out := f.typed(t, n, "show bgp neighbors 10.0.0.1"); !strings.Contains(out, "BGP state = Established") {
				return fmt.Errorf("spoke%d: BGP does not stand: %s", n, out)
			}
			return nil
		})
	}
}
