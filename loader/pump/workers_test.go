// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dmvpn/loader/netnstest"
)

// counted is a queue that counts what is read of it.
type counted struct {
	*os.File
	packets atomic.Int64
}

func (c *counted) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.File.SyscallConn()
	return &countedConn{raw, c}, err
}

type countedConn struct {
	syscall.RawConn
	of *counted
}

func (c *countedConn) Read(f func(uintptr) bool) error {
	return c.RawConn.Read(func(fd uintptr) bool {
		done := f(fd)
		if done {
			c.of.packets.Add(1)
		}
		return done
	})
}

// Two workers with a queue each seal for one peer by one SA: nothing is lost or taken for a
// replay, and the packets of each flow come in their order.
func TestTwoQueuesKeepTheOrderOfFlows(t *testing.T) {
	const flows, rounds, burst = 32, 50, 20
	near, far, pid, _ := newSites(t, nil)
	join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	second := &counted{File: must(near.device.OpenQueue())(t)}
	var worker sync.WaitGroup
	worker.Go(func() {
		if err := near.pump.RunQueue(second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the second worker ended: %v", err)
		}
	})
	defer func() {
		check(t, second.SetReadDeadline(time.Unix(1, 0)))
		worker.Wait()
		check(t, second.Close())
	}()

	var server *net.UDPConn
	netnstest.In(t, pid, func() { server = listen(t, "10.0.0.1:5002") })
	check(t, server.SetReadBuffer(4<<20))
	check(t, server.SetReadDeadline(time.Now().Add(60*time.Second)))
	var conns []net.Conn
	for range flows {
		c := must(net.Dial("udp4", "10.0.0.1:5002"))(t)
		defer c.Close()
		conns = append(conns, c)
	}
	next := map[int]uint32{} // by port
	data, buf := make([]byte, 200), make([]byte, 400)
	for round := range uint32(rounds) {
		var senders sync.WaitGroup
		for _, half := range [][]net.Conn{conns[:flows/2], conns[flows/2:]} {
			senders.Go(func() {
				data := append([]byte(nil), data...)
				for n := range uint32(burst) {
					binary.BigEndian.PutUint32(data, round*burst+n)
					for _, c := range half {
						if _, err := c.Write(data); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		senders.Wait()
		for range flows * burst {
			n, from, err := server.ReadFromUDP(buf)
			if err != nil || n != len(data) {
				t.Fatalf("round %d: %d octets, %v; near dropped %s, far %s", round, n, err, near.drops(), far.drops())
			}
			if got := binary.BigEndian.Uint32(buf); got != next[from.Port] {
				t.Fatalf("of the flow from port %d came number %d, not %d", from.Port, got, next[from.Port])
			}
			next[from.Port]++
		}
	}
	t.Logf("%d of %d packets by the second queue", second.packets.Load(), flows*rounds*burst)
	if n := second.packets.Load(); n < rounds || n > (flows-1)*rounds*burst {
		t.Errorf("%d of %d packets came by the second queue", n, flows*rounds*burst)
	}
	if d := near.drops() + far.drops(); d != "" {
		t.Errorf("dropped: %s", d)
	}
}
