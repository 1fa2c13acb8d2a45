// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Frames that one direction of a relay holds at most; more are lost, as in a
// router's queue.
const relayQueue = 4096

// Room for a frame: 1500 octets and an Ethernet header with a VLAN tag.
const relayFrame = 1518

// A relay copies frames between two TAPs, each after the wire's delay. The TAPs
// offer no offload: the kernel segments and fills in checksums before it hands a
// frame over, so that what is copied is what a cable would carry.
type relay struct {
	taps [2]*os.File
	wait sync.WaitGroup
}

func newRelay(w *Wire, a, b *Node) (*relay, error) {
	r := &relay{}
	for i, end := range []struct {
		node   *Node
		device string
	}{{a, w.A.Device}, {b, w.B.Device}} {
		tap, err := openTAP(end.node, end.device)
		if err != nil {
			r.close()
			return nil, err
		}
		r.taps[i] = tap
	}
	r.copy(w, r.taps[0], r.taps[1])
	r.copy(w, r.taps[1], r.taps[0])
	return r, nil
}

func openTAP(n *Node, device string) (tap *os.File, err error) {
	err = n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(device)
		if err == nil {
			req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("TAP %s: %w", device, err)
		}
		tap = os.NewFile(uintptr(fd), device)
		return nil
	})
	return tap, err
}

type delayed struct {
	at    time.Time
	frame *[relayFrame]byte
	size  int
}

// copy starts one direction. The reader stamps, the writer waits.
func (r *relay) copy(w *Wire, from, to *os.File) {
	pool := sync.Pool{New: func() any { return new([relayFrame]byte) }}
	queue := make(chan delayed, relayQueue)
	r.wait.Go(func() {
		defer close(queue)
		for {
			frame := pool.Get().(*[relayFrame]byte)
			n, err := from.Read(frame[:])
			if err != nil {
				pool.Put(frame)
				if errors.Is(err, os.ErrClosed) {
					return
				}
				// The device is down: frames come again when it is up.
				time.Sleep(time.Millisecond)
				continue
			}
			if w.Inspect != nil {
				w.Inspect(frame[:n])
			}
			if w.Lose != nil && w.Lose(frame[:n]) {
				pool.Put(frame)
				continue
			}
			select {
			case queue <- delayed{time.Now().Add(w.Delay), frame, n}:
			default:
				pool.Put(frame)
			}
		}
	})
	r.wait.Go(func() {
		for d := range queue {
			if wait := time.Until(d.at); wait > 0 {
				time.Sleep(wait)
			}
			// The other end may be down; then the frame is lost as on a cable.
			_, _ = to.Write(d.frame[:d.size])
			pool.Put(d.frame)
		}
	})
}

func (r *relay) close() {
	for _, t := range r.taps {
		if t != nil {
			t.Close()
		}
	}
	r.wait.Wait()
}
