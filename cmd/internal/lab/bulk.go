// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A Bulk is a TCP connection that carries as much as it can, or so much a second, one way.
type Bulk struct {
	listener net.Listener
	client   net.Conn
	wait     sync.WaitGroup

	mu     sync.Mutex
	server net.Conn
	lap    BulkReport
	began  time.Time // of the lap
	last   time.Time // when something arrived
	again  uint32    // retransmissions before the lap
	err    error
}

// A BulkReport is what came in one lap.
type BulkReport struct {
	Octets          uint64
	Took            time.Duration
	Longest         time.Duration // longest time in which nothing came
	Retransmissions uint32        // segments that TCP sent again because they were lost
}

// Rate is in bits a second.
func (r BulkReport) Rate() float64 { return float64(r.Octets) * 8 / r.Took.Seconds() }

// String gives the report on one line.
func (r BulkReport) String() string {
	return fmt.Sprintf("%.0f Mbit/s, longest wait %v, %d retransmissions", r.Rate()/1e6, r.Longest.Round(time.Millisecond), r.Retransmissions)
}

const (
	bulkBlock = 64 << 10
	// What could not be sent for longer is not made up for.
	bulkBurst = 100 * time.Millisecond
)

// Bulk connects to an address of another node and sends, pace bits a second or, if that is 0,
// as many as it can.
func (n *Node) Bulk(to *Node, address netip.AddrPort, pace float64) (*Bulk, error) {
	b := &Bulk{}
	err := to.Do(func() (err error) {
		b.listener, err = net.Listen("tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), address.Port()).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: bulk: %w", to.Name, err)
	}
	err = n.Do(func() (err error) {
		b.client, err = net.DialTimeout("tcp4", address.String(), 10*time.Second)
		return err
	})
	if err != nil {
		b.listener.Close()
		return nil, fmt.Errorf("node %s: bulk to %v: %w", n.Name, address, err)
	}
	b.began = time.Now()
	b.last = b.began
	b.wait.Go(b.count)
	b.wait.Go(func() { b.send(pace) })
	return b, nil
}

func (b *Bulk) send(pace float64) {
	block := make([]byte, bulkBlock)
	for due := time.Now(); ; {
		if _, err := b.client.Write(block); err != nil {
			b.end(err)
			return
		}
		if pace > 0 {
			due = due.Add(time.Duration(bulkBlock * 8 / pace * float64(time.Second)))
			if late := time.Since(due); late > bulkBurst {
				due = due.Add(late - bulkBurst)
			}
			time.Sleep(time.Until(due))
		}
	}
}

func (b *Bulk) count() {
	c, err := b.listener.Accept()
	if err != nil {
		b.end(err)
		return
	}
	defer c.Close()
	b.mu.Lock()
	b.server = c
	b.mu.Unlock()
	buf := make([]byte, 1<<20)
	for {
		n, err := c.Read(buf)
		if err != nil {
			b.end(err)
			return
		}
		now := time.Now()
		b.mu.Lock()
		b.lap.Octets += uint64(n)
		b.lap.Longest = max(b.lap.Longest, now.Sub(b.last))
		b.last = now
		b.mu.Unlock()
	}
}

// end notes why the connection ended before it was closed.
func (b *Bulk) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
}

// Lap gives what came since the start or the last lap; an error says that the connection has
// ended.
func (b *Bulk) Lap() (BulkReport, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, again := time.Now(), retransmissions(b.client)
	r := b.lap
	r.Took, r.Longest, r.Retransmissions = now.Sub(b.began), max(r.Longest, now.Sub(b.last)), again-min(b.again, again)
	b.lap, b.began, b.again = BulkReport{}, now, again
	return r, b.err
}

// Stop ends the connection and gives the last lap.
func (b *Bulk) Stop() (BulkReport, error) {
	r, err := b.Lap()
	b.client.Close()
	b.listener.Close()
	b.mu.Lock()
	if b.server != nil { // the end of the other may not get there
		b.server.Close()
	}
	b.mu.Unlock()
	b.wait.Wait()
	return r, err
}
