// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// recorder is a queue that keeps what is written.
type recorder struct {
	without bool // GSO of UDP, as before kernel 6.2
	writes  [][]byte
}

func (r *recorder) Read([]byte) (int, error) { return 0, unix.EAGAIN }
func (r *recorder) Close() error             { return nil }
func (r *recorder) Write(b []byte) (int, error) {
	if r.without && parseVnet(b).gsoType == gsoUDPL4 {
		return 0, unix.EINVAL
	}
	r.writes = append(r.writes, append([]byte(nil), b...))
	return len(b), nil
}

// packets cuts what was written as a kernel would.
func (r *recorder) packets(t rapid.TB) (all []inner) {
	for _, w := range r.writes {
		v := parseVnet(w)
		p, ok := parseInner(w[vnetHeader:])
		if !ok {
			t.Fatalf("not a packet: %x", w)
		}
		if v.gsoType == gsoNone {
			all = append(all, p)
			continue
		}
		l4 := map[uint8]uint16{gsoTCPv4: tcpHeader, gsoTCPv6: tcpHeader, gsoUDPL4: udpHeader}[v.gsoType]
		if v.flags != vnetNeedsSum || int(v.sumStart) != p.header || int(v.headers) != p.header+int(l4) {
			t.Fatalf("virtio_net_hdr: %+v", v)
		}
		if !p.segment(v, nil, func(s inner) {
			all = append(all, inner{append([]byte(nil), s.b...), s.header})
		}) {
			t.Fatalf("GSO packet that cannot be cut: %+v %x", v, w[:60])
		}
	}
	return all
}

// sameFlow is what keeps its order.
func sameFlow(p inner) string {
	return fmt.Sprint(p.protocol(), p.source(), p.destination(), p.payload()[:4])
}

// timeless is a packet without its identification, which says nothing without fragments.
func timeless(p inner) string {
	b := append([]byte(nil), p.b...)
	if !p.six() && p.fragment() == flagDF {
		clear(b[4:6])
		clear(b[10:12])
	}
	return string(b)
}

const sixth = 10 // the first flow of IPv6

// segmentOf makes a packet of a flow: TCP of even ones, UDP of odd ones, in IPv6 those from
// sixth on.
func segmentOf(flow int, sequence uint32, payload int, fault string) inner {
	b := []byte{0x45, 0, 0, 0, 0, 9, 0x40, 0, 64, protocolTCP, 0, 0, 10, 1, 0, byte(flow), 10, 2, 0, 1}
	if flow%2 == 1 {
		b[9] = protocolUDP
		b = append(b, 0x13, byte(flow), 0x13, 0x88, 0, 0, 0, 0)
	} else {
		b = append(b, 0x13, byte(flow), 0x13, 0x88, 0, 0, 0, 0, 0, 0, 0, 7, 5<<4, flagACK, 1, 0, 0, 0, 0, 0)
		binary.BigEndian.PutUint32(b[24:], sequence)
		if fault == "PSH" {
			b[33] |= flagPSH
		}
	}
	for i := range payload {
		b = append(b, byte(int(sequence)+i))
	}
	if fault == "may be cut" {
		b[6] = 0
	}
	if fault == "another TOS" {
		b[1] = 4
	}
	p := inner{b, ipHeader}
	p.seal()
	if flow >= sixth {
		p = as6(p)
	}
	sum := 16
	if flow%2 == 1 {
		sum = 6
		p.sealUDP()
	} else {
		p.sealTCP(0, true)
	}
	switch fault {
	case "wrong checksum":
		p.payload()[sum] ^= 0x55
	case "no checksum":
		clear(p.payload()[sum : sum+2])
	}
	return p
}

// What is merged comes apart as it came, each flow in its order, whatever is between.
func TestMergedPacketsComeApartAsTheyCame(t *testing.T) {
	w := newWire(t)
	id := w.admit(t, peer1, "10.0.0.1")
	faults := []string{"", "", "", "", "", "", "PSH", "may be cut", "another TOS", "wrong checksum", "no checksum", "gap"}
	for _, without := range []bool{false, true} {
		rapid.Check(t, func(t *rapid.T) {
			q := &recorder{without: without}
			p := &Pump{config: Config{Queues: []*Queue{NewQueue(q)}, Tables: w.tables}}
			m := newMerger(p, 0)
			want, sequence := map[string][]string{}, map[int]uint32{}
			for range rapid.IntRange(1, 200).Draw(t, "packets") {
				flow := rapid.SampledFrom([]int{0, 1, 2, 3, sixth, sixth + 1, sixth + 2}).Draw(t, "flow")
				size := rapid.SampledFrom([]int{100, 100, 100, 100, 1200, 7, 0}).Draw(t, "payload")
				fault := rapid.SampledFrom(faults).Draw(t, "fault")
				if fault == "gap" {
					sequence[flow]++
				}
				in := segmentOf(flow, sequence[flow], size, fault)
				sequence[flow] += uint32(size)
				want[sameFlow(in)] = append(want[sameFlow(in)], timeless(in))
				m.add(id, inner{append([]byte(nil), in.b...), in.header})
				if rapid.IntRange(0, 30).Draw(t, "end") == 0 {
					m.end()
				}
			}
			m.end()
			if !m.idle() {
				t.Fatal("something was left")
			}
			got := map[string][]string{}
			for _, p := range q.packets(t) {
				got[sameFlow(p)] = append(got[sameFlow(p)], timeless(p))
			}
			for flow, list := range want {
				if len(got[flow]) != len(list) {
					t.Fatalf("flow %s: %d packets, want %d", flow, len(got[flow]), len(list))
				}
				for i := range list {
					if got[flow][i] != list[i] {
						t.Fatalf("flow %s, packet %d:\n%x\nwant\n%x", flow, i, got[flow][i], list[i])
					}
				}
			}
		})
	}
}

// Packets of several flows in turns still become few.
func TestPacketsAreMerged(t *testing.T) {
	w := newWire(t)
	id := w.admit(t, peer1, "10.0.0.1")
	for _, c := range []struct {
		what    string
		without bool
		add     func(*merger)
		writes  int
	}{
		{"40 segments of TCP", false, func(m *merger) {
			for i := range 40 {
				m.add(id, segmentOf(0, uint32(i*1000), 1000, ""))
			}
		}, 1},
		{"40 segments of TCP in IPv6", false, func(m *merger) {
			for i := range 40 {
				m.add(id, segmentOf(sixth, uint32(i*1000), 1000, ""))
			}
		}, 1},
		{"64 datagrams in IPv6", false, func(m *merger) {
			for range 64 {
				m.add(id, segmentOf(sixth+1, 0, 64, ""))
			}
		}, 1},
		{"64 datagrams in IPv6, and a kernel without GSO of UDP", true, func(m *merger) {
			for range 64 {
				m.add(id, segmentOf(sixth+1, 0, 64, ""))
			}
		}, 64},
		{"64 datagrams", false, func(m *merger) {
			for range 64 {
				m.add(id, segmentOf(1, 0, 64, ""))
			}
		}, 1},
		{"65 datagrams are more than the kernel takes", false, func(m *merger) {
			for range 65 {
				m.add(id, segmentOf(1, 0, 64, ""))
			}
		}, 2},
		{"64 datagrams, and a kernel without GSO of UDP", true, func(m *merger) {
			for range 64 {
				m.add(id, segmentOf(1, 0, 64, ""))
			}
		}, 64},
		{"segments of two connections in turns", false, func(m *merger) {
			for i := range 20 {
				m.add(id, segmentOf(0, uint32(i*1000), 1000, ""))
				m.add(id, segmentOf(2, uint32(i*1000), 1000, ""))
			}
		}, 2},
		{"70 segments are above 64 KiB", false, func(m *merger) {
			for i := range 70 {
				m.add(id, segmentOf(0, uint32(i*1000), 1000, ""))
			}
		}, 2},
		{"datagrams of two peers", false, func(m *merger) {
			for range 5 {
				m.add(id, segmentOf(1, 0, 64, ""))
				m.add(id+1, segmentOf(1, 0, 64, ""))
			}
		}, 10},
	} {
		t.Run(c.what, func(t *testing.T) {
			q := &recorder{without: c.without}
			m := newMerger(&Pump{config: Config{Queues: []*Queue{NewQueue(q)}, Tables: w.tables}}, 0)
			before := must(w.tables.Stats(id))(t)
			c.add(m)
			m.end()
			if len(q.writes) != c.writes {
				t.Errorf("%d writes, want %d", len(q.writes), c.writes)
			}
			count := 0
			for _, p := range q.packets(t) {
				if !good(p) {
					t.Errorf("checksums or length of %x", p.b)
				}
				count++
			}
			after := must(w.tables.Stats(id))(t)
			if n := after.RxPackets - before.RxPackets; n != uint64(count) && c.what != "datagrams of two peers" {
				t.Errorf("%d packets, counted %d", count, n)
			}
		})
	}
}

// sum agrees with the definition, of any length and wherever it lies.
func TestSumIsThatOfRFC1071(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "octets")
		b = b[min(len(b), rapid.IntRange(0, 9).Draw(t, "from")):]
		start := uint32(rapid.Uint16().Draw(t, "start"))
		want := start
		for i, o := range b {
			want += uint32(o) << (8 * (1 - i%2))
		}
		if got := fold(sum(start, b)); got != fold(want) && !(got%0xffff == 0 && fold(want)%0xffff == 0) {
			t.Fatalf("%#x, want %#x", got, fold(want))
		}
	})
}
