// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

const strangeSPI = 0x0badc0de

// esp is an ESP packet of so many octets behind its header.
func esp(spi uint32, n int) gopacket.Payload {
	b := binary.BigEndian.AppendUint32(nil, spi)
	return append(binary.BigEndian.AppendUint32(b, 7), make([]byte, n)...)
}

// inUDP is a datagram to a port, from one behind a NAT.
func inUDP(destination string, port layers.UDPPort, payload []byte, change ...func(*layers.IPv4)) []byte {
	h := ip("203.0.113.99", destination, layers.IPProtocolUDP, change...)
	u := &layers.UDP{SrcPort: 30000, DstPort: port}
	_ = u.SetNetworkLayerForChecksum(h)
	return octets(h, u, gopacket.Payload(payload))
}

func raw(destination string, payload []byte, change ...func(*layers.IPv4)) []byte {
	return octets(ip("203.0.113.99", destination, layers.IPProtocolESP, change...), gopacket.Payload(payload))
}

// refused is what becomes of ESP that no SA is there for.
func refused(name string, packet []byte) packetCase {
	return packetCase{name: name, packet: packet, to: nowhere, drop: DmvpnDropReasonDROP_UNKNOWN_SPI, event: DmvpnEventKindEVENT_UNKNOWN_SPI}
}

// taken is what becomes of what is the daemon's to judge.
func taken(name string, packet []byte) packetCase {
	return packetCase{name: name, packet: packet, to: socket}
}

// leftAlone is what becomes of what the kernel has for others.
func leftAlone(name string, packet []byte) packetCase {
	return packetCase{name: name, packet: packet, to: nowhere}
}

var filterCases = []packetCase{
	taken("ESP in UDP of an SA", inUDP(local, 4500, esp(ourSPI, 100))),
	taken("raw ESP of an SA", raw(local, esp(ourSPI, 100))),
	taken("raw ESP of an SA where we send in UDP", raw(localUDP, esp(ourSPI, 100))),
	taken("ESP of an SA that came to another address of ours, as with MOBIKE", inUDP(localUDP, 4500, esp(ourSPI, 100))),
	taken("ESP of an SA that is cut off is the daemon's to count", inUDP(local, 4500, esp(ourSPI, 0)[:6])),
	refused("drop: ESP in UDP of an SPI that nobody has", inUDP(local, 4500, esp(strangeSPI, 100))),
	refused("drop: without UDP checksum", noSum(inUDP(local, 4500, esp(strangeSPI, 100)))),
	refused("drop: raw ESP of an SPI that nobody has", raw(local, esp(strangeSPI, 100))),
	refused("drop: SPI 0, which none is, in raw ESP", raw(local, esp(0, 100))),
	refused("drop: reserved SPIs are unknown ones", inUDP(local, 4500, esp(255, 100))),
	refused("drop: the least that ESP may be", inUDP(local, 4500, esp(strangeSPI, 0))),
	refused("drop: ESP in UDP behind IP options", inUDP(local, 4500, esp(strangeSPI, 100), routerAlert)),
	refused("drop: raw ESP behind IP options", raw(local, esp(strangeSPI, 100), routerAlert)),
	{name: "drop: ESP in UDP that ends in the sequence number",
		packet: inUDP(local, 4500, esp(strangeSPI, 0)[:7]), to: nowhere, drop: DmvpnDropReasonDROP_TRUNCATED},
	{name: "drop: raw ESP that ends in the sequence number",
		packet: raw(local, esp(strangeSPI, 0)[:4]), to: nowhere, drop: DmvpnDropReasonDROP_TRUNCATED},

	taken("IKE behind the non-ESP marker", inUDP(local, 4500, make([]byte, 32))),
	taken("the non-ESP marker alone", inUDP(local, 4500, make([]byte, 4))),
	taken("a keepalive", inUDP(local, 4500, []byte{0xff})),
	taken("less than an SPI", inUDP(local, 4500, []byte{1, 2, 3})),
	taken("less than an SPI in raw ESP", raw(local, []byte{1, 2, 3})),
	taken("ESP in UDP to an address where nothing is judged", inUDP(localOther, 4500, esp(strangeSPI, 100))),
	taken("raw ESP to an address where nothing is judged", raw(localOther, esp(strangeSPI, 100))),
	leftAlone("raw ESP of others where only that in UDP is ours", raw(localUDP, esp(strangeSPI, 100))),
	leftAlone("the same, cut off", raw(localUDP, esp(strangeSPI, 100)[:4])),
	refused("drop: ESP in UDP where raw ESP is not ours", inUDP(localUDP, 4500, esp(strangeSPI, 100))),
	{name: "merged datagrams may have an SPI each",
		packet: inUDP(local, 4500, append(esp(strangeSPI, 92), esp(ourSPI, 92)...)), gso: 100, to: socket, onlyBy: "run"},
}

// TestFilter runs each case by BPF_PROG_TEST_RUN, and again at real sockets.
func TestFilter(t *testing.T) {
	w := newWorld(t)
	s := w.espSockets(t)
	for _, c := range filterCases {
		t.Run(c.name, func(t *testing.T) {
			w.enter(t)
			if c.onlyBy != "wire" {
				w.fresh(t, c)
				got := result{To: nowhere}
				frame := append(bytes.Clone(link), c.packet...)
				verdict, err := w.test.filter.Run(&ebpf.RunOptions{Data: frame, Context: skb{GSOSize: c.gso}})
				must(t, err)
				if verdict == takeAll {
					got.To, got.Packet = socket, dump(c.packet)
				} else if verdict != 0 {
					t.Fatalf("verdict %d", verdict)
				}
				w.observe(t, &got)
				check(t, c.want(false), got)
			}
			if c.onlyBy != "run" {
				w.fresh(t, c)
				check(t, c.want(false), s.send(t, c.packet))
			}
		})
	}
}

// TestFilterOfFragments: the stack has put them together before.
func TestFilterOfFragments(t *testing.T) {
	w := newWorld(t)
	s := w.espSockets(t)
	for _, c := range []packetCase{
		refused("ESP in UDP", inUDP(local, 4500, esp(strangeSPI, 100))),
		refused("raw ESP", raw(local, esp(strangeSPI, 100))),
		taken("ESP in UDP of an SA", inUDP(local, 4500, esp(ourSPI, 100))),
	} {
		w.fresh(t, c)
		head, tail := bytes.Clone(c.packet[:20+64]), append(bytes.Clone(c.packet[:20]), c.packet[20+64:]...)
		for _, f := range [][]byte{head, tail} {
			binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		}
		got := s.send(t, sealed(spoil(head, 6, 0x20)), sealed(spoil(tail, 7, 64/8)))
		if want := c.want(false); got.To != want.To || !maps.Equal(got.Drops, want.Drops) || !slices.Equal(got.Events, want.Events) {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
}

// TestWhatTheFilterKeepsFromASocket is counted by socket where the kernel counts it as lost.
func TestWhatTheFilterKeepsFromASocket(t *testing.T) {
	w := newWorld(t)
	s := w.espSockets(t)
	for range 5 {
		s.send(t, inUDP(local, 4500, esp(strangeSPI, 100)))
		s.send(t, inUDP(local, 4500, esp(strangeSPI, 0)[:7]))
		s.send(t, raw(local, esp(strangeSPI, 100)))
		s.send(t, raw(localUDP, esp(strangeSPI, 100)))
	}
	for fd, want := range map[int]uint64{s.udp: 10, s.raw: 0} {
		cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
		must(t, err)
		sum, each := uint64(0), []uint64(nil)
		if err := w.maps["dmvpn_refused"].Lookup(cookie, &each); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
		for _, n := range each {
			sum += n
		}
		if sum != want {
			t.Errorf("%d are counted, want %d", sum, want)
		}
		if kernel := kernelLost(t, fd); kernel != want {
			t.Errorf("the kernel counts %d as lost, want %d", kernel, want)
		}
	}
}

// TestUnknownSPIEvent: one a second, address and port, with the packet from its IP header;
// a bounded number from however many.
func TestUnknownSPIEvent(t *testing.T) {
	w := newWorld(t)
	w.espSockets(t)
	w.fresh(t, packetCase{})
	// pass sends the packets and waits until all are dropped.
	pass := func(packets ...[]byte) []happening {
		dropped := func() uint64 {
			return dropsOf(t, w.maps["dmvpn_drop"])[fmt.Sprintf("peer 0 reason %d", DmvpnDropReasonDROP_UNKNOWN_SPI)]
		}
		all := dropped() + uint64(len(packets))
		for _, p := range packets {
			must(t, write(w.wire, append(bytes.Clone(w.linkTo), p...)))
		}
		for end := time.Now().Add(patience); dropped() < all; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the packets are not dropped")
			}
		}
		return w.happenings(t)
	}
	packet := inUDP(local, 4500, esp(strangeSPI, 200))
	want := []happening{{DmvpnEventKindEVENT_UNKNOWN_SPI, 0, addr("203.0.113.99"), dump(packet[:128])}}
	if d := cmp.Diff(want, pass(packet)); d != "" {
		t.Errorf("first packet (-want +got)\n%s", d)
	}
	if got := pass(packet, inUDP(local, 4500, esp(strangeSPI+1, 200))); got != nil {
		t.Errorf("again within a second, and another SPI of the same peer: %v", got)
	}
	if got := pass(noSum(spoil(packet, 21, 0x31))); len(got) != 1 { // behind the same NAT
		t.Errorf("another port: %d events, want 1", len(got))
	}
	if got := pass(raw(local, esp(strangeSPI, 200))); len(got) != 1 {
		t.Errorf("without UDP: %d events, want 1", len(got))
	}
	w.age(t, time.Second)
	if got := pass(packet); len(got) != 1 {
		t.Errorf("a second later: %d events, want 1", len(got))
	}
	var many [][]byte
	for i := range 1000 {
		many = append(many, sealed(noSum(spoil(packet, 14, i/250, 15, 1+i%250))))
	}
	w.fresh(t, packetCase{})
	began := time.Now()
	got := len(pass(many...))
	// 256 at once, and as many again every quarter of a second.
	if most := 256 * (1 + int(time.Since(began)/(time.Second/4))); got < 128 || got > most {
		t.Errorf("1000 forged addresses: %d events, want 128 to %d", got, most)
	}
}

// BenchmarkESP gives the time of dmvpn_filter alone for ESP packets, among 10,000 SAs.
func BenchmarkESP(b *testing.B) {
	for _, c := range []struct {
		name    string
		spi     uint32
		verdict uint32
	}{{"ours", ourSPI, takeAll}, {"unknown", strangeSPI, 0}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			for i := range uint32(10000) {
				must(b, w.maps["dmvpn_spi"].Put(0x10000000+i*7919, uint32(1)))
			}
			b.ResetTimer()
			ns, verdict := w.repeated(b, inUDP(local, 4500, esp(c.spi, 1400)), b.N)
			if b.ReportMetric(ns, "program-ns/op"); verdict != c.verdict {
				b.Errorf("verdict %d, want %d", verdict, c.verdict)
			}
		})
	}
}

// TestTheCostOfAnUnknownSPI: at most 1.5 µs of the program; the best of a few tries, for the
// machine has other work.
func TestTheCostOfAnUnknownSPI(t *testing.T) {
	const most, runs = 1500, 10000
	w := newWorld(t)
	w.fresh(t, packetCase{})
	best := float64(0)
	for try := range 20 {
		ns, verdict := w.repeated(t, inUDP(local, 4500, esp(strangeSPI, 1400)), runs)
		if verdict != 0 {
			t.Fatalf("verdict %d", verdict)
		}
		if try == 0 || ns < best {
			best = ns
		}
		if best <= most {
			break
		}
	}
	t.Logf("%.0f ns", best)
	if best > most {
		t.Errorf("%.0f ns, above %d", best, most)
	}
	if n := dropsOf(t, w.maps["dmvpn_drop"])[fmt.Sprintf("peer 0 reason %d", DmvpnDropReasonDROP_UNKNOWN_SPI)]; n < runs {
		t.Errorf("%d of %d counted", n, runs)
	}
}

// repeated gives the nanoseconds of one run of dmvpn_filter, by BPF_PROG_TEST_RUN and the
// kernel's own statistics, and the verdict.
func (w *world) repeated(t testing.TB, packet []byte, n int) (nanoseconds float64, verdict uint32) {
	t.Helper()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(t, err)
	defer stats.Close()
	before, err := w.test.filter.Stats()
	must(t, err)
	frame := append(bytes.Clone(link), packet...)
	verdict, err = w.test.filter.Run(&ebpf.RunOptions{Data: frame, Repeat: uint32(n), Context: skb{}})
	must(t, err)
	after, err := w.test.filter.Stats()
	must(t, err)
	runs := after.RunCount - before.RunCount
	if runs < uint64(n) {
		t.Errorf("%d runs, and the kernel counted %d", n, runs)
	}
	return float64(after.Runtime-before.Runtime) / float64(runs), verdict
}
