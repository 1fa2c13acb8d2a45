// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const manyPeers = 10000

// many adds 10,000 peers, all on the underlay's link behind the gateway, and gives
// their overlay and NBMA addresses.
func (w *world) many(t testing.TB) (overlay, nbma []netip.Addr) {
	t.Helper()
	route(t, "10.64.0.0/16", "", w.tunnel)
	route(t, "203.1.0.0/16", "198.51.100.254", w.underlay)
	for i := range uint32(manyPeers) {
		o := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24|64<<16+i+1)))
		n := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 203<<24|1<<16+i+1)))
		id := lastPeer + 1 + i
		v := DmvpnPeer{TunnelIfindex: uint32(w.tunnel), Flags: flagUp}
		v.Nbma.Octet, v.Protocol.Octet = n.As16(), o.As16()
		must(t, w.maps["dmvpn_peer"].Put(id, v))
		must(t, w.maps["dmvpn_nbma"].Put(DmvpnNbmaKey{Nbma: v.Nbma, TunnelIfindex: v.TunnelIfindex}, id))
		must(t, w.maps["dmvpn_nexthop"].Put(DmvpnNexthopKey{Nexthop: v.Protocol, TunnelIfindex: v.TunnelIfindex}, id))
		overlay, nbma = append(overlay, o), append(nbma, n)
	}
	return overlay, nbma
}

// BenchmarkPrograms gives the time of each program alone, by the kernel's own
// statistics, for real packets of random peers.
func BenchmarkPrograms(b *testing.B) {
	for _, size := range []int{64, 1400} {
		b.Run(fmt.Sprintf("encap/%d", size), func(b *testing.B) {
			w := newWorld(b)
			overlay, _ := w.many(b)
			w.setTunnel(b, w.plainTunnel())
			packets := make([][]byte, 4096)
			for i := range packets {
				packets[i] = udp(lan, overlay[rand.IntN(manyPeers)].String(), size-28)
			}
			to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: w.tunnel}
			b.ReportMetric(w.measure(b, w.real.encap, func(i int) error {
				return unix.Sendto(w.inside, packets[i%len(packets)], 0, to)
			}), "program-ns/op")
		})
		b.Run(fmt.Sprintf("decap/%d", size), func(b *testing.B) {
			w := newWorld(b)
			_, nbma := w.many(b)
			w.setTunnel(b, w.plainTunnel())
			frames := make([][]byte, 4096)
			for i := range frames {
				p := wrap(outer(nbma[rand.IntN(manyPeers)].String(), local), gre(key), fromSpoke(size-28))
				frames[i] = append(bytes.Clone(w.linkTo), p...)
			}
			b.ReportMetric(w.measure(b, w.real.decap, func(i int) error {
				return write(w.wire, frames[i%len(frames)])
			}), "program-ns/op")
		})
	}
}

// measure sends b.N packets and gives the nanoseconds that the program took for
// one. Every packet must have gone through it, and none been dropped.
func (w *world) measure(b *testing.B, p *ebpf.Program, send func(i int) error) float64 {
	b.Helper()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(b, err)
	defer stats.Close()
	before, err := p.Stats()
	must(b, err)
	b.ResetTimer()
	for i := range b.N {
		must(b, send(i))
	}
	b.StopTimer()
	after, err := p.Stats()
	must(b, err)
	runs := after.RunCount - before.RunCount
	if runs < uint64(b.N) {
		b.Errorf("%d packets, and the program ran %d times", b.N, runs)
	}
	if d := dropsOf(b, w.maps["dmvpn_drop"]); len(d) > 0 {
		b.Errorf("dropped: %v", d)
	}
	return float64(after.Runtime-before.Runtime) / float64(runs)
}
