// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/cloud/cloudtest"
)

// programs are those of this tree, built once for all tests.
var programs cloud.Programs

// Most of a test's time is waiting for timers: more run at once than there are CPUs. Those that
// take all CPUs for themselves are not parallel, and run before the others.
const testsAtOnce = 6

func TestMain(m *testing.M) {
	flag.Parse()
	if atOnce := flag.Lookup("test.parallel"); runtime.GOMAXPROCS(0) < testsAtOnce && atOnce.Value.String() == atOnce.DefValue {
		if err := flag.Set("test.parallel", fmt.Sprint(testsAtOnce)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(cloudtest.WithPrograms(func(folder string) int {
		programs = cloudtest.Programs(folder)
		return m.Run()
	}))
}

// build makes a cloud of this test's own, with no daemon running.
func build(t *testing.T, o cloud.Options) *cloud.Cloud {
	t.Helper()
	o.Programs = programs
	return cloudtest.New(t, o)
}

// up makes a cloud whose spokes are registered.
func up(t *testing.T, o cloud.Options) *cloud.Cloud {
	t.Helper()
	c := build(t, o)
	check(t, c.StartAll(t.Context()))
	until(t, c, patience, func() error { return c.AllRegistered(t.Context()) })
	return c
}

// patience is for what comes at once, but on a busy machine.
const patience = 30 * time.Second

// check ends the test with an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, c *cloud.Cloud, patience time.Duration, f func() error) {
	t.Helper()
	check(t, c.Until(t.Context(), patience, f))
}

// ping checks that a host's packets come to another's address and back.
func ping(t *testing.T, from *lab.Node, n int) {
	t.Helper()
	if _, err := from.Ping(cloud.Host(n), 0, patience); err != nil {
		t.Fatal(err)
	}
}

// shortcut makes the shortcut between two spokes: one ping, then it waits for
// both directions.
func shortcut(t *testing.T, c *cloud.Cloud, a, b int) {
	t.Helper()
	ping(t, c.Hosts[a-1], b)
	until(t, c, patience, func() error { return c.Direct(t.Context(), c.Spokes[a-1].Name, cloud.Network(b)) })
	until(t, c, patience, func() error { return c.Direct(t.Context(), c.Spokes[b-1].Name, cloud.Network(a)) })
}

// spotless checks a stream's report: every packet came, once.
func spotless(t *testing.T, what string, r lab.Report) {
	t.Helper()
	t.Logf("%s: %v", what, r)
	if r.Lost() > 0 || r.Duplicated > 0 || r.Refused > 0 || r.Received == 0 {
		t.Errorf("%s: %v", what, r)
	}
}

// isData says whether an Ethernet frame is GRE with an IP packet in it, and
// not NHRP.
func isData(f lab.Frame) bool {
	const ethernet, protocol = 14, 2
	if _, _, gre := lab.GRE(f.Data); !gre || len(f.Data) < ethernet+outerHeader(f)+4 {
		return false
	}
	at := ethernet + outerHeader(f) + protocol
	return f.Data[at] == 0x08 && f.Data[at+1] == 0x00 || f.Data[at] == 0x86 && f.Data[at+1] == 0xdd
}

// outerHeader is the length of the IP header of a frame on an underlay wire, of either version.
func outerHeader(f lab.Frame) int {
	if f.Data[12] == 0x86 {
		return 40
	}
	return 20
}
