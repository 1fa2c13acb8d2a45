// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// median gives the middle one, 0 of none.
func median[T cmp.Ordered](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	if len(sorted) == 0 {
		var none T
		return none
	}
	return sorted[len(sorted)/2]
}

// ratios gives the median of the rounds' ratios, and the range in which all but
// the lowest and the highest tenth are. What disturbs the machine for longer than
// a round disturbs both sides of a ratio.
func ratios(list []float64) (middle, low, high float64) {
	sorted := slices.Sorted(slices.Values(list))
	if len(sorted) == 0 {
		return 0, 0, 0
	}
	tenth := len(sorted) / 10
	return median(sorted), sorted[tenth], sorted[len(sorted)-1-tenth]
}

// ofPlain gives what the tunnel costs in each round as a multiple of plain
// forwarding.
func (p *path) ofPlain() (list []float64) {
	for i := range p.time[tunneled] {
		list = append(list, float64(p.time[tunneled][i]-p.time[tunneledIdle][i])/float64(p.time[plain][i]-p.time[plainIdle][i]))
	}
	return list
}

// perPacket gives the median of a variant's rounds for one packet, in ns,
// without what the generator takes.
func (p *path) perPacket(v, idle int) float64 {
	return float64(median(p.time[v])-median(p.time[idle])) / float64(p.packets)
}

func printPackets(list []*path) {
	fmt.Printf("\nCPU time of one packet, from its receipt to the drop at the far end of the next wire\n\n")
	fmt.Printf("  %-14s %6s %8s %9s %6s %-13s %14s   %s\n", "path", "octets", "plain", "tunnel", "ratio", "(range)", "programs alone", "proof: counted by our programs, arrived")
	for _, p := range list {
		plainNS, tunnelNS := p.perPacket(plain, plainIdle), p.perPacket(tunneled, tunneledIdle)
		ratio, low, high := ratios(p.ofPlain())
		fmt.Printf("  %-14s %6d %5.0f ns %6.0f ns %6.2f (%.2f … %.2f) %11d ns   %d of %d, %d\n",
			p.name, p.octets, plainNS, tunnelNS, ratio, low, high, p.alone.Nanoseconds(), p.seen, p.sent[tunneled], p.delivered[tunneled])
	}
	fmt.Println()
}

// A transfer is one turn of TCP.
type transfer struct {
	octets uint64
	cpu    time.Duration // of sender, receiver and everything between
}

// perCore gives Gbit/s for one core's whole time.
func (t transfer) perCore() float64 { return float64(t.octets) * 8 / float64(t.cpu.Nanoseconds()) }
