// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"bytes"
	"testing"

	"dmvpn/loader/netnstest"
)

// TestDatagramsCostNoAllocation, neither to send nor to read.
func TestDatagramsCostNoAllocation(t *testing.T) {
	netnstest.Enter(t)
	c, peer := udp(t, UDPConfig{Local: at("127.0.0.1:4500"), Encapsulation: true}), udp(t, UDPConfig{Local: at("127.0.0.2:4500"), Encapsulation: true})
	b, local, remote := NewBatch(8), c.Local(), peer.Local()
	message, packets := make([]byte, 300), bytes.Repeat(esp(1, 1, 100), 10)
	round := func() {
		if err := c.Send(local, remote, true, message); err != nil {
			t.Fatal(err)
		}
		if err := c.SendSegments(local, remote, 1, 100, packets); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 11; n += len(b.Datagrams) {
			if err := peer.ReadBatch(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	round() // the batch grows to what it needs
	if n := testing.AllocsPerRun(200, round); n >= 1 {
		t.Errorf("%v allocations for 11 datagrams", n)
	}
}

// BenchmarkUDP is one datagram through two namespaces and a veth, sent and read by
// one core: singly, in bursts that one read takes, and in segments that the
// kernel merges.
func BenchmarkUDP(b *testing.B) {
	for _, c := range []struct {
		name         string
		size         int
		burst, merge int
	}{{"single/64", 64, 1, 1}, {"burst32/64", 64, 32, 1}, {"merged32/64", 64, 1, 32}, {"merged44/1400", 1400, 1, 44}} {
		b.Run(c.name, func(b *testing.B) {
			run, pid := twoHosts(b)
			run("ethtool -K w0 gro on")
			near := udp(b, UDPConfig{Local: at("192.0.2.1:4500"), Encapsulation: true})
			var far *UDPConn
			netnstest.In(b, pid, func() { far = udp(b, UDPConfig{Local: at("192.0.2.2:4500"), Encapsulation: true}) })
			batch, local, remote := NewBatch(32), near.Local(), far.Local()
			data := bytes.Repeat(esp(1, 1, c.size), c.merge)
			b.SetBytes(int64(c.size * c.burst * c.merge))
			b.ReportAllocs()
			for b.Loop() {
				for range c.burst {
					if err := near.SendSegments(local, remote, 0, c.size, data); err != nil {
						b.Fatal(err)
					}
				}
				for n := 0; n < c.burst*c.merge; n += len(batch.Datagrams) {
					if err := far.ReadBatch(batch); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.burst*c.merge), "ns/datagram")
		})
	}
}
