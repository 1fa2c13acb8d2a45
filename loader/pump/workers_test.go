// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/netnstest"
)

// order notes the sequence numbers that leave.
type order struct {
	*site
	mu     sync.Mutex
	last   uint32
	behind int // that were not above all before
}

func (o *order) SendSegments(p *esp.Path, tos uint8, size int, b []byte) error {
	o.mu.Lock()
	for at := 0; at < len(b); at += size {
		number := binary.BigEndian.Uint32(b[at+4:])
		if number <= o.last {
			o.behind++
		}
		o.last = number
	}
	o.mu.Unlock()
	return o.site.SendSegments(p, tos, size, b)
}

// Two workers with a queue each seal for one peer by one SA, and NHRP goes between: nothing is
// lost or taken for a replay, sequence numbers leave in their order, and so do the packets of
// each flow.
func TestTwoQueuesKeepTheOrderOfFlows(t *testing.T) {
	const flows, rounds, burst = 32, 50, 20
	var leaving order
	near, far, pid, _ := newSites(t, func(c *Config) {
		if leaving.site == nil { // near is the first
			leaving.site = c.ESP.(*site)
			c.ESP = &leaving
		}
	})
	a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	second := NewQueue(must(near.device.OpenQueue())(t))
	var worker sync.WaitGroup
	worker.Go(func() {
		if err := near.pump.RunQueue(second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the second worker ended: %v", err)
		}
	})
	defer func() {
		check(t, near.device.Queues[1].SetReadDeadline(time.Unix(1, 0)))
		worker.Wait()
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
		check(t, near.pump.SendSecure(a, []byte("registration")))
		if got := <-far.nhrp; got != "registration" {
			t.Fatalf("NHRP %q", got)
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
	read, _ := second.Counters()
	t.Logf("%d of %d packets by the second queue", read, flows*rounds*burst)
	if read < rounds || read > (flows-1)*rounds*burst {
		t.Errorf("%d of %d packets came by the second queue", read, flows*rounds*burst)
	}
	if leaving.behind > 0 {
		t.Errorf("%d packets left behind a higher sequence number", leaving.behind)
	}
	if d := near.drops() + far.drops(); d != "" {
		t.Errorf("dropped: %s", d)
	}
}
