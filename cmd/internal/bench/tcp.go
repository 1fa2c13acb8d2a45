// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"dmvpn/cmd/internal/lab"
)

// Two sites, for TCP. Each host has two addresses: what goes between the
// 10.1 ones is forwarded by the wire, between the 10.2 ones by the tunnel.
//
//	host-a ── a ══════ wire, tunnel ══════ b ── host-b
type sites struct {
	hostA, hostB *lab.Node
	a, b         *tunnel
}

// A way between the sites.
type way struct{ from, to string }

var (
	plainWay  = way{"10.1.1.2", "10.1.2.2"}
	tunnelWay = way{"10.2.1.2", "10.2.2.2"}
)

func newSites(l *lab.Lab) (*sites, error) {
	s := &sites{hostA: l.Node("hosta"), hostB: l.Node("hostb")}
	a, b := l.Router("a"), l.Router("b")
	l.Wire(&lab.Wire{A: lab.End{Node: "hosta", Device: "eth0", Address: "10.1.1.2/24"}, B: lab.End{Node: "a", Device: "lan0", Address: "10.1.1.1/24"}})
	l.Wire(&lab.Wire{A: lab.End{Node: "a", Device: "wan0", Address: "192.0.2.1/24"}, B: lab.End{Node: "b", Device: "wan0", Address: "192.0.2.2/24"}})
	l.Wire(&lab.Wire{A: lab.End{Node: "hostb", Device: "eth0", Address: "10.1.2.2/24"}, B: lab.End{Node: "b", Device: "lan0", Address: "10.1.2.1/24"}})
	s.hostA.Address("eth0", "10.2.1.2/24")
	s.hostB.Address("eth0", "10.2.2.2/24")
	a.Address("lan0", "10.2.1.1/24")
	b.Address("lan0", "10.2.2.1/24")
	s.hostA.Route("10.1.1.1", "default")
	s.hostB.Route("10.1.2.1", "default")
	a.Route("192.0.2.2", "10.1.2.0/24")
	b.Route("192.0.2.1", "10.1.1.0/24")
	if err := l.Err(); err != nil {
		return nil, err
	}
	var err error
	if s.a, err = newTunnel(a, "wan0", netip.MustParseAddr("192.0.2.1"), netip.MustParsePrefix("10.0.0.1/24")); err != nil {
		return nil, err
	}
	if s.b, err = newTunnel(b, "wan0", netip.MustParseAddr("192.0.2.2"), netip.MustParsePrefix("10.0.0.2/24")); err != nil {
		return nil, errors.Join(err, s.a.close())
	}
	err = errors.Join(
		s.a.peer(netip.MustParseAddr("10.0.0.2"), s.b.local), s.a.route(netip.MustParsePrefix("10.2.2.0/24"), netip.MustParseAddr("10.0.0.2")),
		s.b.peer(netip.MustParseAddr("10.0.0.1"), s.a.local), s.b.route(netip.MustParsePrefix("10.2.1.0/24"), netip.MustParseAddr("10.0.0.1")),
	)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *sites) close() error { return errors.Join(s.a.close(), s.b.close()) }

// iperfResult is what we read of iperf3's JSON.
type iperfResult struct {
	Error string
	End   struct {
		Received struct {
			Bytes uint64
		} `json:"sum_received"`
	}
}

// transfer runs iperf3 once, both ends on the one CPU, so that all of the way's
// work is done there: in the two programs' own system calls, or in ksoftirqd.
func (s *sites) transfer(ctx context.Context, w way, cpu int, d time.Duration) (transfer, error) {
	c, err := newClock(cpu)
	if err != nil {
		return transfer{}, err
	}
	before, err := c.softirq()
	if err != nil {
		return transfer{}, err
	}
	t, err := iperf(ctx, s.hostA, s.hostB, w, []string{"taskset", "-c", strconv.Itoa(cpu)}, d)
	if err != nil {
		return transfer{}, err
	}
	after, err := c.softirq()
	t.cpu += after - before
	return t, err
}

// iperf runs iperf3 once, behind a command that starts it if one is given. The CPU time is
// that of its two ends.
func iperf(ctx context.Context, from, to *lab.Node, w way, behind []string, d time.Duration) (transfer, error) {
	ctx, cancel := context.WithTimeout(ctx, d+20*time.Second)
	defer cancel()
	command := func(args ...string) *exec.Cmd {
		args = slices.Concat(behind, []string{"iperf3"}, args)
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.WaitDelay = time.Second
		return cmd
	}
	server := command("-s", "-1", "-B", w.to)
	if err := to.Start(server); err != nil {
		return transfer{}, err
	}
	out, client, err := iperfClient(ctx, from, command, w, d)
	if err != nil {
		cancel()
		return transfer{}, errors.Join(err, ignoreExit(server.Wait()))
	}
	if err := server.Wait(); err != nil {
		return transfer{}, fmt.Errorf("iperf3 server: %w", err)
	}
	return transfer{octets: out.End.Received.Bytes, cpu: used(client) + used(server)}, nil
}

// iperfClient runs the sender, again while the server does not listen yet.
func iperfClient(ctx context.Context, from *lab.Node, command func(...string) *exec.Cmd, w way, d time.Duration) (iperfResult, *exec.Cmd, error) {
	for {
		client := command("-c", w.to, "-B", w.from, "-t", strconv.Itoa(max(1, int(d.Seconds()))), "-J")
		raw, err := output(from, client)
		var result iperfResult
		if bad := json.Unmarshal(raw, &result); bad != nil {
			return result, client, fmt.Errorf("iperf3: %w: %q", errors.Join(err, bad), raw)
		}
		if result.Error == "" && err == nil {
			return result, client, nil
		}
		select {
		case <-ctx.Done():
			return result, client, fmt.Errorf("iperf3 from %s to %s: %s", w.from, w.to, result.Error)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func output(n *lab.Node, cmd *exec.Cmd) ([]byte, error) {
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.Start(cmd); err != nil {
		return nil, err
	}
	var raw []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := pipe.Read(buf)
		raw = append(raw, buf[:n]...)
		if err != nil {
			return raw, cmd.Wait()
		}
	}
}

// ignoreExit drops the status of a program that was ended.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// used gives the CPU time of a program that has ended.
func used(cmd *exec.Cmd) time.Duration {
	r := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func tcpTable(rounds, cpu int, d time.Duration) (err error) {
	l, err := newLab()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s, err := newSites(l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	fmt.Printf("TCP between two sites, iperf3, all of it on CPU %d, %d rounds of %v\n\n", cpu, rounds, d)
	var perCore [2][]float64
	var ofPlain []float64
	var sent, seen uint64
	for range rounds {
		for i, w := range []way{plainWay, tunnelWay} {
			before, err := s.b.counted()
			if err != nil {
				return err
			}
			t, err := s.transfer(context.Background(), w, cpu, d)
			if err != nil {
				return err
			}
			after, err := s.b.counted()
			if err != nil {
				return err
			}
			perCore[i] = append(perCore[i], t.perCore())
			counted := after.RxBytes - before.RxBytes
			if w == plainWay && counted != 0 {
				return fmt.Errorf("%d octets of plain forwarding went through the tunnel", counted)
			}
			if w == tunnelWay {
				sent, seen = sent+t.octets, seen+counted
				ofPlain = append(ofPlain, t.perCore()/perCore[0][len(perCore[0])-1])
			}
		}
	}
	fmt.Printf("  %-10s %6s Gbit/s per core\n", "", "median")
	for i, name := range []string{"plain", "tunnel"} {
		fmt.Printf("  %-10s %6.2f\n", name, median(perCore[i]))
	}
	ratio, low, high := ratios(ofPlain)
	fmt.Printf("  %-10s %6.2f (%.2f … %.2f), expected at least 0.90\n\n", "ratio", ratio, low, high)
	fmt.Printf("  proof: iperf3 received %d octets by the tunnel, our programs counted %d with headers; of plain forwarding none\n", sent, seen)
	if seen < sent {
		return fmt.Errorf("iperf3 received %d octets by the tunnel, our programs counted %d", sent, seen)
	}
	return nil
}
