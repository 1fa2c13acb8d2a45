// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"dmvpn/loader/esp"
)

// sends notes what is sent: the port of the peer, and how many packets.
type sends struct {
	t       *testing.T
	log     []string
	numbers map[uint16][]uint32 // sequence numbers, by port
}

func (s *sends) SendSegments(p *esp.Path, _ uint8, size int, b []byte) error {
	port := p.Remote.Port()
	n := 0
	for ; len(b) > 0; b = b[min(size, len(b)):] {
		s.numbers[port] = append(s.numbers[port], binary.BigEndian.Uint32(b[4:]))
		n++
	}
	s.log = append(s.log, fmt.Sprintf("%d×%d", port, n))
	return nil
}

// crowd is a pump with so many peers, at ports from 1 on.
func crowd(t *testing.T, peers int) (*sealer, *sends, []*esp.Association) {
	w := newWire(t)
	to := &sends{t: t, numbers: map[uint16][]uint32{}}
	p := New(Config{Tunnel: w.tunnel, Header: header, MTU: 1400, Queues: []*Queue{NewQueue(nowhere{})}, Tables: w.tables, Protected: true, ESP: to})
	database := esp.NewDatabase(rand.Reader, nil)
	var all []*esp.Association
	for n := range peers {
		spi := must(database.Reserve())(t)
		a := &esp.Association{Peer: uint64(n + 1), Out: must(esp.NewOutbound(esp.OutboundConfig{SPI: spi, Transform: gcm}))(t),
			In: must(esp.NewInbound(esp.InboundConfig{SPI: spi, Transform: gcm}))(t)}
		check(t, database.Install(a, esp.Path{Remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(n+1)), Encapsulation: true}))
		all = append(all, a)
	}
	return newSealer(p), to, all
}

// nowhere is a queue that nobody reads.
type nowhere struct{}

func (nowhere) Read([]byte) (int, error)    { return 0, nil }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) Close() error                { return nil }

// Packets for several peers in turns take a system call a peer, not one a packet; those of
// one peer leave in the order of their sequence numbers.
func TestPacketsAreGatheredByPeer(t *testing.T) {
	type packet struct {
		peer, octets int
		tos          uint8
	}
	turns := func(n int, peers ...int) (all []packet) {
		for range n {
			for _, p := range peers {
				all = append(all, packet{p, 100, 0})
			}
		}
		return all
	}
	for _, c := range []struct {
		name    string
		peers   int
		packets []packet
		sends   []string
	}{
		{"two peers in turns", 2, turns(5, 1, 2), []string{"1×5", "2×5"}},
		{"as many peers as there are batches", 8, turns(3, 8, 7, 6, 5, 4, 3, 2, 1),
			[]string{"8×3", "7×3", "6×3", "5×3", "4×3", "3×3", "2×3", "1×3"}},
		{"one peer more: the oldest makes room", 9, append(turns(2, 1, 2, 3, 4, 5, 6, 7, 8), turns(1, 9, 1)...),
			[]string{"1×2", "2×2", "9×1", "1×1", "3×2", "4×2", "5×2", "6×2", "7×2", "8×2"}},
		{"a shorter packet is the last of its batch", 2, []packet{{1, 100, 0}, {2, 100, 0}, {1, 60, 0}, {1, 60, 0}},
			[]string{"1×2", "1×1", "2×1"}},
		{"a longer one begins another", 1, []packet{{1, 60, 0}, {1, 100, 0}}, []string{"1×1", "1×1"}},
		{"another TOS begins another", 1, []packet{{1, 100, 0}, {1, 100, 0x10}}, []string{"1×1", "1×1"}},
		{"a full one goes", 2, append(turns(1, 2), turns(65, 1)...), []string{"1×64", "2×1", "1×1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, to, all := crowd(t, c.peers)
			for _, p := range c.packets {
				s.add(0, all[p.peer-1], 0x0800, p.tos, make([]byte, p.octets))
			}
			s.end()
			if !slices.Equal(to.log, c.sends) {
				t.Errorf("sent %v, want %v", to.log, c.sends)
			}
			if s.waiting != 0 {
				t.Errorf("%d batches wait", s.waiting)
			}
			for port, numbers := range to.numbers {
				for i, n := range numbers {
					if int(n) != i+1 {
						t.Fatalf("peer %d: number %d is the %dth that left", port, n, i+1)
					}
				}
			}
		})
	}
}
