// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"dmvpn/loader/kernel"
	"dmvpn/loader/tables"
)

// TestAPeerHasAQueueOfItsOwn: whatever their flows, packets to one peer wait in one queue, those
// of several in several, and in as many as there should be.
func TestAPeerHasAQueueOfItsOwn(t *testing.T) {
	const peers, each, opened = 6, 20, 4
	m := newMachine(t)
	p := open(t, m.options)
	device := m.device
	for range opened - 1 {
		_, err := device.OpenQueue()
		check(t, err)
	}
	check(t, p.AttachTunnel(m.tunnel, false))
	check(t, p.Tables.SetTunnel(tables.Tunnel{IfIndex: m.tunnel, UnderlayIfIndex: m.underlay, Local: netip.MustParseAddr("192.0.2.11"), Protected: true, MTU: 1400}))
	for n := range peers {
		hop := netip.AddrFrom4([4]byte{10, 0, 0, byte(100 + n)})
		id, err := p.Tables.Admit(m.tunnel, tables.Endpoint{NBMA: netip.AddrFrom4([4]byte{198, 18, byte(n), 1})}, hop, 0)
		check(t, err)
		check(t, p.Tables.Bind(m.tunnel, hop, id))
	}
	for _, queues := range []int{opened, 3, 1} {
		check(t, p.Steer(device.Queues[0], queues))
		for n := range peers {
			for range each {
				c, err := net.Dial("udp4", fmt.Sprintf("10.0.0.%d:4000", 100+n)) // from a port of its own
				check(t, err)
				_, err = c.Write([]byte("data"))
				check(t, err)
				check(t, c.Close())
			}
		}
		place, used, count := map[uint32]int{}, map[int]bool{}, 0 // queue by peer
		for i, q := range device.Queues {
			for _, peer := range waiting(t, q) {
				if before, known := place[peer]; known && before != i {
					t.Fatalf("of %d queues: peer %d has packets in %d and %d", queues, peer, before, i)
				}
				place[peer], used[i] = i, true
				if count++; i >= queues {
					t.Fatalf("of %d queues: a packet to peer %d is in %d", queues, peer, i)
				}
			}
		}
		if len(place) != peers || count != peers*each || len(used) != queues {
			t.Errorf("of %d queues: %d packets to %d peers in %d", queues, count, len(place), len(used))
		}
	}
}

// waiting reads a queue empty, and gives whom the packets are for.
func waiting(t *testing.T, q *os.File) (peers []uint32) {
	t.Helper()
	check(t, q.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	b := make([]byte, 2000)
	for {
		n, err := q.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return peers
		}
		check(t, err)
		const tag = kernel.VnetHeader
		if n < tag+8 || b[tag] != 0xd0 {
			t.Fatalf("a packet without a tag: % x", b[:n])
		}
		peers = append(peers, binary.NativeEndian.Uint32(b[tag+4:]))
	}
}
