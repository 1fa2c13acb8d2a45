// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// streamSizes are the octets of UDP payload; the last one fills the tunnel's MTU.
var streamSizes = []int{64, 512, innerMTU - ipv4Length - udpLength}

// A result is what one tunnel did, a value a round.
type result struct {
	perCore   []float64         // TCP, Gbit/s for one core's whole time
	perPacket map[int][]float64 // CPU time of the tunnel for a packet of that size, µs
	sent      map[int]uint64
	arrived   map[int]uint64
	payload   uint64 // octets that arrived at host b
	counted   uint64 // and of the tunnel's own account
}

// tunnelTable measures ours beside other programs that encrypt in user space, all in one
// run, in turns.
func tunnelTable(rounds int, d time.Duration, t tools, v *verdicts) (err error) {
	l, err := newLab()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	list := entries(l, t)
	if err := l.Err(); err != nil {
		return err
	}
	ctx := context.Background()
	results := map[*entry]*result{}
	for _, e := range list {
		if err := e.launch(ctx); err != nil {
			return err
		}
		results[e] = &result{perPacket: map[int][]float64{}, sent: map[int]uint64{}, arrived: map[int]uint64{}}
	}
	fmt.Printf("Encrypted tunnels in user space, each between two gateways of its own, MTU %d, all cores, %d rounds of %v a turn\n\n", innerMTU, rounds, d)
	for range rounds {
		for _, e := range list {
			if err := e.turn(ctx, results[e], d); err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
		}
	}
	printTunnels(list, results)
	judgeTunnels(list, results, v)
	for _, e := range list {
		if r := results[e]; r.counted < r.payload {
			return fmt.Errorf("%s: %d octets arrived, the tunnel counted %d: they went another way", e.name, r.payload, r.counted)
		}
	}
	return nil
}

// turn measures a tunnel once: TCP and each size of packets.
func (e *entry) turn(ctx context.Context, r *result, d time.Duration) error {
	before, err := e.received(ctx)
	if err != nil {
		return err
	}
	a, err := openAccount(e.processes())
	if err != nil {
		return err
	}
	t, err := iperf(ctx, e.course.hostA, e.course.hostB, way{hostAddressA, hostAddressB}, nil, d)
	if err != nil {
		return err
	}
	used, err := a.used()
	if err != nil {
		return err
	}
	t.cpu += used
	r.perCore = append(r.perCore, t.perCore())
	r.payload += t.octets
	for _, size := range streamSizes {
		if err := e.packets(r, size, d); err != nil {
			return err
		}
	}
	after, err := e.received(ctx)
	r.counted += after - before
	return err
}

// packets measures packets of one size.
func (e *entry) packets(r *result, size int, d time.Duration) (err error) {
	s, err := e.course.stream(size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if _, _, err := s.run(d / 10); err != nil { // warm
		return err
	}
	warm := s.arrived.Load()
	a, err := openAccount(e.processes())
	if err != nil {
		return err
	}
	sent, arrived, err := s.run(d)
	if err != nil {
		return err
	}
	used, err := a.used()
	if err != nil {
		return err
	}
	if arrived == 0 {
		return fmt.Errorf("of %d packets of %d octets none arrived", sent, size)
	}
	r.perPacket[size] = append(r.perPacket[size], used.Seconds()*1e6/float64(arrived))
	r.sent[size] += sent
	r.arrived[size] += arrived
	r.payload += (warm + arrived) * uint64(size)
	return nil
}

// printTunnels prints tables as docs/bench.md has them.
func printTunnels(list []*entry, results map[*entry]*result) {
	first := results[list[0]]
	fmt.Printf("| | TCP, Gbit/s per core |%s\n| --- | --- |%s\n", columns(" CPU of a packet, %d octets |"), columns(" --- |"))
	for _, e := range list {
		r := results[e]
		fmt.Printf("| %s | %.2f |%s\n", e.name, median(r.perCore), each(func(size int) string {
			return fmt.Sprintf(" %.1f µs |", median(r.perPacket[size]))
		}))
	}
	for _, e := range list[1:] {
		r := results[e]
		fmt.Printf("| ours by %s | %s |%s\n", e.name, spread(first.perCore, r.perCore), each(func(size int) string {
			return " " + spread(first.perPacket[size], r.perPacket[size]) + " |"
		}))
	}
	fmt.Println()
	for _, e := range list {
		r := results[e]
		fmt.Printf("- %s: %s. Proof: %d octets arrived, the tunnel counted %d; packets that arrived%s\n", e.name, e.encapsulation, r.payload, r.counted,
			each(func(size int) string { return fmt.Sprintf(" %d of %d", r.arrived[size], r.sent[size]) }))
	}
	fmt.Println()
}

// What TCP per core must be of the others', and a small packet's cost of wireguard-go's.
const (
	ofWireguard = 2.0
	ofLibipsec  = 6.0
	smallPacket = 1.0
)

// judgeTunnels holds ours, which is the first, to what is expected of it.
func judgeTunnels(list []*entry, results map[*entry]*result, v *verdicts) {
	ours := results[list[0]]
	for _, e := range list[1:] {
		r := results[e]
		tcp := median(quotients(ours.perCore, r.perCore))
		switch e.rival.(type) {
		case *wireguardGo:
			v.atLeast("TCP per core, by "+e.name, tcp, ofWireguard)
			size := streamSizes[0]
			v.atMost(fmt.Sprintf("CPU of a packet of %d octets, by %s", size, e.name), median(quotients(ours.perPacket[size], r.perPacket[size])), smallPacket)
		case *libipsec:
			v.atLeast("TCP per core, by "+e.name, tcp, ofLibipsec)
		}
	}
	v.print()
}

// columns repeats a text for each size.
func columns(format string) string {
	return each(func(size int) string {
		if !strings.Contains(format, "%") {
			return format
		}
		return fmt.Sprintf(format, size)
	})
}

func each(f func(size int) string) (all string) {
	for _, size := range streamSizes {
		all += f(size)
	}
	return all
}

// spread gives the median of the ratios of two lists, and their range.
func spread(a, b []float64) string {
	ratio, low, high := ratios(quotients(a, b))
	return fmt.Sprintf("%.2f (%.2f … %.2f)", ratio, low, high)
}

// quotients gives them round by round.
func quotients(a, b []float64) (list []float64) {
	for i := range a {
		list = append(list, a[i]/b[i])
	}
	return list
}
