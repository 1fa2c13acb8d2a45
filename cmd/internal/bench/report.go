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

// perPacket gives the median of a variant's rounds for one packet, in ns,
// without what the generator takes.
func (p *path) perPacket(v, idle int) float64 {
	return float64(median(p.time[v])-median(p.time[idle])) / float64(p.packets)
}

func printPackets(list []*path) {
	fmt.Printf("\nCPU time of one packet, from its receipt to the drop at the far end of the next wire\n\n")
	fmt.Printf("  %-14s %6s %8s %9s %7s %14s   %s\n", "path", "octets", "plain", "tunnel", "ratio", "programs alone", "proof: counted by our programs, arrived")
	for _, p := range list {
		plainNS, tunnelNS := p.perPacket(plain, plainIdle), p.perPacket(tunneled, tunneledIdle)
		fmt.Printf("  %-14s %6d %5.0f ns %6.0f ns %7.2f %11d ns   %d of %d, %d\n",
			p.name, p.octets, plainNS, tunnelNS, tunnelNS/plainNS, p.alone.Nanoseconds(), p.seen, p.sent[tunneled], p.delivered[tunneled])
	}
	fmt.Println()
}

// A transfer is one turn of TCP.
type transfer struct {
	octets uint64
	cpu    time.Duration // of sender, receiver and everything between
	wall   time.Duration
}

// perCore gives Gbit/s for one core's whole time.
func (t transfer) perCore() float64 { return float64(t.octets) * 8 / float64(t.cpu.Nanoseconds()) }

// wallRate gives Gbit/s as the user sees it.
func (t transfer) wallRate() float64 { return float64(t.octets) * 8 / float64(t.wall.Nanoseconds()) }
