// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"dmvpn/cmd/internal/control"
)

// What is lost before anybody can look at it, beside the reasons of a drop.
const (
	lostBySocket = "lost by the sockets' full buffers"
	lostByWire   = "lost by the wire"
	receivedRaw  = "received by the daemon as raw ESP"
	receivedUDP  = "received by the daemon as ESP in UDP"
)

// drops are what b has counted, by reason, and what was lost on the way there.
func (a *arena) drops(ctx context.Context) (map[string]uint64, error) {
	client := control.NewClient(filepath.Join(a.course.b.Dir, "run", "default", "control.sock"))
	defer client.Close()
	sum := map[string]uint64{}
	ike, err := client.IKE(ctx)
	if err != nil {
		return nil, err
	}
	sum[lostBySocket] = ike.Counters["socket-overflows"]
	sum[receivedRaw], sum[receivedUDP] = ike.Counters["esp-raw-received"], ike.Counters["esp-udp-received"]
	wan, err := a.course.a.Net.LinkByName("wan0")
	if err != nil {
		return nil, err
	}
	sum[lostByWire] = wan.Attrs().Statistics.TxDropped
	all, err := client.Drops(ctx)
	for _, d := range all {
		sum[d.Reason] += d.Packets
	}
	return sum, err
}

// report prints a table as docs/bench.md has it, and fails where a packet was not counted.
func (a *arena) report(before, after map[string]uint64, v *verdicts) error {
	fmt.Printf("| | CPU of one | TCP keeps of its rate |\n| --- | --- | --- |\n")
	want := map[string]uint64{}
	for _, f := range a.kinds {
		early := ""
		if f.Early {
			early = ", ends in BPF"
		}
		middle, low, high := ratios(f.kept)
		fmt.Printf("| %s%s | %.2f µs | %.2f (%.2f … %.2f) |\n", f.Name, early, median(f.perPacket), middle, low, high)
		want[f.Reason] += f.sent
		if f.Early {
			v.atMost("CPU of one "+f.Name+", µs", median(f.perPacket), float64(floodLimit.Nanoseconds())/1000)
		}
		v.atLeast("TCP's rate beside "+f.Name, middle, floodKept)
	}
	fmt.Printf("\nTCP without them has %.2f Gbit/s, and the floods beside it %.0f packets a second. Proof:", median(a.alone), median(a.reached))
	err := a.account(before, after, want)
	fmt.Printf("\n\n")
	v.print()
	return err
}

// account compares what was sent with what was counted: each packet once, but for those that
// the kernel counts as lost before, and those that the generator made twice.
func (a *arena) account(before, after, want map[string]uint64) (err error) {
	again, missing := uint64(0), uint64(0)
	for _, f := range a.kinds {
		again += f.bogus.again
	}
	since := func(name string) uint64 { return after[name] - before[name] }
	// Damaged packets that the window has passed meanwhile are replays first.
	for _, reasons := range [][]string{{"unknown-spi"}, {"truncated"}, {"replay", "integrity"}} {
		counted, sent := uint64(0), uint64(0)
		for _, reason := range reasons {
			counted, sent = counted+since(reason), sent+want[reason]
		}
		name := strings.Join(reasons, " and ")
		fmt.Printf(" %s %d of %d;", name, counted, sent)
		missing += sent - min(counted, sent)
		if counted > sent+again {
			err = errors.Join(err, fmt.Errorf("%d packets are counted as %s, and %d were sent", counted, name, sent))
		}
	}
	lost := since(lostBySocket) + since(lostByWire)
	fmt.Printf(" %d %s, %d %s; at most %d came twice; %d %s.", since(lostBySocket), lostBySocket, since(lostByWire), lostByWire, again, since(receivedRaw), receivedRaw)
	if missing > lost {
		err = errors.Join(err, fmt.Errorf("%d packets are not counted, and %d were lost before", missing, lost))
	}
	if n := since(receivedRaw); n > 0 {
		err = errors.Join(err, fmt.Errorf("the daemon received %d packets of raw ESP, which are others'", n))
	}
	return err
}
