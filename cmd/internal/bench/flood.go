// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/cmd/internal/control"
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
func floodTable(rounds, cpu int, d time.Duration, t tools, v *verdicts) (err error) {
	l, err := newLab()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	ctx := context.Background()
	a, err := newArena(ctx, l, t)
	if err != nil {
		return err
	}
	defer a.close()
	before, err := a.drops(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("Bogus ESP, %d a second, at one end of an encrypted tunnel, %d rounds of %v a turn\n\n", floodRate, rounds, d)
	for range rounds {
		if err := a.round(ctx, cpu, d); err != nil {
			return err
		}
	}
	after, err := a.drops(ctx)
	if err != nil {
		return err
	}
	return a.report(before, after, v)
}

func newArena(ctx context.Context, l *lab.Lab, t tools) (*arena, error) {
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
	for _, f := range floods() {
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

// round measures each kind once: by itself, and beside TCP.
func (a *arena) round(ctx context.Context, cpu int, d time.Duration) error {
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
		alone, err := a.beside(ctx, f, true, d)
		if err != nil {
			return err
		}
		under, err := a.beside(ctx, f, false, d)
		if err != nil {
			return err
		}
		a.alone = append(a.alone, alone)
		f.kept = append(f.kept, under/alone)
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

// generate lets so many packets come in at b, at the rate or below.
func (a *arena) generate(f *flood, g *generator, n int) error {
	begin := time.Now()
	for sent := 0; sent < n; sent += floodChunk {
		if err := g.send(a.device, floodChunk); err != nil {
			return err
		}
		if g == f.bogus {
			f.sent += floodChunk
		}
		time.Sleep(time.Until(due(begin, sent+floodChunk)))
	}
	return nil
}

// A merger sends a burst of a flood as one buffer that the kernel does not cut before the
// wire, as it arrives where a device has merged it; with UDP checksums.
type merger struct {
	conn  *net.UDPConn
	burst []byte
}

func (a *arena) newMerger(f *flood) (*merger, error) {
	m := &merger{}
	for _, frame := range f.frames {
		m.burst = append(m.burst, lab.ESPOf(frame)...)
	}
	err := a.course.a.Do(func() (err error) {
		m.conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(gatewayB), 4500)))
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := m.conn.SyscallConn()
	if err == nil {
		var set error
		err = raw.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, len(m.burst)/floodBurst)
		})
		err = errors.Join(err, set)
	}
	if err != nil {
		return nil, errors.Join(err, m.conn.Close())
	}
	return m, nil
}

func (m *merger) send() error {
	_, err := m.conn.Write(m.burst)
	return err
}

// merged sends so many packets at the rate.
func (a *arena) merged(f *flood, n int) error {
	m, err := a.newMerger(f)
	if err != nil {
		return err
	}
	defer m.conn.Close()
	begin := time.Now()
	for sent := 0; sent < n; sent += floodBurst {
		if err := m.send(); err != nil {
			return err
		}
		f.sent += floodBurst
		time.Sleep(time.Until(due(begin, sent+floodBurst)))
	}
	return nil
}

// overTheWire sends packets from the other end's gateway at the rate, until it is told to
// stop.
func (a *arena) overTheWire(f *flood, elsewhere bool, stop <-chan struct{}) error {
	i, err := a.course.a.Inject("wan0")
	if err != nil {
		return err
	}
	defer i.Close()
	frames := f.frames
	if elsewhere {
		frames = nil
		for _, frame := range f.frames {
			frame = slices.Clone(frame)
			copy(frame, []byte{2, 0, 0, 0, 0, 99})
			frames = append(frames, frame)
		}
	}
	send := func() error { return i.Send(frames...) }
	if f.merges && !elsewhere {
		m, err := a.newMerger(f)
		if err != nil {
			return err
		}
		defer m.conn.Close()
		send = m.send
	}
	begin := time.Now()
	for sent := 0; ; sent += floodBurst {
		select {
		case <-stop:
			if !elsewhere {
				a.reached = append(a.reached, float64(sent)/time.Since(begin).Seconds())
			}
			return nil
		default:
		}
		if err := send(); err != nil {
			return err
		}
		if !elsewhere {
			f.sent += floodBurst
		}
		time.Sleep(time.Until(due(begin, sent+floodBurst)))
	}
}

// due is when so many packets should have come.
func due(begin time.Time, packets int) time.Time {
	return begin.Add(time.Duration(packets) * time.Second / floodRate)
}

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
	for _, reason := range []string{"unknown-spi", "truncated", "replay", "integrity"} {
		counted := since(reason)
		fmt.Printf(" %s %d of %d;", reason, counted, want[reason])
		missing += want[reason] - min(counted, want[reason])
		if counted > want[reason]+again {
			err = errors.Join(err, fmt.Errorf("%d packets are counted as %s, and %d were sent", counted, reason, want[reason]))
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
