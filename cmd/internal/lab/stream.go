// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Stream is numbered UDP from one node to another at a steady rate. Its
// report says which numbers arrived.
type Stream struct {
	send, receive *net.UDPConn
	stop          chan struct{}
	wait          sync.WaitGroup
	began         time.Time

	sent     atomic.Uint64
	refused  atomic.Uint64
	arrivals atomic.Uint64

	mu      sync.Mutex
	seen    []arrival
	highest uint64
	report  Report
}

type arrival struct {
	times uint32
	at    time.Duration // since the start, of the first
}

// A Report is what became of a stream's packets.
type Report struct {
	Sent, Received uint64 // Received counts each number once
	Refused        uint64 // the sender's kernel would not take them (no route, no buffer)
	Duplicated     uint64
	Reordered      uint64        // came after a higher number
	Gap            time.Duration // longest time between two arrivals
	GapAt          time.Duration // since the start, when that gap began
	FirstLost      uint64        // number of the first that is missing
	LastLost       uint64        // and of the last that was followed by others
}

// Lost is how many were sent and never came.
func (r Report) Lost() uint64 { return r.Sent - r.Received }

// String gives the report on one line.
func (r Report) String() string {
	s := fmt.Sprintf("%d sent, %d received, %d lost, %d duplicated, %d reordered, longest gap %v after %v",
		r.Sent, r.Received, r.Lost(), r.Duplicated, r.Reordered, r.Gap.Round(time.Millisecond), r.GapAt.Round(time.Millisecond))
	if r.Refused > 0 {
		s += fmt.Sprintf(", %d refused by the sender's kernel", r.Refused)
	}
	if r.Lost() > 0 {
		s += fmt.Sprintf(", the first lost is number %d", r.FirstLost)
	}
	return s
}

const (
	streamHeader = 8 // the number, big endian
	// The end of a stream is waited for this long at most.
	streamSettle = 2 * time.Second
	// So many are sent at once at most: a queue on the way shall not overflow
	// because the sender had to wait for the CPU.
	streamBurst = 64
)

// Stream starts to send packets of size octets of UDP payload (at least 8),
// perSecond of them a second, from a node to an address of another.
func (n *Node) Stream(to *Node, address netip.AddrPort, perSecond, size int) (*Stream, error) {
	s := &Stream{stop: make(chan struct{}), began: time.Now()}
	network, any := "udp4", netip.IPv4Unspecified()
	if address.Addr().Is6() {
		network, any = "udp6", netip.IPv6Unspecified()
	}
	local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(any, address.Port()))
	err := to.Do(func() (err error) {
		s.receive, err = net.ListenUDP(network, local)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: stream: %w", to.Name, err)
	}
	if err := bigBuffer(s.receive); err != nil {
		s.receive.Close()
		return nil, fmt.Errorf("node %s: stream: %w", to.Name, err)
	}
	// Not connected: an ICMP error shall not stop the stream.
	err = n.Do(func() (err error) {
		s.send, err = net.ListenUDP(network, nil)
		return err
	})
	if err != nil {
		s.receive.Close()
		return nil, fmt.Errorf("node %s: stream: %w", n.Name, err)
	}
	s.wait.Go(s.count)
	go s.pace(address, perSecond, max(size, streamHeader))
	return s, nil
}

// bigBuffer keeps the receiver's socket from being what loses packets.
func bigBuffer(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	}); err != nil {
		return err
	}
	return set
}

// pace sends what is due and sleeps a little: on a busy machine it catches up,
// by and by.
func (s *Stream) pace(to netip.AddrPort, perSecond, size int) {
	defer close(s.stop)
	packet := make([]byte, size)
	interval := time.Second / time.Duration(perSecond)
	for number := uint64(0); ; {
		due := min(uint64(time.Since(s.began)/interval), number+streamBurst)
		for ; number < due; number++ {
			binary.BigEndian.PutUint64(packet, number)
			s.sent.Store(number + 1)
			if _, err := s.send.WriteToUDPAddrPort(packet, to); err != nil {
				if isClosed(err) {
					s.sent.Store(number)
					return
				}
				s.refused.Add(1)
			}
		}
		time.Sleep(min(interval, time.Millisecond))
	}
}

func (s *Stream) count() {
	buf := make([]byte, 1<<16)
	var last time.Duration
	for {
		n, err := s.receive.Read(buf)
		if err != nil {
			if isClosed(err) {
				return
			}
			continue
		}
		if n < streamHeader {
			continue
		}
		number, at := binary.BigEndian.Uint64(buf), time.Since(s.began)
		s.mu.Lock()
		if number < 1<<28 { // another's packet would claim any number
			s.note(number, at, at-last)
		}
		s.mu.Unlock()
		last = at
		s.arrivals.Add(1)
	}
}

func (s *Stream) note(number uint64, at, gap time.Duration) {
	for uint64(len(s.seen)) <= number {
		s.seen = append(s.seen, arrival{})
	}
	a := &s.seen[number]
	a.times++
	if a.times > 1 {
		s.report.Duplicated++
		return
	}
	a.at = at
	s.report.Received++
	if number < s.highest {
		s.report.Reordered++
	}
	s.highest = max(s.highest, number)
	if gap > s.report.Gap {
		s.report.Gap, s.report.GapAt = gap, at-gap
	}
}

// Received is how many packets have come so far.
func (s *Stream) Received() uint64 { return s.arrivals.Load() }

// Run lets the stream go on for d.
func (s *Stream) Run(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Snapshot is the report so far; packets on their way count as lost.
func (s *Stream) Snapshot() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Sent, r.Refused = max(s.sent.Load(), r.Received), s.refused.Load()
	r.FirstLost = uint64(len(s.seen))
	for number, a := range s.seen {
		if a.times == 0 {
			r.FirstLost, r.LastLost = min(r.FirstLost, uint64(number)), uint64(number)
		}
	}
	return r
}

// Stop ends the stream, waits for what is on its way, and reports.
func (s *Stream) Stop() Report { return s.StopWithin(streamSettle) }

// StopWithin is Stop where what is on its way may take so long, as in an emulated machine.
func (s *Stream) StopWithin(settle time.Duration) Report {
	s.send.Close()
	<-s.stop
	for deadline := time.Now().Add(settle); time.Now().Before(deadline) && s.Snapshot().Lost() > 0; {
		time.Sleep(10 * time.Millisecond)
	}
	s.receive.Close()
	s.wait.Wait()
	return s.Snapshot()
}
