// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
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
func tunnelTable(rounds int, d time.Duration, t tools) (err error) {
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

func printTunnels(list []*entry, results map[*entry]*result) {
	first := results[list[0]]
	fmt.Printf("  %-16s %14s", "", "TCP, Gbit/s")
	for range streamSizes {
		fmt.Printf(" %16s", "tunnel's CPU, µs")
	}
	fmt.Printf("\n  %-16s %14s", "", "per core")
	for _, size := range streamSizes {
		fmt.Printf(" %16s", fmt.Sprintf("%d octets", size))
	}
	fmt.Println()
	for _, e := range list {
		r := results[e]
		fmt.Printf("  %-16s %14.2f", e.name, median(r.perCore))
		for _, size := range streamSizes {
			fmt.Printf(" %16.2f", median(r.perPacket[size]))
		}
		fmt.Println()
	}
	fmt.Println()
	for _, e := range list[1:] {
		r := results[e]
		ratio, low, high := ratios(quotients(first.perCore, r.perCore))
		fmt.Printf("  ours of %-16s TCP %.2f (%.2f … %.2f), CPU of a packet", e.name, ratio, low, high)
		for _, size := range streamSizes {
			ratio, low, high := ratios(quotients(first.perPacket[size], r.perPacket[size]))
			fmt.Printf(" %d: %.2f (%.2f … %.2f)", size, ratio, low, high)
		}
		fmt.Println()
	}
	fmt.Println()
	for _, e := range list {
		r := results[e]
		fmt.Printf("  %-16s %s; proof: %d octets arrived, the tunnel counted %d; packets", e.name, e.encapsulation, r.payload, r.counted)
		for _, size := range streamSizes {
			fmt.Printf(" %d of %d", r.arrived[size], r.sent[size])
		}
		fmt.Println()
	}
	fmt.Println()
}

// quotients gives them round by round.
func quotients(a, b []float64) (list []float64) {
	for i := range a {
		list = append(list, a[i]/b[i])
	}
	return list
}
