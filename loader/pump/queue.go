// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// A Queue is one of the tunnel device's, with virtio_net_hdr. One worker at a time may read it
// (Pump.RunQueue), any may write into it.
type Queue struct {
	file          io.ReadWriter
	read, written atomic.Uint64
	emptied       sync.Once
	empty         chan struct{}
}

// NewQueue makes one of a descriptor, which stays the caller's.
func NewQueue(f io.ReadWriter) *Queue { return &Queue{file: f, empty: make(chan struct{})} }

// Empty gives a channel that is closed when the queue's worker has found nothing in it for the
// first time: what waited when it began is gone.
func (q *Queue) Empty() <-chan struct{} { return q.empty }

// Counters gives how many packets were read from the queue and written into it; GSO packets
// count as one.
func (q *Queue) Counters() (read, written uint64) { return q.read.Load(), q.written.Load() }

// write gives the device one packet, with its virtio_net_hdr.
func (q *Queue) write(b []byte) error {
	_, err := q.file.Write(b)
	if err == nil {
		q.written.Add(1)
	}
	return err
}

// reader gives a function that reads one packet of a queue, and calls idle before it
// waits: what was gathered goes out when no more is there.
func reader(queue io.Reader, idle func()) (func([]byte) (int, error), error) {
	conn, ok := queue.(syscall.Conn)
	if !ok {
		return func(b []byte) (int, error) {
			idle()
			return queue.Read(b)
		}, nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("pump: the queue: %w", err)
	}
	// One closure for all calls: nothing is allocated for a packet.
	var buf []byte
	var n int
	var failed error
	try := func(fd uintptr) bool {
		for {
			if n, failed = unix.Read(int(fd), buf); failed != unix.EINTR {
				break
			}
		}
		if failed == unix.EAGAIN {
			idle()
			return false
		}
		return true
	}
	return func(b []byte) (int, error) {
		buf, n, failed = b, 0, nil
		switch err := raw.Read(try); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case err != nil:
			return 0, os.ErrClosed // the poller has an error of its own for that
		}
		return n, failed
	}, nil
}

// slowSealer seals single packets for whoever has one.
type slowSealer struct {
	mu     sync.Mutex
	sealer *sealer
}

func (s *slowSealer) send(id tables.PeerID, a *esp.Association, protocol uint16, tos uint8, packet []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealer.add(id, a, protocol, tos, packet)
	if s.sealer.flush(s.sealer.batch(a)) {
		return underlay.ErrTooBig
	}
	return nil
}
