// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"fmt"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

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
		if err := raw.Read(try); err != nil {
			return 0, err
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
