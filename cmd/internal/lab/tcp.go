// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

// A Talk is a TCP connection that is kept in use: numbered blocks go one way at
// a steady rate, each is checked and acknowledged by the other end.
type Talk struct {
	listener net.Listener
	client   net.Conn
	stop     chan struct{}
	asked    chan struct{} // closed by the asker, whose report is
	report   TalkReport
	blocks   atomic.Uint64
	wait     sync.WaitGroup
}

// A TalkReport is what became of a talk.
type TalkReport struct {
	Blocks          uint64        // sent and acknowledged
	Longest         time.Duration // longest wait for an acknowledgement
	Retransmissions uint32        // segments that TCP sent again because they were lost
	Err             error         // why it ended early
}

const (
	talkBlock    = 4096
	talkInterval = 5 * time.Millisecond
	// A block that is not acknowledged for this long ends the talk.
	talkPatience = 15 * time.Second
)

// Talk connects to an address of another node and keeps talking.
func (n *Node) Talk(to *Node, address netip.AddrPort) (*Talk, error) {
	t := &Talk{stop: make(chan struct{}), asked: make(chan struct{})}
	err := to.Do(func() (err error) {
		any := netip.IPv4Unspecified()
		if address.Addr().Is6() {
			any = netip.IPv6Unspecified()
		}
		t.listener, err = net.Listen("tcp", netip.AddrPortFrom(any, address.Port()).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: talk: %w", to.Name, err)
	}
	t.wait.Go(t.answer)
	err = n.Do(func() (err error) {
		t.client, err = net.DialTimeout("tcp", address.String(), 10*time.Second)
		return err
	})
	if err != nil {
		t.listener.Close()
		t.wait.Wait()
		return nil, fmt.Errorf("node %s: talk to %v: %w", n.Name, address, err)
	}
	go t.ask()
	return t, nil
}

// answer sends the number of every block back.
func (t *Talk) answer() {
	c, err := t.listener.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	block := make([]byte, talkBlock)
	for {
		if _, err := io.ReadFull(c, block); err != nil {
			return
		}
		if _, err := c.Write(block[:8]); err != nil {
			return
		}
	}
}

func (t *Talk) ask() {
	defer close(t.asked)
	tick := time.NewTicker(talkInterval)
	defer tick.Stop()
	block, answer := make([]byte, talkBlock), make([]byte, 8)
	for number := uint64(0); ; number++ {
		select {
		case <-t.stop:
			return
		case <-tick.C:
		}
		began := time.Now()
		_ = t.client.SetDeadline(began.Add(talkPatience))
		binary.BigEndian.PutUint64(block, number)
		_, err := t.client.Write(block)
		if err == nil {
			_, err = io.ReadFull(t.client, answer)
		}
		if err == nil && binary.BigEndian.Uint64(answer) != number {
			err = fmt.Errorf("block %d was answered as %d", number, binary.BigEndian.Uint64(answer))
		}
		if err != nil {
			t.report.Err = err
			return
		}
		t.report.Blocks = t.blocks.Add(1)
		t.report.Longest = max(t.report.Longest, time.Since(began))
	}
}

// Blocks is how many blocks were sent and acknowledged so far.
func (t *Talk) Blocks() uint64 { return t.blocks.Load() }

// Stop ends the talk after the block that is on its way, and reports.
func (t *Talk) Stop() TalkReport {
	close(t.stop)
	<-t.asked
	t.report.Retransmissions = retransmissions(t.client)
	t.client.Close()
	t.listener.Close()
	t.wait.Wait()
	return t.report
}

// retransmissions leaves out those that the other end had already: on a busy
// machine an acknowledgement may just be late.
func retransmissions(conn net.Conn) uint32 {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	var total uint32
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			total = info.Total_retrans - min(info.Dsack_dups, info.Total_retrans)
		}
	})
	return total
}
