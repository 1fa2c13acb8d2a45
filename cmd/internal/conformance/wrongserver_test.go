// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestAServerWithAFaultIsFoundOut by the rows that its fault is of. It is our machine, bent, on a wire in memory, in
// virtual time.
//
//	suite 198.51.100.1 – .40 ── server 192.0.2.1
func TestAServerWithAFaultIsFoundOut(t *testing.T) {
	for _, x := range wrongServers {
		t.Run(x.fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { tryWarped(t, x.bend, strings.Fields(x.rows)) })
		})
	}
}

// TestARightServerPassesFromFewAddresses: cases come by the same ones soon again, and who has just been told of many
// errors is told of one a second.
func TestARightServerPassesFromFewAddresses(t *testing.T) {
	for _, addresses := range []byte{4, 5, 8} {
		t.Run(fmt.Sprint(addresses), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { tryWarpedFrom(t, addresses, bend{}, nil) })
		})
	}
}

// wrongServers are all of them.
var wrongServers = slices.Concat(answeringWrongly, passingOnWrongly)

// TestEveryCaseOfAServerCanFail: there is a fault for each.
func TestEveryCaseOfAServerCanFail(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range wrongServers {
		for id := range strings.FieldsSeq(x.rows) {
			seen[id] = true
		}
	}
	for _, c := range (&Options{Role: NHS}).Chosen() {
		if !seen[c.ID] {
			t.Errorf("no server is wrong in %s", c.ID)
		}
	}
}

// tryWarped tries a server by the rows that have to fail, or by all, which a right one passes.
func tryWarped(t *testing.T, b bend, want []string) { tryWarpedFrom(t, 40, b, want) }

func tryWarpedFrom(t *testing.T, addresses byte, b bend, want []string) {
	ether := &ether{delay: 2 * time.Millisecond}
	o := Options{
		Role: NHS, Target: netip.MustParseAddr("192.0.2.1"), Server: netip.MustParsePrefix("10.0.0.1/16"), Key: -1, Auth: serverSecret,
		Behind: netip.MustParsePrefix("10.10.0.0/24"), Wait: 300 * time.Millisecond, AtOnce: 12,
	}
	for i := range addresses {
		o.Local = append(o.Local, host(netip.AddrFrom4([4]byte{198, 51, 100, 1 + i})))
	}
	s := newWarped(o.Target, o.Server, o.Behind, b)
	s.conn, _ = ether.listen(o.Target)
	s.other, _ = ether.listen(o.Target.Next())
	var serving sync.WaitGroup
	serving.Go(s.serve)
	defer func() { s.conn.Close(); s.other.Close(); serving.Wait() }()
	if len(want) > 0 {
		o.Run = regexp.MustCompile("^(" + strings.Join(want, "|") + ")$")
	}
	results, err := run(t.Context(), o, ether.listen, nil)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]Result{}
	for _, r := range results {
		verdicts[r.ID] = r
		fails := r.Verdict == Fail || r.Verdict == Differs
		if fails && r.Detail == "" {
			t.Errorf("%s fails without a reason", r.ID)
		}
		if len(want) == 0 && r.Verdict != Pass && mayNotApply[r.ID] == "" {
			t.Errorf("%s: %s %s", r.ID, r.Verdict, r.Detail)
		}
	}
	for _, id := range want {
		if r := verdicts[id]; r.Verdict != Fail && r.Verdict != Differs {
			t.Errorf("%s: %s %s", id, r.Verdict, r.Detail)
		}
	}
}
