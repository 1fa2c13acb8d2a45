// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dmvpn/cmd/internal/lab"
)

const (
	floodRate  = 50_000 // packets a second
	floodBurst = 64     // that come at once over the wire
	// floodChunk is how many the kernel makes at once: each time costs it some 10 ms.
	floodChunk = 1000
	// floodLimit is how much CPU time a packet may take that a program can judge.
	floodLimit = 1500 * time.Nanosecond
	// floodKept is how much of its rate traffic must keep.
	floodKept = 0.9
)

// A flood is one kind of bogus ESP that comes in at a gateway.
type flood struct {
	lab.Bogus
	// merges says that they come merged: the daemon has to look at each. The cost includes what
	// makes them.
	merges      bool
	frames      [][]byte // what comes over the wire
	bogus, idle *generator
	sent        uint64
	perPacket   []float64 // CPU time of all that has to do with one, µs, a value a round
	kept        []float64 // of the rate of TCP beside the same for another host
}

// arena is a course with our tunnel on it, whose gateway b is flooded.
type arena struct {
	*entry
	device int // index of b's wan0
	kinds  []*flood
	alone  []float64 // TCP without a flood, Gbit/s
	// reached are the rates of the floods beside TCP, packets a second.
	reached []float64
}

// floodTable measures what bogus packets cost, and what they leave of TCP's rate, in turns.
func floodTable(rounds int, kinds string, cpu int, d time.Duration, t tools, v *verdicts) (err error) {
	l, err := newLab()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	ctx := context.Background()
	a, err := newArena(ctx, l, kinds, t)
	if err != nil {
		return err
	}
	defer a.close()
	before, err := a.drops(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("Bogus ESP, %d a second, at one end of an encrypted tunnel, %d rounds of %v a turn\n\n", floodRate, rounds, d)
	for n := range rounds {
		if err := a.round(ctx, n, cpu, d); err != nil {
			return err
		}
	}
	after, err := a.drops(ctx)
	if err != nil {
		return err
	}
	return a.report(before, after, v)
}

func newArena(ctx context.Context, l *lab.Lab, kinds string, t tools) (*arena, error) {
	wanted := slices.DeleteFunc(floods(), func(f *flood) bool { return !f.among(kinds) })
	if len(wanted) == 0 {
		return nil, fmt.Errorf("no kind of bogus packets is named like one of %q", kinds)
	}
	c := newCourse(l, "flood")
	if err := l.Err(); err != nil {
		return nil, err
	}
	a := &arena{entry: &entry{name: "dmvpnd", port: 4500, course: c, rival: &dmvpnd{course: c, program: t.dmvpnd}}}
	if err := a.launch(ctx); err != nil {
		return nil, err
	}
	genuine, err := a.genuine(ctx)
	if err != nil {
		return nil, err
	}
	wan, err := c.b.Net.LinkByName("wan0")
	if err != nil {
		return nil, err
	}
	a.device = wan.Attrs().Index
	for _, f := range wanted {
		bogus := f.Bogus
		a.kinds = append(a.kinds, f)
		for n := range uint32(floodBurst) {
			f.frames = append(f.frames, bogus.Frame(genuine, n))
		}
		of := frame{data: bogus.Frame(genuine, 0)}
		clear(of.data[ethernetLength+10 : ethernetLength+12]) // the generator fills it in
		if f.bogus, err = newGenerator(of, 1, xdpPass); err == nil {
			f.idle, err = newGenerator(of, 1, xdpDrop)
		}
		if err != nil {
			a.close()
			return nil, err
		}
	}
	return a, nil
}

// floods are those of the lab, unknown SPIs also merged, and without UDP: those are others'
// where our own ESP is in UDP, and nobody counts them.
func floods() (all []*flood) {
	for _, b := range lab.Bogi {
		all = append(all, &flood{Bogus: b})
	}
	merged, raw := lab.Bogi[0], lab.Bogi[0]
	merged.Name, merged.Early = merged.Name+", merged, with UDP checksums", false
	raw.Name, raw.Reason = raw.Name+", raw ESP", ""
	raw.Frame = func(genuine []byte, n uint32) []byte { return lab.WithoutUDP(lab.Bogi[0].Frame(genuine, n)) }
	return append(all, &flood{Bogus: merged, merges: true}, &flood{Bogus: raw})
}

// among says whether the name has one of the words, between which are commas.
func (f *flood) among(kinds string) bool {
	return slices.ContainsFunc(strings.Split(kinds, ","), func(word string) bool { return strings.Contains(f.Name, word) })
}

func (a *arena) close() {
	for _, f := range a.kinds {
		for _, g := range []*generator{f.bogus, f.idle} {
			if g != nil {
				g.close()
			}
		}
	}
}

// genuine is an ESP packet that has come to b.
func (a *arena) genuine(ctx context.Context) ([]byte, error) {
	to := netip.MustParseAddr(gatewayB)
	capture, err := a.course.b.Capture("wan0", func(f lab.Frame) bool { return !f.Outgoing && lab.IsESP(f.Data, to) })
	if err != nil {
		return nil, err
	}
	_, err = a.course.hostA.Run(ctx, "ping", "-c", "3", "-i", "0.1", hostAddressB)
	frames := capture.Close()
	if err != nil || len(frames) == 0 {
		return nil, errors.Join(errors.New("no ESP came to the gateway"), err)
	}
	return frames[len(frames)-1].Data, nil
}

// round measures each kind once: by itself, and beside TCP. What it is compared with comes
// first in every other round, for a machine that becomes slower or faster meanwhile.
func (a *arena) round(ctx context.Context, n, cpu int, d time.Duration) error {
	for _, f := range a.kinds {
		before, err := a.drops(ctx)
		if err != nil {
			return err
		}
		used, err := a.cost(f, cpu, d)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		after, err := a.drops(ctx)
		if err != nil {
			return err
		}
		// What is merged the filter leaves to the daemon.
		if n := after[receivedUDP] - before[receivedUDP]; f.merges && n < uint64(perTurn(d))/2 {
			return fmt.Errorf("%s: the daemon received %d of %d: they were not merged", f.Name, n, perTurn(d))
		}
		f.perPacket = append(f.perPacket, used.Seconds()*1e6/float64(perTurn(d)))
	}
	for _, f := range a.kinds {
		var rate [2]float64 // alone, under it
		for k := range 2 {
			under := (n + k) % 2
			var err error
			if rate[under], err = a.beside(ctx, f, under == 0, d); err != nil {
				return err
			}
		}
		a.alone = append(a.alone, rate[0])
		f.kept = append(f.kept, rate[1]/rate[0])
	}
	return nil
}

// beside gives TCP's Gbit/s beside a flood. What it is compared with has the same packets on
// the wire, for another host: their maker takes CPU time of the same machine, and what the
// kernel does with a packet that nobody wants is not ours.
func (a *arena) beside(ctx context.Context, f *flood, elsewhere bool, d time.Duration) (float64, error) {
	stop, ended := make(chan struct{}), make(chan error)
	go func() { ended <- a.overTheWire(f, elsewhere, stop) }()
	rate, err := a.rate(ctx, d)
	close(stop)
	if err := errors.Join(err, <-ended); err != nil {
		return 0, fmt.Errorf("%s: %w", f.Name, err)
	}
	return rate, nil
}

// rate gives TCP's Gbit/s.
func (a *arena) rate(ctx context.Context, d time.Duration) (float64, error) {
	t, err := iperf(ctx, a.course.hostA, a.course.hostB, way{hostAddressA, hostAddressB}, nil, d)
	return float64(t.octets) * 8 / float64(d.Nanoseconds()), err
}

func perTurn(d time.Duration) int { return max(1, int(d.Seconds()*floodRate)/floodChunk) * floodChunk }

// cost gives the CPU time that a turn of one kind takes, all of the receipt and of the
// daemon, without what makes the packets.
func (a *arena) cost(f *flood, cpu int, d time.Duration) (time.Duration, error) {
	c, err := newClock(cpu)
	if err != nil {
		return 0, err
	}
	var took [2]time.Duration
	for i, g := range []*generator{f.idle, f.bogus} {
		err := a.course.b.Do(func() error {
			if err := pin(cpu); err != nil {
				return err
			}
			daemon, err := openAccount(a.processes()[1:])
			if err != nil {
				return err
			}
			idle, err := daemon.processes()
			if err != nil {
				return err
			}
			start, err := c.now()
			if err != nil {
				return err
			}
			switch {
			case !f.merges:
				err = a.generate(f, g, perTurn(d))
			case g == f.bogus:
				err = a.merged(f, perTurn(d))
			}
			if err != nil {
				return err
			}
			end, err := c.now()
			if err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond) // the daemon is done
			used, err := daemon.processes()
			took[i] = end - start + used - idle
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return took[1] - took[0], nil
}
