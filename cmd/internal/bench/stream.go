// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"errors"

	"golang.org/x/net/ipv4"
)

const (
	streamWindow = 256 // packets on their way at most: less than any tunnel's queue
	streamBurst  = 32  // packets that are sent at once
	streamPort   = 9999
	// streamLost is after how long without an arrival packets on their way are given up.
	streamLost = 100 * time.Millisecond
)

// A stream is UDP packets from host to host over a course, as many as the tunnel
// takes: never more than a window of them are on their way, so that nothing is dropped
// and every tunnel has work waiting.
type stream struct {
	from, to *net.UDPConn
	arrived  atomic.Uint64
	octets   int // of a payload
}

func (c *course) stream(octets int) (*stream, error) {
	s := &stream{octets: octets}
	to := &net.UDPAddr{IP: net.ParseIP(hostAddressB), Port: streamPort}
	err := c.hostB.Do(func() (err error) {
		s.to, err = net.ListenUDP("udp4", to)
		return err
	})
	if err == nil {
		err = c.hostA.Do(func() (err error) {
			s.from, err = net.DialUDP("udp4", nil, to)
			return err
		})
	}
	if err == nil {
		err = s.to.SetReadBuffer(4 << 20)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	go s.receive()
	return s, nil
}

func (s *stream) close() (err error) {
	for _, c := range []*net.UDPConn{s.from, s.to} {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

func messages(n, octets int) []ipv4.Message {
	list := make([]ipv4.Message, n)
	for i := range list {
		list[i].Buffers = [][]byte{make([]byte, octets)}
	}
	return list
}

// receive counts until the socket is closed.
func (s *stream) receive() {
	list, conn := messages(2*streamBurst, s.octets), ipv4.NewPacketConn(s.to)
	for {
		n, err := conn.ReadBatch(list, 0)
		if err != nil {
			return
		}
		s.arrived.Add(uint64(n))
	}
}

// run sends for so long, and gives how many packets were sent, and how many of them
// arrived.
func (s *stream) run(d time.Duration) (sent, arrived uint64, err error) {
	list, conn := messages(streamBurst, s.octets), ipv4.NewPacketConn(s.from)
	begin, lost := s.arrived.Load(), uint64(0)
	last, since := begin, time.Now()
	for end := since.Add(d); ; {
		now := time.Now()
		arrived = s.arrived.Load() - begin
		switch {
		case begin+arrived != last:
			last, since = begin+arrived, now
		case now.Sub(since) > streamLost:
			lost, since = sent-arrived, now
		}
		way := sent - min(sent, arrived+lost)
		if now.After(end) {
			if way == 0 {
				return sent, arrived, nil
			}
		} else if way+streamBurst <= streamWindow {
			n, err := conn.WriteBatch(list, 0)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return 0, 0, fmt.Errorf("send: %w", err)
			}
			sent += uint64(n)
			continue
		}
		time.Sleep(50 * time.Microsecond)
	}
}
